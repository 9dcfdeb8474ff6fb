// PNG and TIFF pictures of every depth that is read, and damaged ones; what is done with a picture.
#include "image_fixture.h"

#include <dirent.h>
#include <math.h>
#include <png.h>
#include <sys/stat.h>
#include <tiffio.h>

static void write_png(int type, int depth, uint32_t width, uint32_t height, const uint8_t *rows, size_t stride, bool interlaced)
{
    FILE *out = fopen(picture_file(), "wb");
    assert_non_null(out);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_init_io(png, out);
    png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);
    png_set_IHDR(png, info, width, height, depth, type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    const png_color palette[4] = {{1, 2, 3}, {40, 50, 60}, {7, 8, 9}, {255, 0, 128}};
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 4);
        png_set_tRNS(png, info, (const png_byte[]){0, 128}, 2, NULL);
    }
    png_write_info(png, info);
    const int passes = rows ? png_set_interlace_handling(png) : 0;
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++) png_write_row(png, rows + y * stride);
    if (rows) png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    assert_int_equal(fclose(out), 0);
}

static void test_png_types(void **state)
{
    (void)state;
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        write_png(PNG_COLOR_TYPE_GRAY, 1, 3, 2, (const uint8_t[]){0xA0, 0x40}, 1, interlaced);
        assert_loads(3, 2, 1, (const uint8_t[]){255, 0, 255, 0, 255, 0});
        write_png(PNG_COLOR_TYPE_GRAY, 2, 3, 2, (const uint8_t[]){0x1B, 0xE4}, 1, interlaced);
        assert_loads(3, 2, 1, (const uint8_t[]){0, 85, 170, 255, 170, 85});
        write_png(PNG_COLOR_TYPE_GRAY, 8, 3, 2, (const uint8_t[]){1, 2, 3, 4, 5, 6}, 3, interlaced);
        assert_loads(3, 2, 1, (const uint8_t[]){1, 2, 3, 4, 5, 6});
        write_png(PNG_COLOR_TYPE_GRAY, 16, 2, 1, (const uint8_t[]){0x12, 0xFF, 0xFE, 0x00}, 4, interlaced);
        assert_loads(2, 1, 1, (const uint8_t[]){0x12, 0xFE});
        write_png(PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2, 1, (const uint8_t[]){9, 0, 200, 255}, 4, interlaced);
        assert_loads(2, 1, 1, (const uint8_t[]){9, 200});
        write_png(PNG_COLOR_TYPE_RGB, 8, 1, 2, (const uint8_t[]){1, 2, 3, 4, 5, 6}, 3, interlaced);
        assert_loads(1, 2, 3, (const uint8_t[]){1, 2, 3, 4, 5, 6});
        write_png(PNG_COLOR_TYPE_RGB_ALPHA, 8, 1, 2, (const uint8_t[]){1, 2, 3, 0, 4, 5, 6, 255}, 4, interlaced);
        assert_loads(1, 2, 3, (const uint8_t[]){1, 2, 3, 4, 5, 6});
        write_png(PNG_COLOR_TYPE_RGB, 16, 1, 1, (const uint8_t[]){1, 255, 2, 255, 3, 0}, 6, interlaced);
        assert_loads(1, 1, 3, (const uint8_t[]){1, 2, 3});
        write_png(PNG_COLOR_TYPE_PALETTE, 2, 3, 1, (const uint8_t[]){0x1C}, 1, interlaced);
        assert_loads(3, 1, 3, (const uint8_t[]){1, 2, 3, 40, 50, 60, 255, 0, 128});
    }
    assert_no_truncation_passes(0);
}

