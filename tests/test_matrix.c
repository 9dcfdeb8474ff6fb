// The matrix unit's layer, and all that runs on it, through its emulation: fragments against the formulas of NVIDIA's PTX ISA, the
// operations against the double-precision oracle on values that are 16-bit from the start, the network against PyTorch.
#include "conv_fixture.h"
#include "io/half.h"
#include "ops/conv_matrix.h"
#include "ops/matrix.h"
#include <math.h>
#include <unistd.h>

// Float32 sums of exact products; measured at most 4e-7.
static const double TOLERANCE = 1e-6;

static void open_emulated(ops_fixture *f, const conv_setting *s)
{
    conv_fixture_open(f, s);
    if (matrix_choose(&f->o, IDM_MATRIX_EMULATE) != IDM_OK) fail_msg("%s", idm_message());
    assert_int_equal(f->o.matrix, MATRIX_EMULATED);
}

// ---- the layer

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type", for .f16 and .bf16:
//   groupID           = %laneid >> 2
//   threadID_in_group = %laneid % 4
// A: row = groupID        for ai where 0 <= i < 2 || 4 <= i < 6, groupID + 8 otherwise
//    col = (threadID_in_group * 2) + (i & 0x1)        for ai where i < 4, (threadID_in_group * 2) + (i & 0x1) + 8 for ai where i >= 4
// B: row = (threadID_in_group * 2) + (i & 0x1)        for bi where i < 2, (threadID_in_group * 2) + (i & 0x1) + 8 for bi where i >= 2
//    col = groupID
// C: row = groupID for ci where i < 2, groupID + 8 for ci where i >= 2;  col = (threadID_in_group * 2) + (i & 0x1) for ci, i = {0,..,3}
static int a_index(int lane, int i)
{
    const int group = lane >> 2, thread = lane % 4;
    const int row = (0 <= i && i < 2) || (4 <= i && i < 6) ? group : group + 8;
    const int column = i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
    return row * 16 + column;
}

static int b_index(int lane, int i)
{
    const int group = lane >> 2, thread = lane % 4;
    const int row = i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
    return row * 8 + group;
}

static int c_index(int lane, int i)
{
    const int group = lane >> 2, thread = lane % 4;
    return (i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1);
}

// Element i of an operand in a lane's registers, of which each holds two, the one of lower index in its lower half.
static float element(const uint32_t *registers, int i, dtype type)
{
    const uint16_t bits = (uint16_t)(registers[i / 2] >> 16 * (i % 2));
    return type == DTYPE_F16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

static void check_fragments(context *ctx, dtype type)
{
    float a[16 * 16], b[16 * 8], first[16 * 8];
    matrix_result r;
    for (int i = 0; i < 16 * 16; i++) a[i] = (float)i; // exact in bf16 too
    for (int i = 0; i < 16 * 8; i++) b[i] = (float)(i + 1);
    for (int i = 0; i < 16 * 8; i++) first[i] = (float)(1000 * i);
    if (matrix_run(ctx, MATRIX_EMULATED, type, a, b, first, &r) != IDM_OK) fail_msg("%s", idm_message());
    for (int lane = 0; lane < 32; lane++) {
        const uint32_t *registers = r.fragments + lane * MATRIX_FRAGMENT;
        for (int i = 0; i < 8; i++) assert_true(element(registers, i, type) == a[a_index(lane, i)]);
        for (int i = 0; i < 4; i++) assert_true(element(registers + 4, i, type) == b[b_index(lane, i)]);
        for (int i = 0; i < 4; i++) {
            const int at = c_index(lane, i), row = at / 8, column = at % 8;
            double want = first[at];
            float got;
            for (int k = 0; k < 16; k++) want += (double)a[row * 16 + k] * b[k * 8 + column];
            memcpy(&got, &registers[6 + i], sizeof got);
            assert_true(got == want); // integers below 2^24
            assert_true(r.product[at] == got);
        }
    }
}

static void test_fragments(void **state)
{
    ops_fixture f;
    (void)state;
    ops_fixture_open(&f, IDM_VARIANTS_GPU, IDM_MATH_EXACT);
    check_fragments(f.ctx, DTYPE_F16);
    check_fragments(f.ctx, DTYPE_BF16);
    ops_fixture_close(&f);
}

// Floats become pairs by rounding to nearest even, subnormals, infinities and NaN included: products with an identity bring them back.
static void check_rounding(context *ctx, dtype type)
{
    static const float values[] = {1.00048828125F, 1.00146484375F, 1.00390625F, 1.01171875F, 65519.0F,
                                   3e-8F,          2.98e-8F,       -5e-6F,      0.1F,        -1e-3F};
    enum { COUNT = sizeof values / sizeof *values };
    float a[16 * 16] = {0}, b[16 * 8] = {0}, first[16 * 8] = {0};
    matrix_result r;
    for (int i = 0; i < 16; i++) a[i * 17] = 1;
    for (int i = 0; i < 16 * 8; i++) b[i] = values[i % COUNT];
    if (matrix_run(ctx, MATRIX_EMULATED, type, a, b, first, &r) != IDM_OK) fail_msg("%s", idm_message());
    check_round(b, 16 * 8, type);
    for (int i = 0; i < 16 * 8; i++) assert_true(r.product[i] == b[i]);
    // what has no number spoils its column and no other
    b[3 * 8 + 2] = NAN;
    b[5 * 8 + 6] = type == DTYPE_F16 ? 65520.0F : INFINITY;
    if (matrix_run(ctx, MATRIX_EMULATED, type, a, b, first, &r) != IDM_OK) fail_msg("%s", idm_message());
    for (int i = 0; i < 16 * 8; i++)
        if (i % 8 != 2 && i % 8 != 6) assert_true(r.product[i] == b[i]);
        else if (i % 8 == 2) assert_true(isnan(r.product[i]));
        else assert_true(i == 5 * 8 + 6 ? isinf(r.product[i]) : isnan(r.product[i]));
}

static void test_rounding(void **state)
{
    ops_fixture f;
    (void)state;
    ops_fixture_open(&f, IDM_VARIANTS_GPU, IDM_MATH_EXACT);
    check_rounding(f.ctx, DTYPE_F16);
    check_rounding(f.ctx, DTYPE_BF16);
    ops_fixture_close(&f);
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

static void test_linear(void **state)
{
    static const struct {
        int rows, in, out;
    } layers[] = {{1, 1, 1}, {1, 16, 8}, {3, 5, 7}, {16, 16, 8}, {17, 33, 9}, {64, 32, 64}, {65, 40, 72}, {130, 100, 36}, {67, 257, 129}};
    ops_fixture f;
    (void)state;
    open_emulated(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN});
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int rows = layers[i].rows, in = layers[i].in, out = layers[i].out, type = type_of(in, out);
        OPS_CHECK(&f.o, TOLERANCE, check_gemm(&f.o, rows, in, out, type));
        OPS_CHECK(&f.o, narrow_tolerance(type), check_gemm(&f.o, rows, in, out, type | CHECK_NARROW | CHECK_BIAS));
        OPS_CHECK(&f.o, TOLERANCE, check_gemm_backward_data(&f.o, rows, in, out, type));
        OPS_CHECK(&f.o, TOLERANCE, check_stored_backward_weight(&f.o, 1, 1, rows, in, out, 1, 1, false, type));
    }
    // several slices of the pixels
    OPS_CHECK(&f.o, TOLERANCE, check_stored_backward_weight(&f.o, 1, 1, 3001, 24, 40, 1, 1, false, CHECK_BF16));
    ops_fixture_close(&f);
}

