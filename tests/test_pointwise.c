#include "gradient_fixture.h"
#include "ops_fixture.h"
#include "oracle/oracle_pointwise.h"
#include "tune/check_pointwise.h"
#include <math.h>

static void activations(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 1.5e-7, check_silu(o, 1, 1, 1, 1, 3));
    OPS_CHECK(o, 1.5e-7, check_silu(o, 3, 5, 7, 17, 3));
    OPS_CHECK(o, 1.5e-7, check_silu(o, 2, 16, 16, 320, 100));
    OPS_CHECK(o, 1e-7, check_geglu(o, 1, 4, 3));
    OPS_CHECK(o, 1e-7, check_geglu(o, 37, 21, 3));
    OPS_CHECK(o, 1e-7, check_geglu(o, 65, 1280, 10));
    OPS_CHECK(o, 1e-6, check_gelu_tail(o, 0.1f)); // 1 + erf(g / sqrt 2) cancels where g < 0, so only its absolute error is small
}

static void fast_activations(ops *o, const char *table)
{
    activations(o, table);
    OPS_CHECK(o, 1e-6, check_gelu_tail(o, 1e-30f));
}

static void gradients(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 1.5e-7, check_geglu_backward(o, 1, 1, 3, false));
    OPS_CHECK(o, 1.5e-7, check_geglu_backward(o, 37, 21, 3, true));
    OPS_CHECK(o, 1.5e-7, check_geglu_backward(o, 65, 1280, 10, false));
    OPS_CHECK(o, 1.5e-6, check_gelu_slope_tail(o, 0.1f));
}

static void fast_gradients(ops *o, const char *table)
{
    gradients(o, table);
    OPS_CHECK(o, 2e-6, check_gelu_slope_tail(o, 1e-30f));
}

static void sums(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 1e-6, check_dot_add(o, 1, 1, false));
    OPS_CHECK(o, 1e-6, check_dot_add(o, 37, 27, false));
    OPS_CHECK(o, 1e-6, check_dot_add(o, 4096, 2, false));
    OPS_CHECK(o, 1e-6, check_dot_add(o, 8193, 1, false));
    OPS_CHECK(o, 1e-6, check_dot_add(o, 1025, 320, false));
    OPS_CHECK(o, 1e-6, check_dot_add(o, 4096, 257, false));
    OPS_CHECK(o, 1e-6, check_dot_add(o, 4096, 257, true));
}

static void moves(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 0, check_channels_copy(o, 1, 1, 3, 1));
    OPS_CHECK(o, 0, check_channels_copy(o, 33, 20, 31, 11));
    OPS_CHECK(o, 0, check_channels_copy(o, 257, 64, 96, 32));
    OPS_CHECK(o, 0, check_channels_slice(o, 1, 1, 3, 1, false));
    OPS_CHECK(o, 0, check_channels_slice(o, 33, 20, 31, 11, false));
    OPS_CHECK(o, 0, check_channels_slice(o, 257, 64, 96, 32, false));
    OPS_CHECK(o, 6e-8, check_channels_slice(o, 1, 1, 3, 2, true));
    OPS_CHECK(o, 6e-8, check_channels_slice(o, 33, 20, 31, 11, true));
    OPS_CHECK(o, 6e-8, check_channels_slice(o, 257, 320, 960, 640, true));
    OPS_CHECK(o, 0, check_upsample_nearest(o, 1, 1, 1, 1));
    OPS_CHECK(o, 0, check_upsample_nearest(o, 2, 3, 5, 12));
    OPS_CHECK(o, 0, check_upsample_nearest(o, 1, 7, 9, 64));
    OPS_CHECK(o, 0, check_pixel_shuffle(o, 1, 1, 1, 1, 2));
    OPS_CHECK(o, 0, check_pixel_shuffle(o, 2, 5, 7, 1, 2));
    OPS_CHECK(o, 0, check_pixel_shuffle(o, 3, 4, 3, 5, 4));
    OPS_CHECK(o, 0, check_pixel_shuffle(o, 2, 3, 2, 2, 3));
}

static void upsample_backward(ops *o, const char *table)
{
    (void)table;
    for (int residual = 0; residual < 2; residual++) {
        OPS_CHECK(o, 2e-7, check_upsample_nearest_backward(o, 1, 1, 1, 1, residual));
        OPS_CHECK(o, 2e-7, check_upsample_nearest_backward(o, 2, 3, 5, 12, residual));
        OPS_CHECK(o, 2e-7, check_upsample_nearest_backward(o, 3, 7, 9, 80, residual));
    }
}