static void test_png_defects(void **state)
{
    (void)state;
    idm_image image;
    const uint32_t sizes[][2] = {{70000, 1}, {1, 70000}, {60000, 60000}};
    for (size_t i = 0; i < 3; i++) {
        write_png(PNG_COLOR_TYPE_GRAY, 8, sizes[i][0], sizes[i][1], NULL, 0, false);
        assert_int_equal(idm_image_load(picture_file(), &image), IDM_BAD_INPUT);
        assert_null(image.pixels);
        assert_message_has(picture_file());
    }
    write_png(PNG_COLOR_TYPE_GRAY, 8, 3, 2, (const uint8_t[]){1, 2, 3, 4, 5, 6}, 3, false);
    uint8_t *data;
    size_t size;
    assert_int_equal(files_read_whole(picture_file(), 1 << 20, &data, &size), IDM_OK);
    data[20] ^= 1; // height: the checksum no longer fits
    assert_damaged(data, size, "damaged PNG");
    data[20] ^= 1;
    data[45] ^= 0x10; // in the compressed pixels
    assert_damaged(data, size, "damaged PNG");
    free(data);
}

typedef struct tiff_case {
    uint16_t photometric, bits, samples, compression;
    const uint8_t *row; // of 3 x 2 pixels, the second is the same
    int channels;
    uint8_t expected[9];
} tiff_case;

static void write_tiff(const tiff_case *c, bool tiled)
{
    TIFF *tiff = TIFFOpen(picture_file(), "w");
    assert_non_null(tiff);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 3);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 2);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, c->bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, c->samples);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, c->photometric);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, c->compression);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    if (c->samples == 4) TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, (const uint16_t[]){EXTRASAMPLE_UNSPECIFIED});
    uint16_t map[3][256];
    for (int i = 0; i < 256; i++) {
        map[0][i] = (uint16_t)(i << 8);
        map[1][i] = (uint16_t)((255 - i) << 8);
        map[2][i] = (uint16_t)((i / 2) << 8);
    }
    if (c->photometric == PHOTOMETRIC_PALETTE) TIFFSetField(tiff, TIFFTAG_COLORMAP, map[0], map[1], map[2]);
    if (tiled) {
        uint8_t tile[16 * 16] = {0};
        TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 16);
        TIFFSetField(tiff, TIFFTAG_TILELENGTH, 16);
        for (int y = 0; y < 2; y++) memcpy(tile + 16 * y, c->row, 3);
        assert_true(TIFFWriteEncodedTile(tiff, 0, tile, sizeof tile) > 0);
    } else {
        uint8_t row[32];
        for (uint32_t y = 0; y < 2; y++) {
            memcpy(row, c->row, sizeof row);
            assert_int_equal(TIFFWriteScanline(tiff, row, y, 0), 1);
        }
    }
    TIFFClose(tiff);
}

static void test_tiff_types(void **state)
{
    (void)state;
    static const uint8_t bytes[32] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120}, bits[32] = {0xA0};
    static const uint16_t words[16] = {0x1234, 0x5678, 0x9ABC, 0xDEF0, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000};
    const tiff_case cases[] = {
        {PHOTOMETRIC_MINISBLACK, 8, 1, COMPRESSION_NONE, bytes, 1, {10, 20, 30}},
        {PHOTOMETRIC_MINISBLACK, 8, 1, COMPRESSION_PACKBITS, bytes, 1, {10, 20, 30}},
        {PHOTOMETRIC_MINISBLACK, 8, 1, COMPRESSION_LZW, bytes, 1, {10, 20, 30}},
        {PHOTOMETRIC_MINISWHITE, 8, 1, COMPRESSION_NONE, bytes, 1, {245, 235, 225}},
        {PHOTOMETRIC_MINISBLACK, 1, 1, COMPRESSION_NONE, bits, 1, {255, 0, 255}},
        {PHOTOMETRIC_MINISWHITE, 1, 1, COMPRESSION_NONE, bits, 1, {0, 255, 0}},
        {PHOTOMETRIC_MINISBLACK, 16, 1, COMPRESSION_NONE, (const uint8_t *)words, 1, {0x12, 0x56, 0x9A}},
        {PHOTOMETRIC_PALETTE, 8, 1, COMPRESSION_PACKBITS, bytes, 3, {10, 245, 5, 20, 235, 10, 30, 225, 15}},
        {PHOTOMETRIC_RGB, 8, 3, COMPRESSION_NONE, bytes, 3, {10, 20, 30, 40, 50, 60, 70, 80, 90}},
        {PHOTOMETRIC_RGB, 8, 4, COMPRESSION_LZW, bytes, 3, {10, 20, 30, 50, 60, 70, 90, 100, 110}},
    };
    uint8_t expected[18];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t size = (size_t)(3 * cases[i].channels);
        write_tiff(&cases[i], false);
        memcpy(expected, cases[i].expected, size);
        memcpy(expected + size, cases[i].expected, size);
        assert_loads(3, 2, cases[i].channels, expected);
    }
    write_tiff(&cases[0], true);
    assert_loads(3, 2, 1, (const uint8_t[]){10, 20, 30, 10, 20, 30});
    // a 16-bit colour picture: libtiff rounds, so within one level of the high byte
    write_tiff(&(tiff_case){PHOTOMETRIC_RGB, 16, 3, COMPRESSION_NONE, (const uint8_t *)words, 3, {0}}, false);
    idm_image image;
    assert_int_equal(idm_image_load(picture_file(), &image), IDM_OK);
    for (int i = 0; i < 9; i++) assert_true(abs(image.pixels[i] - (words[i] >> 8)) <= 1);
    idm_image_free(&image);
}

