#include "io/exif.h"

#include "core/status.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// A TIFF file without a picture.
typedef struct directory {
    const uint8_t *data;
    size_t size;
    bool big_endian;
} directory;

static uint32_t number(const directory *d, size_t at, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++) value = value << 8 | d->data[at + (d->big_endian ? i : bytes - 1 - i)];
    return value;
}

int exif_orientation(const uint8_t *data, size_t size)
{
    enum { PREFIX = 6, HEADER = 8, COUNT = 2, ENTRY = 12, TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3 };
    if (size < PREFIX + HEADER || memcmp(data, "Exif\0\0", PREFIX) != 0) return 1;
    const directory d = {data + PREFIX, size - PREFIX, data[PREFIX] == 'M'};
    if (memcmp(d.data, d.big_endian ? "MM\0*" : "II*\0", 4) != 0) return 1;
    const size_t first = number(&d, 4, 4);
    if (first < HEADER || first > d.size - COUNT) return 1;
    const size_t said = number(&d, first, 2), room = (d.size - first - COUNT) / ENTRY, entries = said < room ? said : room;
    for (size_t i = 0; i < entries; i++) {
        const size_t at = first + COUNT + i * ENTRY;
        if (number(&d, at, 2) != TAG_ORIENTATION) continue;
        const uint32_t value = number(&d, at + 8, 2);
        return number(&d, at + 2, 2) == TYPE_SHORT && number(&d, at + 4, 4) == 1 && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

idm_status exif_turn_upright(idm_image *image, int orientation)
{
    if (orientation <= 1) return IDM_OK;
    const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool transpose = orientation >= 5;
    const size_t stored_width = (size_t)image->width, channels = (size_t)image->channels;
    const size_t width = (size_t)(transpose ? image->height : image->width), height = (size_t)(transpose ? image->width : image->height);
    uint8_t *upright = image->pixels ? malloc(width * height * channels) : NULL, *to = upright;
    if (image->pixels && !upright)
        return status_fail(IDM_FAILED, "not enough memory to turn a picture of %d x %d pixels", image->width, image->height);
    for (size_t y = 0; y < height && upright; y++)
        for (size_t x = 0; x < width; x++, to += channels) {
            const size_t a = mirror_x ? width - 1 - x : x, b = mirror_y ? height - 1 - y : y;
            memcpy(to, image->pixels + ((transpose ? a : b) * stored_width + (transpose ? b : a)) * channels, channels);
        }
    free(image->pixels);
    *image = (idm_image){.width = (int)width, .height = (int)height, .channels = image->channels, .pixels = upright};
    return IDM_OK;
}
