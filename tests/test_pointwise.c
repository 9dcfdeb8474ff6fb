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

static void moves(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 0, check_channels_copy(o, 1, 1, 3, 1));
    OPS_CHECK(o, 0, check_channels_copy(o, 33, 20, 31, 11));
    OPS_CHECK(o, 0, check_channels_copy(o, 257, 64, 96, 32));
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
    for (int parts = 0; parts < 8; parts++) {
        OPS_CHECK(o, 6e-8, check_epilogue(o, 1, 4, parts & 1, parts & 2, parts & 4));
        OPS_CHECK(o, 6e-8, check_epilogue(o, 67, 21, parts & 1, parts & 2, parts & 4));
        OPS_CHECK(o, 6e-8, check_epilogue(o, 130, 320, parts & 1, parts & 2, parts & 4));
    }
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

static void test_upsample_backward(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, upsample_backward);
}

// The oracle's gradient against central differences of the forward oracle: exact, since upsampling is linear and the steps are.
static void test_upsample_oracle(void **state)
{
    enum { N = 2, H = 3, W = 2, C = 3, COUNT = N * H * W * C };
    double dx[COUNT], y[4 * COUNT];
    (void)state;
    float *x = check_values(COUNT, 1, 1), *dy = check_values((size_t)4 * COUNT, 2, 1);
    assert_true(x && dy);
    oracle_upsample_nearest_backward(dy, N, H, W, C, dx);
    for (int i = 0; i < COUNT; i++) {
        const float middle = x[i];
        double difference = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            x[i] = middle + (float)sign;
            oracle_upsample_nearest(x, N, H, W, C, y);
            for (int k = 0; k < 4 * COUNT; k++) difference += (double)sign * dy[k] * y[k] / 2;
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
        cmocka_unit_test(test_activations_fast),  cmocka_unit_test(test_activations_exact), cmocka_unit_test(test_moves),
        cmocka_unit_test(test_upsample_backward), cmocka_unit_test(test_upsample_oracle),   cmocka_unit_test(test_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
