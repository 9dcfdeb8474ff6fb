// Images as the program sees them: 8-bit grey or colour pictures, and the luminance plane that is measured and reconstructed.
#ifndef IDM_IMAGE_H
#define IDM_IMAGE_H

#include <idm/status.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// 8-bit picture, rows from the top, `channels` (1 grey, 3 RGB) interleaved, no padding. Owns `pixels`.
typedef struct idm_image {
    int width, height, channels;
    uint8_t *pixels;
} idm_image;

// Reads PNG, TIFF, BMP or JPEG (by content, not by name) as 8-bit grey or RGB: palettes are resolved, alpha dropped, 16 bits reduced to 8,
// a JPEG turned upright as its EXIF orientation says.
// IDM_BAD_INPUT: no such file, damaged, not a picture, or larger than 65535 pixels a side / 2^28 pixels. On failure *image is empty.
IDM_API idm_status idm_image_load(const char *path, idm_image *image);

// Writes a PNG: beside the target first, then renamed. IDM_FAILED: cannot write.
IDM_API idm_status idm_image_save_png(const char *path, const idm_image *image);

IDM_API void idm_image_free(idm_image *image);

// 8-bit luminance as published: Y = (4899 R + 9617 G + 1868 B + 8192) >> 14; `y` has width * height bytes. A grey picture is its own
// luminance.
IDM_API void idm_image_luminance(const idm_image *image, uint8_t *y);

// The saved picture of the published protocol: `y` (width * height floats in [0, 1], clamped here, rounded) in the place of the picture's
// luminance, its Cr and Cb kept (ITU-R BT.601 full range as OpenCV's YCrCb, 8 bit), back to RGB. For a grey picture simply the grey values.
// `result` is a new picture.
IDM_API idm_status idm_image_with_luminance(const idm_image *image, const float *y, idm_image *result);

#ifdef __cplusplus
}
#endif
#endif
