// Linear layers, every variant and CLBlast, against the double-precision oracle; the same bits under launch splitting and narrowed limits.
#include "conv_fixture.h"

// Float32 sums of up to 2560 products of numbers below 1; measured at most 6e-7.
static const double TOLERANCE = 1e-6;

static void check_sizes(ops *o, const char *table)
{
    static const int channels[] = {1, 3, 4, 5, 16, 17, 31, 33, 48, 80, 103, 320};
    enum { COUNT = sizeof channels / sizeof *channels };
    (void)table;
    for (int i = 0; i < COUNT; i++) {
        const int in = channels[i], out = channels[(i * 5 + 3) % COUNT];
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 1, in, out, CHECK_BIAS));
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 67, in, out, 0));
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 3, out, in, 0));
    }
    OPS_CHECK(o, TOLERANCE, check_gemm(o, 64, 1024, 103, 0)); // sampling and its transpose at the published block
    OPS_CHECK(o, TOLERANCE, check_gemm(o, 64, 103, 1024, 0));
    OPS_CHECK(o, TOLERANCE, check_gemm(o, 261, 2560, 65, CHECK_BIAS | CHECK_RESIDUAL));
}

static void check_epilogues(ops *o, const char *table)
{
    (void)table;
    for (int parts = 0; parts < 16; parts++) {
        if ((parts & CHECK_IN_PLACE) && !(parts & CHECK_COUPLING)) continue;
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 130, 33, 19, parts));
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 130, 32, 80, parts));
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 5, 16, 100, parts));
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

// CLBlast's product, with the epilogue by epilogue_forward.
static void test_clblast(void **state)
{
    const conv_setting setting = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST};
    ops_fixture f;
    (void)state;
    conv_fixture_open(&f, &setting);
    assert_int_equal(f.o.table.gemm, VARIANT_CLBLAST);
    check_sizes(&f.o, "clblast");
    check_epilogues(&f.o, "clblast");
    ops_fixture_close(&f);
}

static void test_same_bits_when_split(void **state)
{
    (void)state;
    for (int v = IDM_VARIANTS_CPU; v <= IDM_VARIANTS_GENERIC; v++) {
        const conv_setting whole = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN};
        conv_setting split = whole;
        split.max_launch_ms = 0.02;
        conv_fixture_same_bits(&whole, &split, 1, 1, 3001, 36, 132, 1, 1, false);
        conv_fixture_same_bits(&whole, &split, 1, 1, 1003, 7, 9, 1, 1, false);
    }
    const conv_setting whole = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST};
    conv_setting split = whole;
    split.max_launch_ms = 0.02;
    conv_fixture_same_bits(&whole, &split, 1, 1, 3001, 36, 132, 1, 1, false);
}

static void test_narrow_devices(void **state)
{
    static const char *const limits[] = {"local=32KiB", "local=16KiB", "workgroup=256", "workgroup=128", "local=16KiB,workgroup=64"};
    (void)state;
    for (int v = IDM_VARIANTS_GPU; v <= IDM_VARIANTS_GENERIC; v++) {
        const conv_setting whole = {.variants = (idm_variants)v, .gemm = IDM_GEMM_OWN};
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            conv_setting narrow = whole;
            narrow.limits = limits[i];
            conv_fixture_same_bits(&whole, &narrow, 1, 1, 2049, 40, 100, 1, 1, false);
            ops_fixture f;
            conv_fixture_open(&f, &narrow);
            OPS_CHECK(&f.o, TOLERANCE, check_gemm(&f.o, 77, 33, 70, CHECK_BIAS));
            ops_fixture_close(&f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_clblast),        cmocka_unit_test(test_same_bits_when_split),
        cmocka_unit_test(test_narrow_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
