#include <idm/image.h>

#include "core/files.h"
#include "core/status.h"
#include "io/image_formats.h"
#include "io/image_probe.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SIDE_MAX = 65535, PIXELS_MAX = 1 << 28 };
static const size_t FILE_SIZE_MAX = (size_t)PIXELS_MAX * 8 + (1 << 20); // 16-bit RGBA, uncompressed

idm_status image_allocate(const image_file *file, int64_t width, int64_t height, int channels, idm_image *image)
{
    const char *path = file->path;
    if (width < 1 || height < 1) return status_fail(IDM_BAD_INPUT, "%s: a picture without pixels", path);
    if (width > SIDE_MAX || height > SIDE_MAX || width * height > PIXELS_MAX)
        return status_fail(IDM_BAD_INPUT, "%s: %lld x %lld pixels; at most %d a side and %d in all are read", path, (long long)width,
                           (long long)height, SIDE_MAX, PIXELS_MAX);
    uint8_t *pixels = file->size_only ? NULL : malloc((size_t)width * (size_t)height * (size_t)channels);
    if (!pixels && !file->size_only)
        return status_fail(IDM_FAILED, "%s: not enough memory for %lld x %lld pixels", path, (long long)width, (long long)height);
    *image = (idm_image){.width = (int)width, .height = (int)height, .channels = channels, .pixels = pixels};
    return IDM_OK;
}

static bool begins(const image_file *file, const char *bytes, size_t size)
{
    return file->size >= size && memcmp(file->data, bytes, size) == 0;
}

static idm_status decode(const image_file *file, idm_image *image)
{
    if (begins(file, "\x89PNG\r\n\x1A\n", 8)) return image_png_decode(file, image);
    if (begins(file, "II*\0", 4) || begins(file, "MM\0*", 4) || begins(file, "II+\0", 4) || begins(file, "MM\0+", 4))
        return image_tiff_decode(file, image);
    if (begins(file, "\xFF\xD8\xFF", 3)) return image_jpeg_decode(file, image);
    if (begins(file, "BM", 2)) return image_bmp_decode(file, image);
    return status_fail(IDM_BAD_INPUT, "%s: neither PNG, TIFF, BMP nor JPEG", file->path);
}

idm_status image_decode(const image_file *file, idm_image *image)
{
    *image = (idm_image){0};
    const idm_status status = decode(file, image);
    if (status != IDM_OK) idm_image_free(image);
    return status;
}

idm_status idm_image_load(const char *path, idm_image *image)
{
    *image = (idm_image){0};
    uint8_t *data;
    image_file file = {.path = path};
    IDM_TRY(files_read_whole(path, FILE_SIZE_MAX, &data, &file.size));
    file.data = data;
    const idm_status status = image_decode(&file, image);
    free(data);
    return status;
}

bool image_has_ending(const char *path)
{
    static const char *const endings[] = {".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg"};
    const char *dot = strrchr(files_name(path), '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

static idm_status decode_size(const char *path, const uint8_t *data, size_t size, int *width, int *height)
{
    idm_image image;
    IDM_TRY(image_decode(&(image_file){.path = path, .data = data, .size = size, .size_only = true}, &image));
    *width = image.width;
    *height = image.height;
    return IDM_OK;
}

idm_status image_probe(const char *path, int *width, int *height)
{
    enum { BEGINNING = 16384 }; // of most pictures it has the size; a TIFF may keep it at its end, a JPEG behind a preview
    uint8_t *data;
    size_t size;
    IDM_TRY(files_read_beginning(path, BEGINNING, &data, &size));
    idm_status status = decode_size(path, data, size, width, height);
    free(data);
    if (status == IDM_OK || size < BEGINNING) return status;
    IDM_TRY(files_read_whole(path, FILE_SIZE_MAX, &data, &size));
    status = decode_size(path, data, size, width, height);
    free(data);
    return status;
}

void idm_image_free(idm_image *image)
{
    free(image->pixels);
    *image = (idm_image){0};
}

// OpenCV's 8-bit YCrCb: 14-bit fixed point, halves rounded up.
static int descale(int fixed)
{
    return (fixed + (1 << 13)) >> 14;
}

static uint8_t saturate(int value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static uint8_t luminance(const uint8_t *rgb)
{
    return (uint8_t)descale(4899 * rgb[0] + 9617 * rgb[1] + 1868 * rgb[2]);
}

void idm_image_luminance(const idm_image *image, uint8_t *y)
{
    const size_t count = (size_t)image->width * (size_t)image->height;
    if (image->channels == 1) memcpy(y, image->pixels, count);
    else
        for (size_t i = 0; i < count; i++) y[i] = luminance(image->pixels + 3 * i);
}

static uint8_t to_byte(float value)
{
    if (!(value > 0)) return 0; // NaN too
    return value >= 1 ? 255 : (uint8_t)lrintf(value * 255);
}

static void replace_luminance(const uint8_t *rgb, int y, uint8_t *result)
{
    const int old = luminance(rgb);
    const int cr = saturate(128 + descale((rgb[0] - old) * 11682)) - 128;
    const int cb = saturate(128 + descale((rgb[2] - old) * 9241)) - 128;
    result[0] = saturate(y + descale(22987 * cr));
    result[1] = saturate(y + descale(-5636 * cb - 11698 * cr));
    result[2] = saturate(y + descale(29049 * cb));
}

idm_status idm_image_with_luminance(const idm_image *image, const float *y, idm_image *result)
{
    *result = (idm_image){0};
    IDM_TRY(image_allocate(&(image_file){.path = "picture"}, image->width, image->height, image->channels, result));
    const size_t count = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < count; i++) {
        if (image->channels == 1) result->pixels[i] = to_byte(y[i]);
        else replace_luminance(image->pixels + 3 * i, to_byte(y[i]), result->pixels + 3 * i);
    }
    return IDM_OK;
}
