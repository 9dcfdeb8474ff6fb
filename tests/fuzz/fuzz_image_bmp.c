// The BMP reader is our own: fuzzed by itself, so that no time goes into the libraries of the other formats.
#include "io/image_formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    idm_image image = {0};
    const image_file file = {.path = "fuzz", .data = data, .size = size};
    (void)image_bmp_decode(&file, &image);
    idm_image_free(&image);
    return 0;
}
