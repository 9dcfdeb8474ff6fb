#include "core/status.h"
#include "io/image_formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

enum { SINGLE_ALLOCATION_MAX = 1 << 30 };

typedef struct tiff_reader {
    const image_file *file;
    uint64_t position;
    char problem[512]; // libtiff's first complaint
} tiff_reader;

static tmsize_t read_memory(thandle_t handle, void *out, tmsize_t size)
{
    tiff_reader *reader = handle;
    if (size <= 0 || reader->position >= reader->file->size) return 0;
    const uint64_t left = reader->file->size - reader->position, count = (uint64_t)size < left ? (uint64_t)size : left;
    memcpy(out, reader->file->data + reader->position, count);
    reader->position += count;
    return (tmsize_t)count;
}

static tmsize_t write_nothing(thandle_t handle, void *data, tmsize_t size)
{
    (void)handle, (void)data, (void)size;
    return 0;
}

static toff_t seek_memory(thandle_t handle, toff_t offset, int whence)
{
    tiff_reader *reader = handle;
    const uint64_t base = whence == SEEK_CUR ? reader->position : whence == SEEK_END ? reader->file->size : 0;
    reader->position = base + offset;
    return reader->position;
}

static int close_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t size_of_memory(thandle_t handle)
{
    const tiff_reader *reader = handle;
    return reader->file->size;
}

// Mapped, because libtiff 4.5.0 refuses small tiles that it must read (it counts its buffer's 1024 bytes as theirs).
static int map_memory(thandle_t handle, void **base, toff_t *size)
{
    const tiff_reader *reader = handle;
    *base = (void *)(uintptr_t)reader->file->data; // opened for reading: libtiff does not write there
    *size = reader->file->size;
    return 1;
}

static void unmap_nothing(thandle_t handle, void *base, toff_t size)
{
    (void)handle, (void)base, (void)size;
}

static int keep_error(TIFF *tiff, void *user, const char *module, const char *format, va_list list)
{
    (void)tiff, (void)module;
    tiff_reader *reader = user;
    if (reader->problem[0] == '\0') (void)vsnprintf(reader->problem, sizeof reader->problem, format, list);
    return 1;
}

static int drop_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list list)
{
    (void)tiff, (void)user, (void)module, (void)format, (void)list;
    return 1;
}

static idm_status damaged(const tiff_reader *reader)
{
    return status_fail(IDM_BAD_INPUT, "%s: damaged or unusual TIFF: %s", reader->file->path,
                       reader->problem[0] ? reader->problem : "unreadable");
}

// Through libtiff's RGBA form, as OpenCV does for 8 bits: palettes, bit depths, min-is-white and YCbCr are resolved there.
static idm_status read_pixels(TIFF *tiff, tiff_reader *reader, idm_image *image)
{
    uint32_t width = 0, height = 0;
    uint16_t photometric = PHOTOMETRIC_RGB;
    (void)TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    (void)TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    (void)TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    const int channels = photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE ? 1 : 3;
    IDM_TRY(image_allocate(reader->file, width, height, channels, image));
    if (reader->file->size_only) return IDM_OK;
    const size_t count = (size_t)width * height;
    uint32_t *raster = malloc(count * sizeof *raster);
    if (!raster) return status_fail(IDM_FAILED, "%s: not enough memory for %u x %u pixels", reader->file->path, width, height);
    const int done = TIFFReadRGBAImageOriented(tiff, width, height, raster, ORIENTATION_TOPLEFT, 1);
    for (size_t i = 0; done && i < count; i++) {
        uint8_t *pixel = image->pixels + i * (size_t)channels;
        pixel[0] = (uint8_t)TIFFGetR(raster[i]);
        if (channels == 1) continue;
        pixel[1] = (uint8_t)TIFFGetG(raster[i]);
        pixel[2] = (uint8_t)TIFFGetB(raster[i]);
    }
    free(raster);
    return done ? IDM_OK : damaged(reader);
}

idm_status image_tiff_decode(const image_file *file, idm_image *image)
{
    tiff_reader reader = {.file = file};
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return status_fail(IDM_FAILED, "%s: not enough memory", file->path);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, SINGLE_ALLOCATION_MAX);
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, &reader);
    TIFFOpenOptionsSetWarningHandlerExtR(options, drop_warning, &reader);
    TIFF *tiff = TIFFClientOpenExt("picture", "r", &reader, read_memory, write_nothing, seek_memory, close_nothing, size_of_memory,
                                   map_memory, unmap_nothing, options);
    TIFFOpenOptionsFree(options);
    if (!tiff) return damaged(&reader);
    const idm_status status = read_pixels(tiff, &reader, image);
    TIFFClose(tiff);
    return status;
}
