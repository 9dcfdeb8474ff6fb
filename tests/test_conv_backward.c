// Gradients of the 3x3 convolution, every variant, against the double-precision oracle, and that against finite differences; the same bits
// under launch splitting.
#include "conv_fixture.h"

#include "ops/weight.h"
#include "oracle/oracle_conv.h"
#include <math.h>

// Measured at most 8.4e-7, where a result is a few values, and 2.5e-7.
static const double DATA_TOLERANCE = 2e-6, WEIGHT_TOLERANCE = 6e-7;

static void check_shape(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample)
{
    OPS_CHECK(o, DATA_TOLERANCE, check_conv_backward_data(o, n, h, w, in, out, stride, upsample, 0));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_conv_backward_weight(o, n, h, w, in, out, stride, upsample));
}

static void check_sizes(ops *o, const char *table)
{
    static const int channels[] = {1, 3, 4, 17, 33, 80, 100};
    enum { COUNT = sizeof channels / sizeof *channels };
    (void)table;
    check_shape(o, 1, 1, 1, 1, 1, 1, false); // only the middle tap is inside
    for (int i = 0; i < COUNT; i++) {
        const int in = channels[i], out = channels[(i * 3 + 2) % COUNT];
        check_shape(o, 1, 1, 1, in, out, 1, false);
        check_shape(o, 1, 1, 7, in, out, 1, false);
        check_shape(o, 3, 5, 7, in, out, 1, false);
        check_shape(o, 2, 7, 5, in, out, 2, false);
        check_shape(o, 1, 8, 6, in, out, 2, false);
        check_shape(o, 1, 1, 1, in, out, 2, false);
        check_shape(o, 2, 3, 4, in, out, 1, true);
        check_shape(o, 1, 1, 1, in, out, 1, true);
    }
    check_shape(o, 1, 9, 11, 4, 320, 1, false); // the network's first and last
    check_shape(o, 1, 9, 11, 320, 4, 1, false);
    check_shape(o, 1, 8, 8, 320, 320, 2, false);
}

static void check_epilogues(ops *o, const char *table)
{
    (void)table;
    for (int parts = 0; parts < 32; parts++) {
        if ((parts & CHECK_BIAS) || ((parts & CHECK_IN_PLACE) && !(parts & (CHECK_COUPLING | CHECK_RESIDUAL)))) continue;
        OPS_CHECK(o, DATA_TOLERANCE, check_conv_backward_data(o, 2, 6, 7, 33, 17, 1, false, parts));
        OPS_CHECK(o, DATA_TOLERANCE, check_conv_backward_data(o, 1, 7, 8, 16, 20, 2, false, parts));
        OPS_CHECK(o, DATA_TOLERANCE, check_conv_backward_data(o, 1, 3, 4, 36, 16, 1, true, parts));
    }
}

// Sums over many pixels: slices, blocks, and several launches.
static void check_many_pixels(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_conv_backward_weight(o, 1, 128, 128, 5, 18, 1, false));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_conv_backward_weight(o, 3, 41, 57, 20, 36, 1, false));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_conv_backward_weight(o, 2, 79, 61, 6, 20, 2, false));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_conv_backward_weight(o, 2, 29, 31, 7, 4, 1, true));
}

static void test_sizes(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, check_sizes);
}

static void test_epilogues(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, check_epilogues);
}

static void test_many_pixels(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, check_many_pixels);
}

// A kept operand is as large as weight_transposed_bytes says.
static void check_kept_bytes(ops *o, const char *table)
{
    (void)table;
    for (int taps = 1; taps <= 9; taps += 8)
        for (weight_form form = WEIGHT_TAPS; form <= (taps == 9 && o->table.conv == VARIANT_CPU ? WEIGHT_WINOGRAD : WEIGHT_TAPS); form++) {
            const arena_mark mark = arena_save(o->ctx, POOL_DERIVED), activations = arena_save(o->ctx, POOL_ACTIVATIONS);
            weight w = {.plain = check_output(o, 1, 1, taps * 17, 33), .taps = taps, .in = 17, .out = 33};
            arena_reset_peak(o->ctx, POOL_DERIVED);
            weight_keep_transposed(o, &w, form);
            weight_renew(o, &w); // in its place
            assert_int_equal(tensor_bytes(w.transposed), weight_transposed_bytes(o, &w, form));
            assert_int_equal(arena_peak(o->ctx, POOL_DERIVED), (weight_transposed_bytes(o, &w, form) + 255) / 256 * 256);
            arena_release(o->ctx, POOL_DERIVED, mark);
            arena_release(o->ctx, POOL_ACTIVATIONS, activations);
        }
}

static void test_kept(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, check_kept_bytes);
}

