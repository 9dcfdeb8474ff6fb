// The formats behind idm_image_load: each decodes a whole file that lies in memory.
#ifndef IO_IMAGE_FORMATS_H
#define IO_IMAGE_FORMATS_H

#include <idm/image.h>
#include <stdbool.h>

typedef struct image_file {
    const char *path; // for messages
    const uint8_t *data;
    size_t size;
    bool size_only; // width, height and channels are all that is wanted: no pixels
} image_file;

// Picks the format by content. All of these: IDM_BAD_INPUT for a damaged file; *image may hold pixels on failure, which image_decode frees.
idm_status image_decode(const image_file *file, idm_image *image);
idm_status image_png_decode(const image_file *file, idm_image *image);
idm_status image_tiff_decode(const image_file *file, idm_image *image);
idm_status image_bmp_decode(const image_file *file, idm_image *image);
idm_status image_jpeg_decode(const image_file *file, idm_image *image);

// Checks the limits of image.h before it takes memory for the pixels (none where only the size is wanted).
idm_status image_allocate(const image_file *file, int64_t width, int64_t height, int channels, idm_image *image);

#endif
