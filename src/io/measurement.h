// Measurement files: what the camera measured of one or more planes, and the operator that measured them (MODEL.md "Sampling operator").
// Safetensors with y (b, H*W/N, M), phi (N, M), perm (H*W), optional truth x (b, 1, H, W), and the sizes as metadata: those of the struct
// below under the same names (block_size for block).
#ifndef IO_MEASUREMENT_H
#define IO_MEASUREMENT_H

#include "io/tensor_file.h"

enum { MEASUREMENT_SIDE_MAX = 65535, MEASUREMENT_PIXELS_MAX = 1 << 28 };

// Owns its arrays.
typedef struct measurement {
    int count;                           // b: planes, measured by the same operator
    int height, width;                   // padded right and below to multiples of block
    int original_height, original_width; // before padding
    // One large picture as overlapping tiles: the planes are tile_rows x tile_columns tiles of a picture of these sizes, row by row, their
    // places as src/eval/tiles.h spreads them. All 0: the planes are pictures of their own.
    int picture_height, picture_width, tile_rows, tile_columns;
    int block;        // B; N = B * B pixels a block
    int measurements; // M per block
    double cs_ratio;  // M = ceil(cs_ratio * N)
    float *y;         // (count, height * width / N, M)
    float *x;         // (count, 1, height, width), values in [0, 1]; NULL: the truth is not known
    float *phi;       // (N, M)
    int32_t *perm;    // height * width: shuffled[i] = x[perm[i]]
} measurement;

// Reads a measurement file; phi and perm that it lacks come from `operator_path` (may be NULL). Every dimension is checked against every
// other, perm for being a permutation, values for being finite. IDM_BAD_INPUT names the file and the tensor; on failure *m is empty.
idm_status measurement_load(const char *path, const char *operator_path, measurement *m);

// The same from open files; `operator_file` may be NULL. Without `y_needed`, a file with x but without y (some goldens) is fine: m->y is
// NULL then.
idm_status measurement_read(tensor_file *file, tensor_file *operator_file, bool y_needed, measurement *m);

// Writes y and x (where not NULL), with `with_operator` also phi and perm.
idm_status measurement_save(const char *path, const measurement *m, bool with_operator);

// Reads a file that measurement_save_operator wrote, or any other with phi, perm and the sizes. y and x stay NULL, count 0.
idm_status measurement_load_operator(const char *path, measurement *m);

// Writes phi and perm alone, for --operator.
idm_status measurement_save_operator(const char *path, const measurement *m);

void measurement_free(measurement *m);

#endif
