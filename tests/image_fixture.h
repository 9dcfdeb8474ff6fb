// Common to the tests of picture readers: one file in the temporary folder, decoding from memory, and what must be refused.
#ifndef TESTS_IMAGE_FIXTURE_H
#define TESTS_IMAGE_FIXTURE_H

#include "core/files.h"
#include "hostile.h"
#include "io/image_formats.h"
#include "io/image_probe.h"

// The picture that a test makes.
static inline const char *picture_file(void)
{
    return temporary("picture");
}

static inline void assert_message_has(const char *part)
{
    if (!strstr(idm_message(), part)) fail_msg("\"%s\" is not in \"%s\"", part, idm_message());
}

static inline void assert_picture(const idm_image *image, int width, int height, int channels, const uint8_t *pixels)
{
    assert_int_equal(image->width, width);
    assert_int_equal(image->height, height);
    assert_int_equal(image->channels, channels);
    assert_memory_equal(image->pixels, pixels, (size_t)(width * height * channels));
}

static inline void assert_probes(int width, int height)
{
    int probed_width = 0, probed_height = 0;
    if (image_probe(picture_file(), &probed_width, &probed_height) != IDM_OK) fail_msg("%s", idm_message());
    assert_int_equal(probed_width, width);
    assert_int_equal(probed_height, height);
}

static inline void assert_loads(int width, int height, int channels, const uint8_t *pixels)
{
    idm_image image;
    if (idm_image_load(picture_file(), &image) != IDM_OK) fail_msg("%s", idm_message());
    assert_picture(&image, width, height, channels, pixels);
    idm_image_free(&image);
    assert_probes(width, height);
}

static inline void assert_not_probed(const char *path, const char *part)
{
    int width, height;
    assert_int_equal(image_probe(path, &width, &height), IDM_BAD_INPUT);
    assert_message_has(path);
    assert_message_has(part);
}

static inline idm_status decode_copy(const uint8_t *data, size_t size, idm_image *image)
{
    uint8_t *copy = malloc(size ? size : 1); // exactly as long, so that ASan sees a read past the end
    assert_non_null(copy);
    memcpy(copy, data, size);
    const image_file memory = {.path = "memory", .data = copy, .size = size};
    const idm_status status = image_decode(&memory, image);
    free(copy);
    return status;
}

static inline void assert_damaged(const uint8_t *data, size_t size, const char *part)
{
    idm_image image;
    if (decode_copy(data, size, &image) != IDM_BAD_INPUT) fail_msg("accepted: %s", part);
    assert_message_has("memory: ");
    assert_message_has(part);
    assert_null(image.pixels);
}

// The picture in picture_file(), cut anywhere but in its last `spare` bytes, is refused.
static inline void assert_no_truncation_passes(size_t spare)
{
    uint8_t *data;
    size_t size;
    assert_int_equal(files_read_whole(picture_file(), 1 << 20, &data, &size), IDM_OK);
    idm_image image;
    for (size_t length = 0; length + spare < size; length++) {
        if (decode_copy(data, length, &image) != IDM_BAD_INPUT) fail_msg("%zu of %zu bytes were accepted", length, size);
        assert_null(image.pixels);
    }
    free(data);
}

// Little-endian.
static inline void put(uint8_t *at, int bytes, int64_t value)
{
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

#endif
