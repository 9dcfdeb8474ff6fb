// The back projection, and the picture that shows a reconstruction.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/random.h"
#include "eval/panel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *numbers(const char *purpose, size_t count)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = (float)random_uniform(random_key(1, purpose), i) - 0.5f;
    return values;
}

static idm_operator make_operator(int height, int width, int block, int measurements)
{
    idm_operator op = {.height = height, .width = width, .block_size = block, .measurements = measurements, .cs_ratio = 0.1};
    op.phi = numbers("phi", (size_t)(block * block * measurements));
    op.perm = malloc((size_t)(height * width) * sizeof *op.perm);
    assert_non_null(op.perm);
    random_permutation(random_key(1, "perm"), op.perm, (size_t)(height * width));
    return op;
}

// <A x, y> = <x, A^T y> for every image of the batch; Phi need not be orthonormal for that.
static void assert_adjoint(int height, int width, int block, int measurements, int batch)
{
    idm_operator op = make_operator(height, width, block, measurements);
    const size_t pixels = (size_t)(height * width), values = pixels / (size_t)(block * block) * (size_t)measurements;
    float *x = numbers("x", pixels * (size_t)batch), *y = numbers("y", values * (size_t)batch);
    float *ax = malloc(values * (size_t)batch * sizeof *ax), *aty = malloc(pixels * (size_t)batch * sizeof *aty);
    assert_true(ax && aty);
    idm_measure(&op, x, batch, ax);
    idm_back_project(&op, y, batch, aty);
    for (int b = 0; b < batch; b++) {
        double first = 0, second = 0, size = 0;
        for (size_t i = b * values; i < (b + 1) * values; i++) {
            first += (double)ax[i] * (double)y[i];
            size += fabs((double)ax[i] * (double)y[i]);
        }
        for (size_t i = b * pixels; i < (b + 1) * pixels; i++) second += (double)x[i] * (double)aty[i];
        if (fabs(first - second) > 1e-6 * size) fail_msg("%d x %d, image %d: %g and %g", height, width, b, first, second);
    }
    free(x);
    free(y);
    free(ax);
    free(aty);
    idm_operator_free(&op);
}

static void test_back_projection_is_the_adjoint(void **state)
{
    (void)state;
    assert_adjoint(4, 4, 4, 1, 1);
    assert_adjoint(8, 12, 4, 3, 2);
    assert_adjoint(16, 8, 8, 64, 3);
}

// A picture of several tiles is blended as a reconstruction is: with all pixels measured (M = N, orthonormal) A^T y is the picture.
static void test_back_projection_of_tiles(void **state)
{
    (void)state;
    enum { BLOCK = 4, N = BLOCK * BLOCK, HEIGHT = 13, WIDTH = 22 };
    tiling t;
    assert_int_equal(tiling_make(HEIGHT, WIDTH, 12, BLOCK, &t), IDM_OK);
    idm_operator op = make_operator(t.tile_height, t.tile_width, BLOCK, N);
    for (int i = 0; i < N * N; i++) op.phi[i] = i % N == (i / N + 3) % N;
    uint8_t luminance[HEIGHT * WIDTH];
    float plane[HEIGHT * WIDTH], *y = malloc((size_t)(tiling_count(&t) * t.tile_height * t.tile_width) * sizeof *y);
    assert_non_null(y);
    for (int i = 0; i < HEIGHT * WIDTH; i++) luminance[i] = (uint8_t)(i * 37);
    assert_int_equal(evaluate_measure(&op, &t, luminance, y), IDM_OK);
    assert_int_equal(evaluate_back_projection(&op, &t, y, plane), IDM_OK);
    assert_true(tiling_count(&t) > 1);
    for (int i = 0; i < HEIGHT * WIDTH; i++) assert_true(fabsf(plane[i] - (float)luminance[i] / 255) < 1e-6f);
    tiling other = t;
    other.tile_height += BLOCK;
    assert_int_equal(evaluate_back_projection(&op, &other, y, plane), IDM_USAGE);
    free(y);
    idm_operator_free(&op);
}

static void assert_pixel(const idm_image *panel, int row, int column, int red, int green, int blue)
{
    const uint8_t *p = panel->pixels + 3 * (row * panel->width + column);
    if (p[0] != red || p[1] != green || p[2] != blue)
        fail_msg("pixel (%d, %d) is %d, %d, %d, not %d, %d, %d", row, column, p[0], p[1], p[2], red, green, blue);
}

enum { WIDTH = 3, HEIGHT = 2, NEXT = WIDTH + PANEL_GAP };

