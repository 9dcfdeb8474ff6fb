// JPEG pictures, and how they were held.
#include "image_fixture.h"
#include "io/exif.h"

#include <jpeglib.h>

enum { WIDTH = 40, HEIGHT = 24 };

// exif: bytes of an APP1 segment, or none.
static void write_jpeg(J_COLOR_SPACE space, int channels, bool progressive, const void *exif, size_t exif_size)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    FILE *out = fopen(picture_file(), "wb");
    assert_non_null(out);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, out);
    jpeg.image_width = WIDTH;
    jpeg.image_height = HEIGHT;
    jpeg.input_components = channels;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    if (exif) jpeg_write_marker(&jpeg, JPEG_APP0 + 1, exif, (unsigned)exif_size);
    for (int y = 0; y < HEIGHT; y++) {
        JSAMPLE row[WIDTH * 4];
        for (int x = 0; x < WIDTH * channels; x++) row[x] = (JSAMPLE)(2 * y + 40 * (x % channels) + 2 * (x / channels));
        JSAMPROW rows = row;
        (void)jpeg_write_scanlines(&jpeg, &rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    assert_int_equal(fclose(out), 0);
}

static void test_jpeg(void **state)
{
    (void)state;
    for (int progressive = 0; progressive < 2; progressive++) {
        for (int channels = 1; channels <= 3; channels += 2) {
            write_jpeg(channels == 1 ? JCS_GRAYSCALE : JCS_RGB, channels, progressive, NULL, 0);
            idm_image image;
            if (idm_image_load(picture_file(), &image) != IDM_OK) fail_msg("%s", idm_message());
            assert_int_equal(image.width, WIDTH);
            assert_int_equal(image.height, HEIGHT);
            assert_int_equal(image.channels, channels);
            for (int i = 0; i < WIDTH * HEIGHT * channels; i++) {
                const int x = i / channels % WIDTH, y = i / channels / WIDTH;
                assert_true(abs(image.pixels[i] - (2 * y + 40 * (i % channels) + 2 * x)) <= 3);
            }
            idm_image_free(&image);
            assert_no_truncation_passes(0);
        }
    }
    write_jpeg(JCS_CMYK, 4, false, NULL, 0);
    idm_image image;
    assert_int_equal(idm_image_load(picture_file(), &image), IDM_BAD_INPUT);
    assert_message_has("CMYK");
}

// The size lies behind what may come before it.
static void test_size(void **state)
{
    (void)state;
    enum { SEGMENT = 40000 };
    static uint8_t marker[4 + SEGMENT] = {0xFF, 0xE5, (SEGMENT + 2) >> 8, (SEGMENT + 2) & 0xFF};
    write_jpeg(JCS_RGB, 3, true, NULL, 0);
    assert_probes(WIDTH, HEIGHT);
    size_t size;
    uint8_t *data = read_or_skip(picture_file(), &size), *longer = malloc(size + sizeof marker);
    assert_non_null(longer);
    memcpy(longer, data, 2);
    memcpy(longer + 2, marker, sizeof marker);
    memcpy(longer + 2 + sizeof marker, data + 2, size - 2);
    write_bytes(picture_file(), longer, size + sizeof marker);
    assert_probes(WIDTH, HEIGHT);
    free(data);
    free(longer);
}

// ---- orientation

static void test_turning(void **state)
{
    (void)state;
    static const struct {
        int width, height;
        uint8_t pixels[6];
    } upright[9] = {
        [1] = {3, 2, {1, 2, 3, 4, 5, 6}}, [2] = {3, 2, {3, 2, 1, 6, 5, 4}}, [3] = {3, 2, {6, 5, 4, 3, 2, 1}},
        [4] = {3, 2, {4, 5, 6, 1, 2, 3}}, [5] = {2, 3, {1, 4, 2, 5, 3, 6}}, [6] = {2, 3, {4, 1, 5, 2, 6, 3}},
        [7] = {2, 3, {6, 3, 5, 2, 4, 1}}, [8] = {2, 3, {3, 6, 2, 5, 1, 4}},
    };
    for (int orientation = 1; orientation <= 8; orientation++)
        for (int channels = 1; channels <= 3; channels += 2) {
            uint8_t expected[18];
            idm_image image = {3, 2, channels, malloc(18)};
            assert_non_null(image.pixels);
            for (int i = 0; i < 6 * channels; i++) {
                image.pixels[i] = (uint8_t)(upright[1].pixels[i / channels] + 10 * (i % channels));
                expected[i] = (uint8_t)(upright[orientation].pixels[i / channels] + 10 * (i % channels));
            }
            assert_int_equal(exif_turn_upright(&image, orientation), IDM_OK);
            assert_picture(&image, upright[orientation].width, upright[orientation].height, channels, expected);
            idm_image_free(&image);
        }
}

// An APP1 segment as cameras write it: a directory of three entries, the orientation between make and resolution.
enum { EXIF_SIZE = 6 + 8 + 2 + 3 * 12 + 4, EXIF_ENTRY = 6 + 8 + 2 + 12 };

static void put_number(uint8_t *at, int bytes, bool big_endian, uint32_t value)
{
    for (int i = 0; i < bytes; i++) at[big_endian ? bytes - 1 - i : i] = (uint8_t)(value >> 8 * i);
}

static void make_exif(uint8_t exif[EXIF_SIZE], bool big_endian, uint32_t orientation)
{
    static const uint32_t entries[3][3] = {{0x010F, 2, 4}, {0x0112, 3, 1}, {0x011A, 5, 1}}; // tag, type, count
    memset(exif, 0, EXIF_SIZE);
    memcpy(exif, "Exif\0\0", 6);
    memcpy(exif + 6, big_endian ? "MM" : "II", 2);
    put_number(exif + 8, 2, big_endian, 42);
    put_number(exif + 10, 4, big_endian, 8);
    put_number(exif + 14, 2, big_endian, 3);
    for (int i = 0; i < 3; i++) {
        uint8_t *entry = exif + 16 + 12 * i;
        put_number(entry, 2, big_endian, entries[i][0]);
        put_number(entry + 2, 2, big_endian, entries[i][1]);
        put_number(entry + 4, 4, big_endian, entries[i][2]);
    }
    put_number(exif + EXIF_ENTRY + 8, 2, big_endian, orientation);
}

static void test_orientation(void **state)
{
    (void)state;
    uint8_t exif[EXIF_SIZE];
    idm_image stored, turned;
    for (int orientation = 1; orientation <= 8; orientation++)
        for (int big_endian = 0; big_endian < 2; big_endian++) {
            make_exif(exif, big_endian, (uint32_t)orientation);
            write_jpeg(JCS_RGB, 3, false, NULL, 0);
            assert_int_equal(idm_image_load(picture_file(), &stored), IDM_OK);
            assert_int_equal(exif_turn_upright(&stored, orientation), IDM_OK);
            write_jpeg(JCS_RGB, 3, false, exif, sizeof exif);
            assert_int_equal(idm_image_load(picture_file(), &turned), IDM_OK);
            assert_picture(&turned, stored.width, stored.height, 3, stored.pixels);
            assert_int_equal(turned.width, orientation >= 5 ? HEIGHT : WIDTH);
            assert_probes(turned.width, turned.height);
            idm_image_free(&stored);
            idm_image_free(&turned);
        }
    assert_no_truncation_passes(0);
}

static int orientation_of_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    const int orientation = exif_orientation(copy, size);
    free(copy);
    return orientation;
}