static void test_tiff_defects(void **state)
{
    (void)state;
    static const uint8_t bytes[32] = {10, 20, 30};
    write_tiff(&(tiff_case){PHOTOMETRIC_MINISBLACK, 8, 1, COMPRESSION_NONE, bytes, 1, {0}}, false);
    assert_no_truncation_passes(4); // the last 4 bytes only say that no second picture follows
    uint8_t *data;
    size_t size;
    assert_int_equal(files_read_whole(picture_file(), 1 << 20, &data, &size), IDM_OK);
    size_t entries = (size_t)data[4] | (size_t)data[5] << 8;
    assert_true(entries + 2 < size);
    // the fields of the directory are 12 bytes each: tag, type, count, value
    for (size_t at = entries + 2; at + 12 <= size; at += 12) {
        const int tag = data[at] | data[at + 1] << 8;
        if (tag != TIFFTAG_IMAGEWIDTH && tag != TIFFTAG_IMAGELENGTH && tag != TIFFTAG_STRIPOFFSETS) continue;
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, data, size);
        put(copy + at + 2, 2, 4); // as a 32-bit number
        static const uint32_t values[] = {0, 70000, 0xFFFFFFF0};
        for (size_t v = tag == TIFFTAG_STRIPOFFSETS ? 1 : 0; v < 3; v++) {
            put(copy + at + 8, 4, values[v]);
            assert_damaged(copy, size, "memory: ");
        }
        free(copy);
    }
    put(data + 4, 4, 0xFFFFFFF0);
    assert_damaged(data, size, "TIFF");
    free(data);
    // floating-point samples are refused, not misread
    write_tiff(&(tiff_case){PHOTOMETRIC_MINISBLACK, 32, 1, COMPRESSION_NONE, bytes, 1, {0}}, false);
    idm_image image;
    assert_int_equal(idm_image_load(picture_file(), &image), IDM_BAD_INPUT);
    assert_message_has("32-bit");
}

// A directory behind the pixels, as libtiff writes it, and far from the beginning.
static void test_tiff_size(void **state)
{
    (void)state;
    enum { WIDTH = 300, HEIGHT = 200 };
    TIFF *tiff = TIFFOpen(picture_file(), "w");
    assert_non_null(tiff);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, WIDTH);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, HEIGHT);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    uint8_t row[WIDTH] = {0};
    for (uint32_t y = 0; y < HEIGHT; y++) assert_int_equal(TIFFWriteScanline(tiff, row, y, 0), 1);
    TIFFClose(tiff);
    assert_probes(WIDTH, HEIGHT);
}

static void test_not_a_picture(void **state)
{
    (void)state;
    idm_image image;
    assert_damaged((const uint8_t *)"", 0, "neither");
    assert_damaged((const uint8_t *)"hello", 5, "neither");
    assert_int_equal(idm_image_load("no/such.png", &image), IDM_BAD_INPUT);
    assert_message_has("no/such.png");
    assert_null(image.pixels);
    uint8_t *noise = malloc(1 << 17);
    assert_non_null(noise);
    memset(noise, 'x', 1 << 17);
    write_bytes(picture_file(), noise, 1 << 17);
    free(noise);
    assert_not_probed(picture_file(), "neither PNG");
    assert_not_probed("no/such.png", "");
    assert_not_probed(temporary_folder, "");
    assert_int_equal(idm_image_load(temporary_folder, &image), IDM_BAD_INPUT);
    assert_message_has(temporary_folder);
}

