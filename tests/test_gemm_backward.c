// Gradients of linear layers, every variant and CLBlast, against the double-precision oracle (test_conv_backward.c checks that); the same
// bits under launch splitting.
#include "conv_fixture.h"

#include "ops/weight.h"

// Measured at most 8.9e-7, where a result is a few values, and 2.5e-7, by CLBlast 6.2e-7.
static const double DATA_TOLERANCE = 2e-6, WEIGHT_TOLERANCE = 1e-6;

static void check_shape(ops *o, int rows, int in, int out)
{
    OPS_CHECK(o, DATA_TOLERANCE, check_gemm_backward_data(o, rows, in, out, 0));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_gemm_backward_weight(o, rows, in, out));
}

static void check_sizes(ops *o, const char *table)
{
    static const int channels[] = {1, 3, 4, 16, 17, 33, 80, 100, 320};
    enum { COUNT = sizeof channels / sizeof *channels };
    (void)table;
    for (int i = 0; i < COUNT; i++) {
        const int in = channels[i], out = channels[(i * 5 + 3) % COUNT];
        check_shape(o, 1, in, out);
        check_shape(o, 67, in, out);
        check_shape(o, 3, out, in);
    }
    check_shape(o, 261, 65, 2560);
}

static void check_epilogues(ops *o, const char *table)
{
    (void)table;
    for (int parts = 0; parts < 32; parts++) {
        if ((parts & CHECK_BIAS) || ((parts & CHECK_IN_PLACE) && !(parts & (CHECK_COUPLING | CHECK_RESIDUAL)))) continue;
        OPS_CHECK(o, DATA_TOLERANCE, check_gemm_backward_data(o, 130, 19, 33, parts));
        OPS_CHECK(o, DATA_TOLERANCE, check_gemm_backward_data(o, 130, 80, 32, parts));
    }
}

// Sums over many pixels: slices, blocks, and several launches.
static void check_many_pixels(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_gemm_backward_weight(o, 16384, 33, 20));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_gemm_backward_weight(o, 5001, 64, 80));
    OPS_CHECK(o, WEIGHT_TOLERANCE, check_gemm_backward_weight(o, 4099, 1, 19));
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

static void test_clblast(void **state)
{
    const conv_setting setting = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST};
    ops_fixture f;
    (void)state;
    conv_fixture_open(&f, &setting);
    assert_int_equal(f.o.table.gemm, VARIANT_CLBLAST);
    check_sizes(&f.o, "clblast");
    check_epilogues(&f.o, "clblast");
    check_many_pixels(&f.o, "clblast");
    assert_int_equal(weight_transposed_bytes(&f.o, &(weight){.taps = 1, .in = 3, .out = 5}, WEIGHT_TAPS), 0);
    ops_fixture_close(&f);
}

static void count_own(void *user, const char *name, long launches, double seconds, cost total, double longest)
{
    (void)seconds, (void)total, (void)longest;
    if (strstr(name, "conv_gpu") || strstr(name, "weight_gradient_gpu")) *(long *)user += launches;
}

static long own_launches(const ops_fixture *f)
{
    long launched = 0;
    context_profile_visit(f->ctx, count_own, &launched);
    return launched;
}

// Where the configuration leaves it to the tuning a row says, for a class of calls, whether CLBlast or our own kernel makes the product.
static void expect_own(idm_gemm gemm, int clblast, bool own)
{
    const int in = 48, out = 80, rows = 200;
    const conv_setting setting = {.variants = IDM_VARIANTS_GPU, .gemm = gemm};
    tuning_row table[3] = {
        {.shape = {.op = TUNED_LINEAR, .variant = VARIANT_GPU, .in = 64, .out = 80}},
        {.shape = {.op = TUNED_LINEAR, .variant = VARIANT_GPU, .in = 128, .out = 48}}, // of the gradient of x
        {.shape = {.op = TUNED_LINEAR_WEIGHT_GRADIENT, .variant = VARIANT_GPU, .in = 64, .out = 80}},
    };
    const tuning t = {.rows = table, .count = 3};
    ops_fixture f;
    conv_fixture_open(&f, &setting);
    for (int i = 0; i < 3; i++) tuning_set(&table[i], TUNE_CLBLAST, clblast);
    f.o.tuning = &t;
    const check_result results[] = {check_gemm(&f.o, rows, in, out, CHECK_BIAS), check_gemm_backward_data(&f.o, rows, in, out, 0),
                                    check_gemm_backward_weight(&f.o, rows, in, out)};
    for (int i = 0; i < 3; i++) assert_true(results[i].status == IDM_OK && results[i].error <= DATA_TOLERANCE);
    const long launched = own_launches(&f);
    assert_true(own ? launched >= 3 : launched == 0);
    // a class that no row is of: as the table says
    OPS_CHECK(&f.o, DATA_TOLERANCE, check_gemm(&f.o, rows, 24, out, 0));
    assert_int_equal(own_launches(&f) > launched, gemm == IDM_GEMM_OWN);
    ops_fixture_close(&f);
}

static void test_tuned_choice(void **state)
{
    (void)state;
    expect_own(IDM_GEMM_AUTO, 0, true);
    expect_own(IDM_GEMM_AUTO, 1, false);
    expect_own(IDM_GEMM_CLBLAST, 0, false);
    expect_own(IDM_GEMM_OWN, 1, true);
}

static void test_same_bits_when_split(void **state)
{
    (void)state;
    for (int v = IDM_VARIANTS_CPU; v <= IDM_VARIANTS_GENERIC; v++) {
        const conv_setting whole = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN};
        conv_setting split = whole;
        split.max_launch_ms = 0.02;
        conv_fixture_same_gradient_bits(&whole, &split, 1, 1, 3001, 36, 132, 1, 1, false);
        conv_fixture_same_gradient_bits(&whole, &split, 1, 1, 5003, 7, 9, 1, 1, false);
    }
    const conv_setting whole = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST};
    conv_setting split = whole;
    split.max_launch_ms = 0.02;
    conv_fixture_same_gradient_bits(&whole, &split, 1, 1, 3001, 36, 132, 1, 1, false);
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
            check_shape(&f.o, 777, 33, 70);
            check_shape(&f.o, 1025, 64, 128);
            ops_fixture_close(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_epilogues),    cmocka_unit_test(test_many_pixels),
        cmocka_unit_test(test_clblast),        cmocka_unit_test(test_tuned_choice), cmocka_unit_test(test_same_bits_when_split),
        cmocka_unit_test(test_narrow_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
