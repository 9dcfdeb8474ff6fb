// Cutting into tiles and blending.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "eval/tiles.h"
#include <math.h>
#include <stdlib.h>

static float *numbered(size_t count)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 7919 % 1000) / 1000;
    return values;
}

static void assert_comes_back(int height, int width, int tile, int rows, int columns)
{
    tiling t;
    assert_int_equal(tiling_make(height, width, tile, 16, &t), IDM_OK);
    assert_int_equal(t.rows, rows);
    assert_int_equal(t.columns, columns);
    assert_int_equal(tiling_check(&t), IDM_OK);
    const size_t pixels = (size_t)height * (size_t)width, tile_pixels = (size_t)t.tile_height * (size_t)t.tile_width;
    float *plane = numbered(pixels), *back = numbered(pixels), *tiles = numbered(tile_pixels * (size_t)tiling_count(&t));
    for (int i = 0; i < tiling_count(&t); i++) tiling_cut(&t, i, plane, tiles + (size_t)i * tile_pixels);
    tiling_blend(&t, tiles, back);
    for (size_t i = 0; i < pixels; i++)
        if (fabsf(back[i] - plane[i]) > 1e-6f)
            fail_msg("%d x %d in %d: pixel %zu is %g, not %g", height, width, tile, i, back[i], plane[i]);
    free(plane);
    free(back);
    free(tiles);
}

static void test_pictures_come_back(void **state)
{
    (void)state;
    assert_comes_back(1, 1, 0, 1, 1);
    assert_comes_back(37, 31, 0, 1, 1);
    assert_comes_back(64, 64, 64, 1, 1);
    assert_comes_back(65, 64, 64, 2, 1);
    assert_comes_back(30, 200, 64, 1, 4);
    assert_comes_back(121, 90, 64, 3, 2);
    for (int length = 65; length < 300; length += 13) assert_comes_back(length, 17, 64, 1 + (length - 64 + 55) / 56, 1);
}

static void test_padding_is_zero(void **state)
{
    (void)state;
    tiling t;
    float plane[3 * 5], tile[16 * 16];
    assert_int_equal(tiling_make(3, 5, 0, 16, &t), IDM_OK);
    for (int i = 0; i < 15; i++) plane[i] = 1;
    tiling_cut(&t, 0, plane, tile);
    float sum = 0;
    for (int i = 0; i < 256; i++) sum += tile[i];
    assert_true(sum == 15 && tile[2 * 16 + 4] == 1 && tile[2 * 16 + 5] == 0 && tile[3 * 16] == 0);
}

// Two tiles that disagree: one, then a straight line, then the other.
static void test_blend_is_linear(void **state)
{
    (void)state;
    tiling t;
    assert_int_equal(tiling_make(16, 112, 64, 16, &t), IDM_OK); // columns 0..63 and 48..111
    assert_int_equal(t.columns, 2);
    static float tiles[2 * 16 * 64], plane[16 * 112];
    for (int i = 0; i < 16 * 64; i++) tiles[16 * 64 + i] = 1;
    tiling_blend(&t, tiles, plane);
    for (int x = 0; x < 112; x++) {
        const float expected = x < 48 ? 0 : x >= 64 ? 1 : ((float)(x - 48) + 0.5f) / 16;
        if (fabsf(plane[5 * 112 + x] - expected) > 1e-6f) fail_msg("column %d is %g, not %g", x, plane[5 * 112 + x], expected);
    }
}

static void test_impossible(void **state)
{
    (void)state;
    tiling t;
    assert_int_equal(tiling_make(100, 100, 40, 16, &t), IDM_USAGE);
    assert_int_equal(tiling_make(100, 100, 4, 4, &t), IDM_USAGE);
    assert_int_equal(tiling_check(&(tiling){100, 100, 64, 112, 1, 1}), IDM_BAD_INPUT); // a gap below
    assert_int_equal(tiling_check(&(tiling){300, 100, 64, 112, 3, 1}), IDM_BAD_INPUT); // gaps between
    assert_int_equal(tiling_check(&(tiling){60, 100, 64, 112, 2, 1}), IDM_BAD_INPUT);  // one would do
    assert_int_equal(tiling_check(&(tiling){100, 100, 64, 112, 0, 1}), IDM_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_come_back),
        cmocka_unit_test(test_padding_is_zero),
        cmocka_unit_test(test_blend_is_linear),
        cmocka_unit_test(test_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
