// All that runs on the matrix unit, through the emulation of each unit's layout: against the double-precision oracle on values that are
// 16-bit from the start. The layer itself: test_matrix_units.c; the network: test_matrix_network.c.
#include "conv_fixture.h"
#include "ops/conv_matrix.h"
#include "ops/matrix.h"

// Float32 sums of exact products; measured at most 4e-7.
static const double TOLERANCE = 1e-6;

static const matrix_unit units[] = {MATRIX_EMULATED, MATRIX_EMULATED_AMD_WMMA, MATRIX_EMULATED_AMD_MFMA, MATRIX_EMULATED_INTEL_8,
                                    MATRIX_EMULATED_INTEL_16};
enum { UNITS = sizeof units / sizeof *units };
static const conv_setting plain = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN};

static void open_emulated(ops_fixture *f, const conv_setting *s, matrix_unit unit)
{
    conv_fixture_open(f, s);
    if (matrix_choose(&f->o, IDM_MATRIX_EMULATE) != IDM_OK) fail_msg("%s", idm_message());
    assert_int_equal(f->o.matrix, MATRIX_EMULATED);
    f->o.matrix = unit;
}

static void in_layouts(int count, void check(ops *o))
{
    for (int i = 0; i < count; i++) {
        ops_fixture f;
        open_emulated(&f, &plain, units[i]);
        check(&f.o);
        ops_fixture_close(&f);
    }
}

// ---- operations

// A result that is stored in 16 bits is off by its rounding.
static double narrow_tolerance(int type)
{
    return type == CHECK_HALF ? 5e-4 : 4e-3;
}

// Shapes by whether their rows are whole eights; each kind has one of the types here, the network's goldens the others.
static int type_of(int in, int out)
{
    return in % 8 || out % 8 ? CHECK_HALF : CHECK_BF16;
}

static void layers_are_right(ops *o)
{
    static const struct {
        int rows, in, out;
    } layers[] = {{1, 1, 1}, {1, 16, 8}, {3, 5, 7}, {16, 16, 8}, {17, 33, 9}, {64, 32, 64}, {65, 40, 72}, {130, 100, 36}, {67, 257, 129}};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int rows = layers[i].rows, in = layers[i].in, out = layers[i].out, type = type_of(in, out);
        OPS_CHECK(o, TOLERANCE, check_gemm(o, rows, in, out, type));
        OPS_CHECK(o, narrow_tolerance(type), check_gemm(o, rows, in, out, type | CHECK_NARROW | CHECK_BIAS));
        OPS_CHECK(o, TOLERANCE, check_gemm_backward_data(o, rows, in, out, type));
        OPS_CHECK(o, TOLERANCE, check_stored_backward_weight(o, 1, 1, rows, in, out, 1, 1, false, type));
    }
    // several slices of the pixels
    OPS_CHECK(o, TOLERANCE, check_stored_backward_weight(o, 1, 1, 3001, 24, 40, 1, 1, false, CHECK_BF16));
}

static void test_linear(void **state)
{
    (void)state;
    in_layouts(UNITS, layers_are_right);
}

// Every part of the epilogue, read and written as float32 and in 16 bits. Layouts differ in where their values lie and how many an item
// has, not in what becomes of one: two are enough.
static void epilogues_are_right(ops *o)
{
    for (int parts = 0; parts < 16; parts++) {
        if ((parts & CHECK_IN_PLACE) && !(parts & CHECK_COUPLING)) continue;
        const int gradient = parts & ~CHECK_BIAS;
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 35, 24, 40, CHECK_BF16 | parts));
        OPS_CHECK(o, narrow_tolerance(CHECK_BF16), check_gemm(o, 35, 24, 16, CHECK_BF16 | CHECK_NARROW | parts));
        OPS_CHECK(o, TOLERANCE, check_gemm(o, 35, 24, 19, CHECK_HALF | parts));
        OPS_CHECK(o, TOLERANCE, check_gemm_backward_data(o, 35, 19, 24, CHECK_HALF | gradient));
        OPS_CHECK(o, narrow_tolerance(CHECK_BF16), check_gemm_backward_data(o, 35, 16, 24, CHECK_BF16 | CHECK_NARROW | gradient));
    }
    OPS_CHECK(o, narrow_tolerance(CHECK_BF16),
              check_gemm_backward_data(o, 35, 16, 24, CHECK_BF16 | CHECK_NARROW | CHECK_RESIDUAL | CHECK_IN_PLACE));
}

static void test_epilogues(void **state)
{
    (void)state;
    in_layouts(2, epilogues_are_right);
}

