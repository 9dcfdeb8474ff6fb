// Training batches, prepared ahead by threads of their own. A batch is a pure function of seed, step and the usable images, in whatever
// order threads work, however much is cached, and wherever a run was resumed:
//   sample k = step * batch + i is cut from image order[k % count] of pass k / count; order is a random permutation of the `count` usable
//   images, random_permutation(random_bits(random_key(seed, "data order"), pass));
//   the crop's first column and row are random_below("data crop", 2 k, width - side + 1) and (2 k + 1, height - side + 1);
//   one of the 8 flips and rotations for the whole batch: f = random_below("data flip", step, 8). Value (row, column) of the patch is pixel
//   (row, column) of the crop, exchanged if f & 4, then row -> side - 1 - row if f & 1, column -> side - 1 - column if f & 2;
//   perm = random_permutation(random_bits(random_key(seed, "data permutation"), step)) of the side * side pixels.
// Where an image cannot be decoded any more, the next usable one in the list stands in for it.
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "train/warning.h"
#include <idm/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dataset dataset;

typedef struct dataset_options {
    const char *folder;
    int patch_size; // side
    int batch;      // patches per step
    int workers;    // threads
    uint64_t seed;
    size_t cache_bytes; // luminance planes that stay in memory, a byte per pixel; the first that are read stay
    warning_sink warn;  // of dataset_open and dataset_next
} dataset_options;

typedef struct dataset_batch {
    uint64_t step;
    const float *x;      // (batch, side, side), luminance / 255
    const int32_t *perm; // side * side: shuffled[i] = x[perm[i]]
} dataset_batch;

typedef struct dataset_report {
    size_t files, small, unreadable; // pictures found, and those left out at the start
    size_t usable;
    size_t broken;     // of the usable ones, found damaged later
    uint64_t replaced; // samples for which another image stood in
    uint64_t hash;     // of the usable images' names and sizes: what a resumed run must find again
    size_t cached_images, cached_bytes;
    double waited; // seconds that dataset_next was kept waiting
} dataset_report;

// Reads the sizes of all images (train/images.h: what is left out, and when that is an error), then prepares batches from `first_step` on.
// IDM_USAGE: a patch of more than 2^31 - 1 pixels, or no folder. On failure *data is NULL.
idm_status dataset_open(const dataset_options *options, uint64_t first_step, dataset **data);

// The next step's batch, valid until the next call. IDM_BAD_INPUT: more images are broken than whole, or none is left. A failure is final.
idm_status dataset_next(dataset *data, dataset_batch *batch);

// May be called between any two calls of dataset_next.
void dataset_count(dataset *data, dataset_report *report);

void dataset_close(dataset *data); // NULL is fine

#endif
