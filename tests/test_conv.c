// 3x3 convolution, every variant, against the double-precision oracle; the same bits under launch splitting and narrowed limits.
#include "conv_fixture.h"

// Float32 sums of up to 9 * 320 products of numbers below 1; measured at most 6e-7.
static const double TOLERANCE = 1e-6;

static void check_sizes(ops *o, const char *table)
{
    static const int channels[] = {1, 3, 4, 5, 16, 17, 31, 33, 48, 80, 103};
    enum { COUNT = sizeof channels / sizeof *channels };
    (void)table;
    OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 1, 1, 1, 1, 1, false, 0)); // a picture of one pixel: only the middle tap is inside
    for (int i = 0; i < COUNT; i++) {
        const int in = channels[i], out = channels[(i * 7 + 3) % COUNT];
        OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 1, 1, in, out, 1, false, CHECK_BIAS));
        OPS_CHECK(o, TOLERANCE, check_conv(o, 3, 5, 7, in, out, 1, false, CHECK_BIAS));
        OPS_CHECK(o, TOLERANCE, check_conv(o, 2, 7, 5, in, out, 2, false, CHECK_BIAS));
        OPS_CHECK(o, TOLERANCE, check_conv(o, 3, 3, 4, in, out, 1, true, CHECK_BIAS));
    }
    OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 9, 11, 4, 320, 1, false, CHECK_BIAS)); // the network's first and last
    OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 9, 11, 320, 4, 1, false, CHECK_BIAS));
    OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 8, 8, 320, 320, 2, false, CHECK_BIAS));
}

static void check_epilogues(ops *o, const char *table)
{
    (void)table;
    for (int parts = 0; parts < 16; parts++) {
        if ((parts & CHECK_IN_PLACE) && !(parts & CHECK_COUPLING)) continue;
        OPS_CHECK(o, TOLERANCE, check_conv(o, 2, 6, 7, 17, 33, 1, false, parts));
        OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 8, 9, 16, 80, 1, false, parts));
        OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 6, 7, 16, 20, 2, false, parts));
        OPS_CHECK(o, TOLERANCE, check_conv(o, 1, 3, 4, 16, 36, 1, true, parts));
    }
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

// What a tuning file may ask of the GPU variant beside its tiles.
static void test_two_buffers(void **state)
{
    (void)state;
    tuning_row row = {.shape = {.op = TUNED_CONV, .variant = VARIANT_GPU}};
    const tuning t = {&row, 1};
    ops_fixture f;
    tuning_set(&row, TUNE_BUFFERS, 2);
    ops_fixture_open(&f, IDM_VARIANTS_GPU, IDM_MATH_EXACT);
    f.o.tuning = &t;
    check_sizes(&f.o, "gpu, two buffers");
    check_epilogues(&f.o, "gpu, two buffers");
    ops_fixture_close(&f);
}

static void test_same_bits_when_split(void **state)
{
    (void)state;
    for (int v = IDM_VARIANTS_CPU; v <= IDM_VARIANTS_GENERIC; v++) {
        const conv_setting whole = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN};
        conv_setting split = whole;
        split.max_launch_ms = 0.02;
        conv_fixture_same_bits(&whole, &split, 2, 33, 47, 20, 68, 9, 1, false);
        conv_fixture_same_bits(&whole, &split, 1, 33, 47, 5, 7, 9, 2, false);
    }
}

// The GPU variant chooses smaller tiles where local memory or work-groups are small; each sums in the same order.
static void test_narrow_devices(void **state)
{
    static const char *const limits[] = {"local=32KiB", "local=16KiB", "workgroup=256", "workgroup=128", "local=16KiB,workgroup=64"};
    (void)state;
    for (int v = IDM_VARIANTS_GPU; v <= IDM_VARIANTS_GENERIC; v++) {
        const conv_setting whole = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN};
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            conv_setting narrow = whole;
            narrow.limits = limits[i];
            conv_fixture_same_bits(&whole, &narrow, 1, 40, 41, 12, 72, 9, 1, false);
            ops_fixture f;
            conv_fixture_open(&f, &narrow);
            OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 13, 11, 33, 70, 1, false, CHECK_BIAS));
            ops_fixture_close(&f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_two_buffers),    cmocka_unit_test(test_same_bits_when_split),
        cmocka_unit_test(test_narrow_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