static void test_all_four_parts(void **state)
{
    (void)state;
    uint8_t grey[] = {0, 10, 20, 100, 200, 255};
    const float back[] = {-1, 0, 1, 3, 1, 1};
    float plane[] = {0, 10 / 255.0f, 20 / 255.0f, 0.6f, 2.0f, -1.0f};
    plane[1] += PANEL_ERROR_WHITE / 255.0f;
    plane[2] += PANEL_ERROR_WHITE / 255.0f / 3;
    const idm_image original = {.width = WIDTH, .height = HEIGHT, .channels = 1, .pixels = grey};
    const reconstruction r = {.height = HEIGHT, .width = WIDTH, .plane = plane};
    idm_image panel;
    assert_int_equal(panel_make(&(panel_parts){&original, grey, back, &r}, &panel), IDM_OK);
    assert_true(panel.width == 4 * WIDTH + 3 * PANEL_GAP && panel.height == HEIGHT && panel.channels == 3);
    assert_pixel(&panel, 0, 1, 10, 10, 10);
    assert_pixel(&panel, 1, 2, 255, 255, 255);
    for (int column = WIDTH; column < NEXT; column++) assert_pixel(&panel, 1, column, 255, 255, 255);
    assert_pixel(&panel, 0, NEXT, 0, 0, 0);
    assert_pixel(&panel, 0, NEXT + 1, 64, 64, 64);
    assert_pixel(&panel, 1, NEXT, 255, 255, 255);
    assert_pixel(&panel, 1, 2 * NEXT, 153, 153, 153);
    assert_pixel(&panel, 1, 2 * NEXT + 1, 255, 255, 255); // clamped
    assert_pixel(&panel, 1, 2 * NEXT + 2, 0, 0, 0);
    assert_pixel(&panel, 0, 3 * NEXT, 0, 0, 0);
    assert_pixel(&panel, 0, 3 * NEXT + 1, 255, 255, 255);
    assert_pixel(&panel, 0, 3 * NEXT + 2, 255, 0, 0);
    assert_pixel(&panel, 1, 3 * NEXT + 1, 255, 255, (int)lround(255 * (3 * 55.0 / PANEL_ERROR_WHITE - 2)));
    idm_image_free(&panel);
}

static void test_without_truth_and_in_colour(void **state)
{
    (void)state;
    const float back[WIDTH * HEIGHT] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f}; // no range to stretch
    float plane[WIDTH * HEIGHT] = {0.2f, 0.4f, 0.6f, 0.8f, 1, 0};
    const reconstruction r = {.height = HEIGHT, .width = WIDTH, .plane = plane};
    idm_image panel;
    assert_int_equal(panel_make(&(panel_parts){.back_projection = back, .result = &r}, &panel), IDM_OK);
    assert_int_equal(panel.width, 2 * WIDTH + PANEL_GAP);
    assert_pixel(&panel, 0, 0, 0, 0, 0);
    assert_pixel(&panel, 1, NEXT, 204, 204, 204);
    idm_image_free(&panel);
    // only the luminance is known: grey
    const uint8_t truth[WIDTH * HEIGHT] = {7};
    assert_int_equal(panel_make(&(panel_parts){.truth = truth, .back_projection = back, .result = &r}, &panel), IDM_OK);
    assert_pixel(&panel, 0, 0, 7, 7, 7);
    idm_image_free(&panel);
    // a colour picture that comes back exactly keeps its colours
    uint8_t colours[3 * WIDTH * HEIGHT], luminance[WIDTH * HEIGHT];
    for (int i = 0; i < 3 * WIDTH * HEIGHT; i++) colours[i] = (uint8_t)(60 + i * 31 % 120);
    const idm_image original = {.width = WIDTH, .height = HEIGHT, .channels = 3, .pixels = colours};
    idm_image_luminance(&original, luminance);
    for (int i = 0; i < WIDTH * HEIGHT; i++) plane[i] = (float)luminance[i] / 255;
    assert_int_equal(panel_make(&(panel_parts){&original, luminance, back, &r}, &panel), IDM_OK);
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++) {
            const uint8_t *is = panel.pixels + 3 * (row * panel.width + column), *result = is + 6 * NEXT;
            for (int c = 0; c < 3; c++) {
                assert_int_equal(is[c], colours[3 * (row * WIDTH + column) + c]);
                assert_true(abs(is[c] - result[c]) <= 2); // 8-bit Cr and Cb
            }
            assert_pixel(&panel, row, column + 3 * NEXT, 0, 0, 0);
        }
    idm_image_free(&panel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back_projection_is_the_adjoint),
        cmocka_unit_test(test_back_projection_of_tiles),
        cmocka_unit_test(test_all_four_parts),
        cmocka_unit_test(test_without_truth_and_in_colour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
