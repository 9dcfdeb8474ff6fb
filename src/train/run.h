// A run directory, train.out:
//   lock                 locked while a program trains here; holds its process number
//   config.ini           the configuration as used
//   log.jsonl            a line per logging interval
//   validation.jsonl     a line per validation
//   pictures/step_N/     validation pictures
//   events.out.tfevents* the same for TensorBoard
//   step_N/, best/       train/checkpoint.h
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include "train/warning.h"
#include <idm/config.h>
#include <idm/image.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUN_LOG "log.jsonl"
#define RUN_VALIDATION "validation.jsonl"
#define RUN_PICTURES "pictures/step_%07" PRIu64 // of a step

typedef struct run run;

// Makes the folder where it is missing, locks it, clears away what a killed program left (checkpoint_recover), and looks for the newest
// complete checkpoint: without `resume` there must be none; with it and none yet, training starts from the beginning with a warning.
// Nothing else is changed yet. IDM_USAGE: another program trains here, or there are checkpoints already; IDM_BAD_INPUT: no such folder to
// resume; IDM_FAILED: cannot write. On failure *r is NULL.
idm_status run_open(const idm_config *config, bool resume, warning_sink warn, run **r);
void run_close(run *r); // NULL is fine

const char *run_folder(const run *r);
const char *run_checkpoint(const run *r);  // path of what to resume from, "" without
uint64_t run_step(const run *r);           // of that, else 0
uint64_t run_validated_step(const run *r); // after run_start: the newest validation's, else 0

// From here on the run is this program's: writes config.ini, cuts off log and validation lines beyond run_step, begins an event file.
idm_status run_start(run *r, const idm_config *config);

typedef struct run_row {
    uint64_t step, epoch, skipped, peak_bytes;
    double loss, lr, scale;
    double seconds; // trained in all
    double images_per_second;
} run_row;

// A line of log.jsonl, and scalars train/... . NaN and infinity are null there. IDM_FAILED: cannot write; the file is as it was.
idm_status run_log(run *r, const run_row *row);

typedef struct run_validated {
    const char *file; // name of the picture
    int height, width;
    double psnr, ssim, seconds;
} run_validated;

typedef struct run_validation {
    uint64_t step, epoch;
    const run_validated *pictures;
    size_t count;
} run_validation;

// A line {"step", "epoch", "psnr", "ssim", "pictures": [{"file", "height", "width", "psnr", "ssim", "seconds"}]} of validation.jsonl,
// averages in front, and scalars validation/psnr and /ssim. *line, which the caller frees, is that text with its line end. Failures as in
// run_log, then *line is NULL.
idm_status run_log_validation(run *r, const run_validation *v, char **line);

// pictures/step_N/NAME.png (NAME without folders and ending), and the image validation/NAME.
idm_status run_picture(run *r, uint64_t step, const char *name, const idm_image *image);

// What was logged survives a power loss from here on: before every checkpoint, so that no line before it is ever missing.
idm_status run_sync(run *r);

#endif
