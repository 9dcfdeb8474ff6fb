// Any bytes through the picture decoders, by content.
#include "io/image_formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    idm_image image;
    const image_file file = {.path = "fuzz", .data = data, .size = size};
    (void)image_decode(&file, &image);
    idm_image_free(&image);
    return 0;
}