// Every part of the epilogue, read and written as float32 and in 16 bits.
static void test_epilogues(void **state)
{
    ops_fixture f;
    (void)state;
    open_emulated(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN});
    for (int parts = 0; parts < 16; parts++) {
        if ((parts & CHECK_IN_PLACE) && !(parts & CHECK_COUPLING)) continue;
        const int gradient = parts & ~CHECK_BIAS;
        OPS_CHECK(&f.o, TOLERANCE, check_gemm(&f.o, 35, 24, 40, CHECK_BF16 | parts));
        OPS_CHECK(&f.o, narrow_tolerance(CHECK_BF16), check_gemm(&f.o, 35, 24, 16, CHECK_BF16 | CHECK_NARROW | parts));
        OPS_CHECK(&f.o, TOLERANCE, check_gemm(&f.o, 35, 24, 19, CHECK_HALF | parts));
        OPS_CHECK(&f.o, TOLERANCE, check_gemm_backward_data(&f.o, 35, 19, 24, CHECK_HALF | gradient));
        OPS_CHECK(&f.o, narrow_tolerance(CHECK_BF16), check_gemm_backward_data(&f.o, 35, 16, 24, CHECK_BF16 | CHECK_NARROW | gradient));
    }
    OPS_CHECK(&f.o, narrow_tolerance(CHECK_BF16),
              check_gemm_backward_data(&f.o, 35, 16, 24, CHECK_BF16 | CHECK_NARROW | CHECK_RESIDUAL | CHECK_IN_PLACE));
    ops_fixture_close(&f);
}

static void test_convolutions(void **state)
{
    static const struct {
        int n, h, w, in, out, stride;
        bool upsample;
    } windows[] = {{1, 1, 1, 1, 1, 1, false},  {1, 1, 1, 17, 9, 1, false},  {2, 5, 7, 16, 24, 1, false}, {1, 9, 4, 40, 3, 1, false},
                   {3, 3, 5, 8, 33, 1, false}, {1, 7, 5, 16, 16, 2, false}, {2, 6, 4, 12, 8, 2, false},  {1, 1, 1, 8, 8, 2, false},
                   {2, 3, 5, 16, 24, 1, true}, {1, 1, 1, 5, 8, 1, true},    {1, 9, 9, 72, 64, 1, false}};
    ops_fixture f;
    (void)state;
    open_emulated(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN});
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        const int n = windows[i].n, h = windows[i].h, w = windows[i].w, in = windows[i].in, out = windows[i].out, s = windows[i].stride;
        const bool up = windows[i].upsample;
        const int type = type_of(in, out);
        OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, n, h, w, in, out, s, up, type | CHECK_BIAS));
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, n, h, w, in, out, s, up, type));
        OPS_CHECK(&f.o, TOLERANCE, check_stored_backward_weight(&f.o, n, h, w, in, out, 9, s, up, type));
    }
    OPS_CHECK(&f.o, narrow_tolerance(CHECK_BF16),
              check_conv(&f.o, 2, 5, 7, 16, 24, 1, false, CHECK_BF16 | CHECK_NARROW | CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING));
    ops_fixture_close(&f);
}