static void test_same_bits_when_split(void **state)
{
    (void)state;
    for (int v = IDM_VARIANTS_CPU; v <= IDM_VARIANTS_GENERIC; v++) {
        const conv_setting whole = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN};
        conv_setting split = whole;
        split.max_launch_ms = 0.02;
        conv_fixture_same_gradient_bits(&whole, &split, 2, 33, 47, 20, 36, 9, 1, false);
        conv_fixture_same_gradient_bits(&whole, &split, 1, 33, 47, 5, 7, 9, 2, false);
        conv_fixture_same_gradient_bits(&whole, &split, 1, 17, 23, 7, 5, 9, 1, true);
    }
}

// Smaller tiles, where local memory or work-groups are small.
static void test_narrow_devices(void **state)
{
    static const char *const limits[] = {"local=32KiB", "local=16KiB", "workgroup=256", "workgroup=128", "local=16KiB,workgroup=64"};
    (void)state;
    for (int v = IDM_VARIANTS_GPU; v <= IDM_VARIANTS_GENERIC; v++)
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            const conv_setting narrow = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN, .limits = limits[i]};
            ops_fixture f;
            conv_fixture_open(&f, &narrow);
            check_shape(&f.o, 1, 13, 11, 33, 70, 1, false);
            check_shape(&f.o, 1, 16, 16, 64, 64, 1, false);
            ops_fixture_close(&f);
        }
}

// ---- the oracle

typedef struct oracle_problem {
    oracle_conv_shape shape;
    size_t y_count;
    float *x, *weights, *bias, *dy;
    double *y;
} oracle_problem;

// d sum(dy y) / d value, exact but for rounding: the sum is linear in every value, and value +- 1 are exact.
static double central_difference(oracle_problem *p, float *value)
{
    const float middle = *value;
    double difference = 0;
    for (int sign = -1; sign <= 1; sign += 2) {
        *value = middle + (float)sign;
        oracle_conv(&p->shape, p->x, p->weights, p->bias, NULL, NULL, NULL, p->y);
        for (size_t i = 0; i < p->y_count; i++) difference += (double)sign * p->dy[i] * p->y[i] / 2;
    }
    *value = middle;
    return difference;
}

static void check_oracle(oracle_conv_shape s)
{
    const size_t x_count = (size_t)s.n * s.h * s.w * s.in, w_count = (size_t)s.taps * s.in * s.out, out = (size_t)s.out;
    oracle_problem p = {.shape = s, .y_count = (size_t)s.n * oracle_conv_height(&s) * oracle_conv_width(&s) * out};
    p.x = check_values(x_count, 1, 1);
    p.weights = check_values(w_count, 2, 1);
    p.bias = check_values(out, 3, 1);
    p.dy = check_values(p.y_count, 4, 1);
    p.y = calloc(p.y_count, sizeof *p.y);
    double *dx = calloc(x_count, sizeof *dx), *dw = calloc(w_count, sizeof *dw), *dbias = calloc(out, sizeof *dbias);
    assert_true(p.x && p.weights && p.bias && p.dy && p.y && dx && dw && dbias);
    oracle_conv_backward_data(&s, p.dy, p.weights, NULL, NULL, NULL, dx);
    oracle_conv_backward_weight(&s, p.x, p.dy, dw, dbias);
    for (size_t i = 0; i < x_count; i++) assert_true(fabs(central_difference(&p, &p.x[i]) - dx[i]) < 1e-11);
    for (size_t i = 0; i < w_count; i++) assert_true(fabs(central_difference(&p, &p.weights[i]) - dw[i]) < 1e-11);
    for (size_t i = 0; i < out; i++) assert_true(fabs(central_difference(&p, &p.bias[i]) - dbias[i]) < 1e-11);
    free(p.x);
    free(p.weights);
    free(p.bias);
    free(p.dy);
    free(p.y);
    free(dx);
    free(dw);
    free(dbias);
}

static void test_oracle(void **state)
{
    (void)state;
    check_oracle((oracle_conv_shape){2, 3, 4, 3, 2, 9, 1, false});
    check_oracle((oracle_conv_shape){1, 1, 1, 2, 3, 9, 1, false});
    check_oracle((oracle_conv_shape){2, 5, 4, 2, 3, 9, 2, false});
    check_oracle((oracle_conv_shape){1, 4, 7, 3, 2, 9, 2, false});
    check_oracle((oracle_conv_shape){2, 3, 2, 2, 3, 9, 1, true});
    check_oracle((oracle_conv_shape){1, 1, 5, 3, 4, 1, 1, false});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),         cmocka_unit_test(test_sizes), cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_many_pixels),    cmocka_unit_test(test_kept),  cmocka_unit_test(test_same_bits_when_split),
        cmocka_unit_test(test_narrow_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
