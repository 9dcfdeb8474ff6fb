// Any bytes through the picture decoders, by content.
#include "io/image_formats.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    idm_image image;
    const image_file file = {.path = "fuzz", .data = data, .size = size};
    const idm_status status = image_decode(&file, &image);
    const int width = image.width, height = image.height;
    idm_image_free(&image);
    const image_file header = {.path = "fuzz", .data = data, .size = size, .size_only = true};
    const idm_status size_status = image_decode(&header, &image);
    if (image.pixels) abort();
    if (status == IDM_OK && (size_status != IDM_OK || image.width != width || image.height != height)) abort();
    return 0;
}
