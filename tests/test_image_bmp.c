// The BMP reader, which is our own: every header, depth and defect.
#include "image_fixture.h"

// A BMP of 3 x 2 pixels: header, palette (grey levels 10 * i + 1 with green one more), then zero pixels. Returns the size.
static size_t make_bmp(uint8_t out[4096], size_t header, int64_t height, unsigned bits, size_t *pixels)
{
    memset(out, 0, 4096);
    memcpy(out, "BM", 2);
    const size_t colour = header == 12 ? 3 : 4, colours = bits <= 8 ? (size_t)1 << bits : 0, palette = 14 + header;
    *pixels = palette + colours * colour + (header == 40 && bits == 32 ? 12 : 0);
    put(out + 10, 4, (int64_t)*pixels);
    put(out + 14, 4, (int64_t)header);
    put(out + 18, header == 12 ? 2 : 4, 3);
    put(out + (header == 12 ? 20 : 22), header == 12 ? 2 : 4, height);
    put(out + (header == 12 ? 24 : 28), 2, bits);
    for (size_t i = 0; i < colours; i++) {
        uint8_t *entry = out + palette + i * colour;
        entry[0] = entry[2] = (uint8_t)(10 * i + 1);
        entry[1] = (uint8_t)(10 * i + 2);
    }
    return *pixels + 2 * ((3 * bits + 31) / 32 * 4);
}

static void rgb_of(const int *index, uint8_t rgb[18])
{
    for (int i = 0; i < 6; i++) {
        rgb[3 * i] = rgb[3 * i + 2] = (uint8_t)(10 * index[i] + 1);
        rgb[3 * i + 1] = (uint8_t)(10 * index[i] + 2);
    }
}

static void assert_bmp(const uint8_t *data, size_t size, const uint8_t *rgb)
{
    idm_image image;
    if (decode_copy(data, size, &image) != IDM_OK) fail_msg("%s", idm_message());
    assert_picture(&image, 3, 2, 3, rgb);
    idm_image_free(&image);
    for (size_t length = 0; length < size; length++) {
        assert_int_equal(decode_copy(data, length, &image), IDM_BAD_INPUT);
        assert_null(image.pixels);
    }
}

static void test_bmp_palettes(void **state)
{
    (void)state;
    static const size_t headers[] = {12, 40, 56, 108, 124};
    static const int indices[3][6] = {{1, 0, 1, 0, 1, 1}, {15, 3, 0, 7, 8, 9}, {20, 3, 0, 7, 8, 24}};
    for (size_t h = 0; h < 5; h++) {
        for (unsigned depth = 0; depth < 3; depth++) {
            for (int top_down = 0; top_down <= (headers[h] > 12); top_down++) {
                uint8_t data[4096], rgb[18];
                size_t at;
                const unsigned bits = depth == 0 ? 1 : depth == 1 ? 4 : 8;
                const size_t size = make_bmp(data, headers[h], top_down ? -2 : 2, bits, &at);
                const size_t stride = 4;
                for (int i = 0; i < 6; i++) {
                    const size_t row = (size_t)(top_down ? i / 3 : 1 - i / 3), bit = (size_t)(i % 3) * bits;
                    data[at + row * stride + bit / 8] |= (uint8_t)(indices[depth][i] << (8 - bits - bit % 8));
                }
                rgb_of(indices[depth], rgb);
                assert_bmp(data, size, rgb);
            }
        }
    }
}

static void test_bmp_true_colour(void **state)
{
    (void)state;
    uint8_t data[4096], rgb[18];
    size_t at, size = make_bmp(data, 40, 2, 24, &at);
    for (uint8_t i = 0; i < 18; i++) rgb[i] = (uint8_t)(i * 13 + 5);
    for (int i = 0; i < 18; i++) data[at + (size_t)(1 - i / 9) * 12 + (size_t)(i % 9 / 3 * 3 + 2 - i % 3)] = rgb[i];
    assert_bmp(data, size, rgb);

    size = make_bmp(data, 40, -2, 32, &at);
    for (int i = 0; i < 18; i++) data[at + (size_t)(i / 3 * 4 + 2 - i % 3)] = rgb[i];
    assert_bmp(data, size, rgb);

    size = make_bmp(data, 40, -2, 32, &at); // masks: red in byte 1, green in byte 2, blue in byte 3
    put(data + 30, 4, 3);
    put(data + 54, 4, 0xFF00);
    put(data + 58, 4, 0xFF0000);
    put(data + 62, 4, 0xFF000000);
    for (int i = 0; i < 18; i++) data[at + (size_t)(i / 3 * 4 + 1 + i % 3)] = rgb[i];
    assert_bmp(data, size, rgb);
    put(data + 54, 4, 0xFF80);
    assert_damaged(data, size, "masks");
}

static void test_bmp_defects(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        int bytes;
        int64_t value;
        const char *part;
    } cases[] = {
        {10, 4, 0, "pixels do not lie"},
        {10, 4, 20, "pixels do not lie"},
        {10, 4, 5000, "pixels do not lie"},
        {10, 4, 0xFFFFFFFF, "pixels do not lie"},
        {14, 4, 39, "header"},
        {14, 4, 0xFFFFFFFF, "header"},
        {18, 4, 0, "without pixels"},
        {18, 4, -3, "without pixels"},
        {18, 4, 0x7FFFFFFF, "at most 65535"},
        {18, 4, 65536, "at most 65535"},
        {18, 4, 65535, "last pixel"},
        {22, 4, 0, "without pixels"},
        {22, 4, INT32_MIN, "at most 65535"},
        {22, 4, 3, "last pixel"},
        {28, 2, 16, "16 bits"},
        {28, 2, 2, "2 bits"},
        {28, 2, 0, "0 bits"},
        {30, 4, 1, "compressed"},
        {30, 4, 2, "compressed"},
        {46, 4, 257, "more colours"},
        {46, 4, 0xFFFFFFFF, "more colours"},
        {46, 4, 7, "not in the palette"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t data[4096];
        size_t at;
        const size_t size = make_bmp(data, 40, 2, 8, &at);
        data[at] = 7;
        put(data + cases[i].at, cases[i].bytes, cases[i].value);
        assert_damaged(data, size, cases[i].part);
    }
}

static void test_bmp_size(void **state)
{
    (void)state;
    uint8_t data[4096];
    size_t pixels;
    (void)make_bmp(data, 40, -2, 24, &pixels);
    write_bytes(picture_file(), data, pixels); // its pixels are missing
    assert_probes(3, 2);
    write_bytes(picture_file(), data, 30);
    assert_not_probed(picture_file(), "");
    put(data + 18, 4, 70000);
    write_bytes(picture_file(), data, pixels);
    assert_not_probed(picture_file(), "70000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bmp_palettes),
        cmocka_unit_test(test_bmp_true_colour),
        cmocka_unit_test(test_bmp_defects),
        cmocka_unit_test(test_bmp_size),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
