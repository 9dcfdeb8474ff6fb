// The images of a training folder: which of them can be trained on, and their luminance.
#ifndef TRAIN_IMAGES_H
#define TRAIN_IMAGES_H

#include "train/warning.h"
#include <idm/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct training_image {
    char *path;
    int width, height;
} training_image;

typedef struct training_images {
    training_image *list; // usable ones, by path in byte order
    size_t count;
    size_t files, small, unreadable; // pictures found in all; those left out
    uint64_t hash;                   // of the usable ones' paths below the folder and their sizes
} training_images;

// Lists the folder and all folders in it, reads the size of every picture (by its ending: png, tif, tiff, bmp, jpg, jpeg) with `threads`
// threads, and keeps those of at least side x side pixels. One warning names the smaller ones, one the unreadable ones. IDM_BAD_INPUT: no
// usable one, or more unreadable ones than others. On failure *images is empty.
idm_status training_images_scan(const char *folder, int side, int threads, warning_sink warn, training_images *images);
void training_images_free(training_images *images);

// The 8-bit luminance, width * height bytes, which the caller frees. IDM_BAD_INPUT: damaged, gone, or of another size than it had;
// IDM_FAILED: no memory.
idm_status training_image_load(const training_image *image, uint8_t **plane);

#endif