// What is damaged says nothing: the picture is read as it is stored.
static void test_damaged_orientation(void **state)
{
    (void)state;
    static const struct {
        int at, bytes;
        uint32_t value;
    } damages[] = {
        {0, 1, 'X'},
        {5, 1, 1},
        {6, 1, 'X'},
        {8, 2, 43},
        {10, 4, 0},
        {10, 4, 7},
        {10, 4, EXIF_SIZE},
        {10, 4, 0xFFFFFFFF},
        {14, 2, 0},
        {14, 2, 1},
        {EXIF_ENTRY, 2, 5},
        {EXIF_ENTRY + 2, 2, 4},
        {EXIF_ENTRY + 4, 4, 2},
        {EXIF_ENTRY + 8, 2, 0},
        {EXIF_ENTRY + 8, 2, 9},
        {EXIF_ENTRY + 8, 2, 0xFFFF},
    };
    uint8_t exif[EXIF_SIZE];
    make_exif(exif, false, 6);
    assert_int_equal(orientation_of_copy(exif, EXIF_SIZE), 6);
    for (size_t size = 0; size < EXIF_SIZE; size++) assert_int_equal(orientation_of_copy(exif, size), size < EXIF_ENTRY + 12 ? 1 : 6);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        make_exif(exif, false, 6);
        put_number(exif + damages[i].at, damages[i].bytes, false, damages[i].value);
        assert_int_equal(orientation_of_copy(exif, EXIF_SIZE), 1);
    }
    make_exif(exif, false, 6);
    put_number(exif + 14, 2, false, 0xFFFF); // more entries than there are
    assert_int_equal(orientation_of_copy(exif, EXIF_SIZE), 6);
    put_number(exif + EXIF_ENTRY, 2, false, 0x0113);
    assert_int_equal(orientation_of_copy(exif, EXIF_SIZE), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_turning),
        cmocka_unit_test(test_orientation),
        cmocka_unit_test(test_damaged_orientation),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