static void convolutions_are_right(ops *o)
{
    static const struct {
        int n, h, w, in, out, stride;
        bool upsample;
    } windows[] = {{1, 1, 1, 1, 1, 1, false},  {1, 1, 1, 17, 9, 1, false},  {2, 5, 7, 16, 24, 1, false}, {1, 9, 4, 40, 3, 1, false},
                   {3, 3, 5, 8, 33, 1, false}, {1, 7, 5, 16, 16, 2, false}, {2, 6, 4, 12, 8, 2, false},  {1, 1, 1, 8, 8, 2, false},
                   {2, 3, 5, 16, 24, 1, true}, {1, 1, 1, 5, 8, 1, true},    {1, 9, 9, 72, 64, 1, false}};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        const int n = windows[i].n, h = windows[i].h, w = windows[i].w, in = windows[i].in, out = windows[i].out, s = windows[i].stride;
        const bool up = windows[i].upsample;
        const int type = type_of(in, out);
        OPS_CHECK(o, TOLERANCE, check_conv(o, n, h, w, in, out, s, up, type | CHECK_BIAS));
        OPS_CHECK(o, TOLERANCE, check_conv_backward_data(o, n, h, w, in, out, s, up, type));
        OPS_CHECK(o, TOLERANCE, check_stored_backward_weight(o, n, h, w, in, out, 9, s, up, type));
    }
    OPS_CHECK(o, narrow_tolerance(CHECK_BF16),
              check_conv(o, 2, 5, 7, 16, 24, 1, false, CHECK_BF16 | CHECK_NARROW | CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING));
}

static void test_convolutions(void **state)
{
    (void)state;
    in_layouts(UNITS, convolutions_are_right);
}

// ---- choice

// What is float32 does not come near the unit, and neither does anything where there is none.
static void test_choice(void **state)
{
    ops_fixture f;
    (void)state;
    const tensor wide = {.type = DTYPE_F32}, narrow = {.type = DTYPE_BF16};
    open_emulated(&f, &plain, MATRIX_EMULATED);
    assert_false(conv_matrix_takes(&f.o, wide, wide));
    assert_true(conv_matrix_takes(&f.o, wide, narrow) && conv_matrix_takes(&f.o, narrow, wide));
    assert_int_equal(matrix_choose(&f.o, IDM_MATRIX_OFF), IDM_OK);
    assert_int_equal(f.o.matrix, MATRIX_NONE);
    assert_false(conv_matrix_takes(&f.o, narrow, narrow));
    ops_fixture_close(&f);
    open_emulated(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST}, MATRIX_EMULATED); // before CLBlast
    OPS_CHECK(&f.o, TOLERANCE, check_gemm(&f.o, 20, 24, 40, CHECK_BF16 | CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_gemm_backward_data(&f.o, 20, 24, 40, CHECK_BF16));
    ops_fixture_close(&f);
    // groups too small
    conv_fixture_open(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .limits = "workgroup=32"});
    assert_int_equal(matrix_choose(&f.o, IDM_MATRIX_EMULATE), IDM_OK);
    assert_int_equal(f.o.matrix, MATRIX_NONE);
    ops_fixture_close(&f);
}

// ---- one order of sums, whatever the tile and however launches are cut

static float *values_under(const conv_setting *s, matrix_unit unit, int rows, int in, int out, size_t *count)
{
    ops_fixture f;
    open_emulated(&f, s, unit);
    free(check_conv_values(&f.o, 1, 1, rows, in, out, 1, 1, false, CHECK_BF16 | CHECK_BIAS, count)); // its speed is known then
    float *values = check_conv_values(&f.o, 1, 1, rows, in, out, 1, 1, false, CHECK_BF16 | CHECK_BIAS, count);
    if (!values) fail_msg("%s", idm_message());
    ops_fixture_close(&f);
    return values;
}

static void test_same_bits(void **state)
{
    static const conv_setting settings[] = {
        {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN},
        {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .max_launch_ms = 0.02},
        {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .limits = "workgroup=128"},
        {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN},
        {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .limits = "workgroup=64,local=16KiB"},
    };
    (void)state;
    for (int u = 0; u < UNITS; u++) {
        size_t count, again;
        float *first = values_under(&settings[0], units[u], 600, 72, 136, &count);
        const size_t step = units[u] == MATRIX_EMULATED ? 1 : 2; // of the other layouts the tiles alone
        for (size_t i = step; i < sizeof settings / sizeof *settings; i += step) {
            float *values = values_under(&settings[i], units[u], 600, 72, 136, &again);
            assert_int_equal(count, again);
            assert_memory_equal(first, values, count * sizeof *first);
            free(values);
        }
        free(first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear), cmocka_unit_test(test_epilogues), cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_choice), cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