static void test_save(void **state)
{
    (void)state;
    uint8_t pixels[18];
    for (uint8_t i = 0; i < 18; i++) pixels[i] = (uint8_t)(i * 14);
    idm_image colour = {3, 2, 3, pixels}, grey = {6, 3, 1, pixels};
    assert_int_equal(idm_image_save_png(picture_file(), &colour), IDM_OK);
    assert_loads(3, 2, 3, pixels);
    assert_int_equal(idm_image_save_png(picture_file(), &grey), IDM_OK); // over the first
    assert_loads(6, 3, 1, pixels);
    assert_int_equal(idm_image_save_png("no/such/folder.png", &grey), IDM_FAILED);
    assert_message_has("no/such/folder.png");
    assert_int_equal(idm_image_save_png(temporary_folder, &grey), IDM_FAILED);
    assert_int_equal(idm_image_save_png("/dev/full", &grey), IDM_FAILED);
    assert_message_has("/dev/full");
    struct stat info;
    assert_true(stat("/dev/full", &info) == 0 && S_ISCHR(info.st_mode)); // not replaced by a file
    struct dirent **entries;
    const int count = scandir(temporary_folder, &entries, NULL, NULL);
    assert_int_equal(count, 3); // ".", "..", the picture: nothing half written is left
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
}

static void test_luminance(void **state)
{
    (void)state;
    // {R G B}, new luminance, {R G B}: made with OpenCV 4.6 (COLOR_BGR2YCrCb, Y replaced, COLOR_YCrCb2BGR)
    static const uint8_t rows[][7] = {{194, 130, 95, 6, 55, 0, 0},       {235, 207, 217, 200, 218, 191, 200},
                                      {33, 163, 15, 167, 93, 223, 75},   {130, 217, 215, 96, 36, 122, 121},
                                      {16, 189, 248, 201, 73, 246, 255}, {232, 184, 69, 249, 255, 247, 134}};
    enum { COUNT = sizeof rows / sizeof *rows };
    uint8_t pixels[3 * COUNT], y[COUNT];
    float replaced[COUNT];
    for (int i = 0; i < COUNT; i++) {
        memcpy(pixels + 3 * i, rows[i], 3);
        replaced[i] = (float)rows[i][3] / 255;
    }
    const idm_image image = {COUNT, 1, 3, pixels};
    idm_image result;
    assert_int_equal(idm_image_with_luminance(&image, replaced, &result), IDM_OK);
    for (int i = 0; i < COUNT; i++) assert_memory_equal(result.pixels + 3 * i, rows[i] + 4, 3);
    idm_image_free(&result);
    idm_image_luminance(&image, y);
    for (int i = 0; i < COUNT; i++) assert_int_equal(y[i], (4899 * rows[i][0] + 9617 * rows[i][1] + 1868 * rows[i][2] + 8192) >> 14);

    const idm_image grey = {COUNT, 1, 1, pixels};
    const float values[COUNT] = {-1, NAN, 0.5F, 2, 1.4F / 255, 1.6F / 255};
    const uint8_t expected[COUNT] = {0, 0, 128, 255, 1, 2};
    assert_int_equal(idm_image_with_luminance(&grey, values, &result), IDM_OK);
    assert_picture(&result, COUNT, 1, 1, expected);
    idm_image_free(&result);
    idm_image_luminance(&grey, y);
    assert_memory_equal(y, pixels, COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_types),    cmocka_unit_test(test_png_defects), cmocka_unit_test(test_tiff_types),
        cmocka_unit_test(test_tiff_defects), cmocka_unit_test(test_tiff_size),   cmocka_unit_test(test_not_a_picture),
        cmocka_unit_test(test_save),         cmocka_unit_test(test_luminance),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