// ---- choice

// What is float32 does not come near the unit, and neither does anything where there is none.
static void test_choice(void **state)
{
    ops_fixture f;
    (void)state;
    const tensor wide = {.type = DTYPE_F32}, narrow = {.type = DTYPE_BF16};
    open_emulated(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN});
    assert_false(conv_matrix_takes(&f.o, wide, wide));
    assert_true(conv_matrix_takes(&f.o, wide, narrow) && conv_matrix_takes(&f.o, narrow, wide));
    assert_int_equal(matrix_choose(&f.o, IDM_MATRIX_OFF), IDM_OK);
    assert_int_equal(f.o.matrix, MATRIX_NONE);
    assert_false(conv_matrix_takes(&f.o, narrow, narrow));
    ops_fixture_close(&f);
    open_emulated(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST}); // before CLBlast
    OPS_CHECK(&f.o, TOLERANCE, check_gemm(&f.o, 20, 24, 40, CHECK_BF16 | CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_gemm_backward_data(&f.o, 20, 24, 40, CHECK_BF16));
    ops_fixture_close(&f);
    // groups too small
    conv_fixture_open(&f, &(conv_setting){.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .limits = "workgroup=32"});
    assert_int_equal(matrix_choose(&f.o, IDM_MATRIX_EMULATE), IDM_OK);
    assert_int_equal(f.o.matrix, MATRIX_NONE);
    ops_fixture_close(&f);
}

// What auto makes of a device that says it has NVIDIA's unit, when the probe's source begins with `before`.
static matrix_unit chosen_with(const char *before, const char *source)
{
    const char *device = getenv("IDM_TEST_DEVICE");
    const context_options options = {0};
    char folder[] = "/tmp/idm-test-matrix-XXXXXX", path[64];
    device_info info;
    context *ctx;
    ops o;
    assert_int_equal(device_choose(device ? device : "auto", &info), IDM_OK);
    info.nvidia_capability = 80;
    assert_int_equal(context_create(&info, &options, &ctx), IDM_OK);
    assert_int_equal(ops_create(ctx, IDM_VARIANTS_GPU, IDM_GEMM_OWN, IDM_MATH_FAST, 64, &o), IDM_OK);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/matrix.cl", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "%s\n#undef MATRIX_UNIT\n#define MATRIX_UNIT 1\n%s", before, source);
    assert_int_equal(fclose(file), 0);
    (void)setenv("IDM_CL_DIR", folder, 1);
    const idm_status status = matrix_choose(&o, IDM_MATRIX_AUTO);
    (void)unsetenv("IDM_CL_DIR");
    assert_int_equal(status, IDM_OK);
    assert_int_equal(context_finish(ctx), IDM_OK);
    context_destroy(ctx);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    return o.matrix;
}

// The unit is used if its probe gives the right numbers; here the emulation stands for it. If it gives others, or is not built, it is not.
static void test_probe(void **state)
{
    const char *set = getenv("IDM_CL_DIR");
    char *source;
    (void)state;
    if (set && *set) skip();
    assert_int_equal(program_source("matrix", &source), IDM_OK);
    assert_int_equal(chosen_with("", source), MATRIX_NVIDIA);
    assert_int_equal(chosen_with("#define fma(a, b, c) ((a) * (b) - (c))", source), MATRIX_NONE);
    assert_int_equal(chosen_with("#error the instruction is unknown", source), MATRIX_NONE);
    free(source);
}

// ---- one order of sums, whatever the tile and however launches are cut

static float *values_under(const conv_setting *s, int rows, int in, int out, size_t *count)
{
    ops_fixture f;
    open_emulated(&f, s);
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
        {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .limits = "workgroup=64,local=16KiB"},
        {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN},
    };
    size_t count, again;
    (void)state;
    float *first = values_under(&settings[0], 600, 72, 136, &count);
    for (size_t i = 1; i < sizeof settings / sizeof *settings; i++) {
        float *values = values_under(&settings[i], 600, 72, 136, &again);
        assert_int_equal(count, again);
        assert_memory_equal(first, values, count * sizeof *first);
        free(values);
    }
    free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fragments), cmocka_unit_test(test_rounding),     cmocka_unit_test(test_linear),
        cmocka_unit_test(test_epilogues), cmocka_unit_test(test_convolutions), cmocka_unit_test(test_choice),
        cmocka_unit_test(test_probe),     cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