static void arithmetic(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 6e-8, check_scale(o, 1, 1));
    OPS_CHECK(o, 6e-8, check_scale(o, 129, 64));
    OPS_CHECK(o, 6e-8, check_add_scaled(o, 1, 1));
    OPS_CHECK(o, 6e-8, check_add_scaled(o, 37, 27));
    OPS_CHECK(o, 6e-8, check_add_scaled(o, 256, 48));
    OPS_CHECK(o, 6e-8, check_add(o, 1, 1));
    OPS_CHECK(o, 6e-8, check_add(o, 37, 27));
    OPS_CHECK(o, 6e-8, check_add(o, 256, 48));
    for (int parts = 0; parts < 8; parts++) {
        OPS_CHECK(o, 6e-8, check_epilogue(o, 1, 4, parts & 1, parts & 2, parts & 4));
        OPS_CHECK(o, 6e-8, check_epilogue(o, 67, 21, parts & 1, parts & 2, parts & 4));
        OPS_CHECK(o, 6e-8, check_epilogue(o, 130, 320, parts & 1, parts & 2, parts & 4));
    }
}

// ---- the oracle's gradient

enum { ROWS = 5, C = 7, COUNT = ROWS * C };

typedef struct geglu_problem {
    float *x, *dy;
} geglu_problem;

static double geglu_value(void *user)
{
    const geglu_problem *p = user;
    double y[COUNT], sum = 0;
    oracle_geglu(p->x, ROWS, C, y);
    for (int i = 0; i < COUNT; i++) sum += y[i] * p->dy[i];
    return sum;
}

static double silu_value(void *user)
{
    return oracle_silu(*(float *)user);
}

static void test_oracle_gradients(void **state)
{
    (void)state;
    geglu_problem p = {check_values((size_t)2 * COUNT, 1, 3), check_values(COUNT, 2, 1)};
    double dx[2 * COUNT];
    assert_true(p.x && p.dy);
    oracle_geglu_backward(p.x, p.dy, ROWS, C, dx);
    assert_true(gradient_error(geglu_value, &p, p.x, (size_t)2 * COUNT, dx) < 1e-8);
    for (int i = 0; i < COUNT; i++) {
        const double slope = oracle_silu_slope(p.x[i]);
        assert_true(gradient_error(silu_value, &p.x[i], &p.x[i], 1, &slope) < 1e-7);
    }
    free(p.x);
    free(p.dy);
}

static void test_activations_fast(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, fast_activations);
}

static void test_activations_exact(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, activations);
}

static void test_moves(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, moves);
}

static void test_arithmetic(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, arithmetic);
}

static void test_gradients_fast(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, fast_gradients);
}

static void test_gradients_exact(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, gradients);
}

static void test_sums(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, sums);
}

static void test_upsample_backward(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, upsample_backward);
}

// The oracle's gradient against central differences of the forward oracle: exact, since upsampling is linear and the steps are.
static void test_upsample_oracle(void **state)
{
    enum { N = 2, H = 3, W = 2, CHANNELS = 3, VALUES = N * H * W * CHANNELS };
    double dx[VALUES], y[4 * VALUES];
    (void)state;
    float *x = check_values(VALUES, 1, 1), *dy = check_values((size_t)4 * VALUES, 2, 1);
    assert_true(x && dy);
    oracle_upsample_nearest_backward(dy, N, H, W, CHANNELS, dx);
    for (int i = 0; i < VALUES; i++) {
        const float middle = x[i];
        double difference = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            x[i] = middle + (float)sign;
            oracle_upsample_nearest(x, N, H, W, CHANNELS, y);
            for (int k = 0; k < 4 * VALUES; k++) difference += (double)sign * dy[k] * y[k] / 2;
        }
        x[i] = middle;
        assert_true(fabs(difference - dx[i]) < 1e-12);
    }
    free(x);
    free(dy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle_gradients),
        cmocka_unit_test(test_activations_fast),
        cmocka_unit_test(test_activations_exact),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_gradients_fast),
        cmocka_unit_test(test_gradients_exact),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_activations_fast),
        cmocka_unit_test(test_activations_exact),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_upsample_backward),
        cmocka_unit_test(test_upsample_oracle),
        cmocka_unit_test(test_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
