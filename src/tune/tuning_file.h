// Tuning files: text, a row a line.
//
//     idm tuning 1
//     device = cpu-skylake-avx512     whose name and driver it was made for; or, in the tables that the program carries,
//     driver = 3.1                    architecture = PART OF A DEVICE'S NAME, vendor = PART OF ITS VENDOR'S, or class = cpu | gpu
//     program = 0123456789abcdef      hash of the kernels that were tuned
//     figures = predicted             the rows are a model's choice, nothing was measured (else: measured)
//     conv3x3 cpu in=512 out=320: tile_rows=6 tile_vectors=4     operation, variant, class (tuning_class; what is left out is any): values
//
// Empty lines and what follows a # count for nothing.
#ifndef TUNE_TUNING_FILE_H
#define TUNE_TUNING_FILE_H

#include "ops/tuning.h"
#include <idm/status.h>

typedef struct tuning_file {
    tuning t;
    char device[128], driver[128], architecture[64], vendor[64], device_class[16]; // "" where it is not said
    uint64_t program;                                                              // 0: not said
    bool predicted;                                                                // nothing was measured
} tuning_file;

enum { TUNING_LINE_SIZE = 512 };

// `name` stands for the text in messages. IDM_BAD_INPUT names line and word, for a word with the nearest valid one. On failure *f is empty.
idm_status tuning_file_parse(const char *name, const char *text, tuning_file *f);
idm_status tuning_file_load(const char *path, tuning_file *f);
// Writes the file whole.
idm_status tuning_file_save(const tuning_file *f, const char *path);
void tuning_file_free(tuning_file *f);

// Adds a row, in the place of one of the same class. False: no memory.
bool tuning_add(tuning *t, const tuning_row *row);

// One row as in a file, without line end, "conv3x3 cpu in=512 out=320: tile_rows=6"; and back, IDM_BAD_INPUT with what is wrong.
void tuning_row_format(const tuning_row *row, char out[TUNING_LINE_SIZE]);
idm_status tuning_row_parse(const char *text, tuning_row *row);

#endif
