#include "core/status.h"
#include "io/image_formats.h"

#include <stdbool.h>

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, COMPRESSION_NONE = 0, COMPRESSION_MASKS = 3 };

typedef struct bmp {
    const image_file *file;
    int64_t width, height; // height > 0
    bool top_down;
    unsigned bits, colours, colour_size; // palette
    size_t palette, pixels, stride;      // offsets in the file; bytes of a row
    unsigned red, green, blue;           // byte of each within a pixel of 24 or 32 bits
} bmp;

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static idm_status damaged(const image_file *file, const char *problem)
{
    return status_fail(IDM_BAD_INPUT, "%s: damaged BMP: %s", file->path, problem);
}

// The byte that a channel mask stands for; false for masks of other shapes.
static bool mask_byte(uint32_t mask, unsigned *byte)
{
    for (unsigned i = 0; i < 4; i++) {
        if (mask != (uint32_t)0xFF << (8 * i)) continue;
        *byte = i;
        return true;
    }
    return false;
}

// Masks follow the first 40 bytes of the header, in it (V2 and later) or behind it.
static idm_status read_masks(bmp *b)
{
    const image_file *file = b->file;
    if (file->size < FILE_HEADER + INFO_HEADER + 12) return damaged(file, "it ends in the header");
    const uint8_t *masks = file->data + FILE_HEADER + INFO_HEADER;
    if (b->bits == 32 && mask_byte(u32(masks), &b->red) && mask_byte(u32(masks + 4), &b->green) && mask_byte(u32(masks + 8), &b->blue))
        return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: BMP with colour masks that are not whole bytes of 32 bits; save it with 24 bits", file->path);
}

static idm_status read_header(bmp *b)
{
    const image_file *file = b->file;
    if (file->size < FILE_HEADER + CORE_HEADER) return damaged(file, "it ends in the header");
    const uint8_t *header = file->data + FILE_HEADER;
    const size_t header_size = u32(header);
    const bool core = header_size == CORE_HEADER;
    if (!core && (header_size < INFO_HEADER || header_size > 65536)) return damaged(file, "unknown header");
    if (file->size < FILE_HEADER + header_size) return damaged(file, "it ends in the header");
    const int64_t height = core ? (int64_t)u16(header + 6) : (int64_t)(int32_t)u32(header + 8);
    b->width = core ? (int64_t)u16(header + 4) : (int64_t)(int32_t)u32(header + 4);
    b->height = height < 0 ? -height : height;
    b->top_down = height < 0;
    b->bits = u16(header + (core ? 10 : 14));
    const uint32_t compression = core ? COMPRESSION_NONE : u32(header + 16);
    if (compression != COMPRESSION_NONE && compression != COMPRESSION_MASKS)
        return status_fail(IDM_BAD_INPUT, "%s: compressed BMP (kind %u) is not read; save it uncompressed", file->path, compression);
    if (b->bits != 1 && b->bits != 4 && b->bits != 8 && b->bits != 24 && b->bits != 32)
        return status_fail(IDM_BAD_INPUT, "%s: BMP with %u bits a pixel is not read; save it with 8 or 24", file->path, b->bits);
    b->red = 2;
    b->green = 1;
    b->blue = 0;
    if (compression == COMPRESSION_MASKS) IDM_TRY(read_masks(b));
    b->pixels = u32(file->data + 10);
    b->palette = FILE_HEADER + header_size;
    b->colour_size = core ? 3 : 4;
    b->colours = b->bits > 8 ? 0 : 1U << b->bits;
    const uint32_t used = core ? 0 : u32(header + 32);
    if (b->bits <= 8 && used > b->colours) return damaged(file, "more colours than its pixels can name");
    if (b->bits <= 8 && used > 0) b->colours = used;
    if (b->palette + (size_t)b->colours * b->colour_size > file->size) return damaged(file, "it ends in the palette");
    return IDM_OK;
}

static idm_status decode_row(const bmp *b, const uint8_t *row, int width, uint8_t *out)
{
    for (size_t x = 0; x < (size_t)width; x++, out += 3) {
        const uint8_t *pixel = row + x * b->bits / 8;
        unsigned red = b->red, green = b->green, blue = b->blue;
        if (b->bits <= 8) {
            const unsigned shift = 8 - b->bits - (unsigned)(x * b->bits % 8);
            const unsigned index = (unsigned)*pixel >> shift & ((1U << b->bits) - 1);
            if (index >= b->colours) return damaged(b->file, "a pixel names a colour that is not in the palette");
            pixel = b->file->data + b->palette + (size_t)index * b->colour_size;
        }
        out[0] = pixel[red];
        out[1] = pixel[green];
        out[2] = pixel[blue];
    }
    return IDM_OK;
}

idm_status image_bmp_decode(const image_file *file, idm_image *image)
{
    bmp b = {.file = file};
    IDM_TRY(read_header(&b));
    IDM_TRY(image_allocate(file, b.width, b.height, 3, image));
    if (file->size_only) return IDM_OK;
    b.stride = ((size_t)b.width * b.bits + 31) / 32 * 4;
    if (b.pixels < b.palette || b.pixels > file->size) return damaged(file, "its pixels do not lie in the file");
    if (b.stride * (size_t)b.height > file->size - b.pixels) return damaged(file, "it ends before its last pixel");
    for (int y = 0; y < image->height; y++) {
        const size_t line = (size_t)(b.top_down ? y : image->height - 1 - y);
        IDM_TRY(
            decode_row(&b, file->data + b.pixels + line * b.stride, image->width, image->pixels + (size_t)y * (size_t)image->width * 3));
    }
    return IDM_OK;
}
