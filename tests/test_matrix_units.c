// The matrix unit's layer: what each layout's emulation holds and makes, against the vendors' own statements of their fragments; how floats
// become pairs; which unit a device is taken to have.
#include "ops_fixture.h"

#include "io/half.h"
#include "ops/conv_matrix.h"
#include "ops/matrix.h"
#include "tune/check.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

// ---- fragments

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type", for .f16 and .bf16:
//   groupID           = %laneid >> 2
//   threadID_in_group = %laneid % 4
// A: row = groupID        for ai where 0 <= i < 2 || 4 <= i < 6, groupID + 8 otherwise
//    col = (threadID_in_group * 2) + (i & 0x1)        for ai where i < 4, (threadID_in_group * 2) + (i & 0x1) + 8 for ai where i >= 4
// B: row = (threadID_in_group * 2) + (i & 0x1)        for bi where i < 2, (threadID_in_group * 2) + (i & 0x1) + 8 for bi where i >= 2
//    col = groupID
// C: row = groupID for ci where i < 2, groupID + 8 for ci where i >= 2;  col = (threadID_in_group * 2) + (i & 0x1) for ci, i = {0,..,3}
static int nvidia_a(int lane, int i)
{
    const int group = lane >> 2, thread = lane % 4;
    const int row = (0 <= i && i < 2) || (4 <= i && i < 6) ? group : group + 8;
    const int column = i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
    return row * 16 + column;
}

static int nvidia_b(int lane, int i)
{
    const int group = lane >> 2, thread = lane % 4;
    const int row = i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
    return row * 8 + group;
}

static int nvidia_c(int lane, int i)
{
    const int group = lane >> 2, thread = lane % 4;
    return (i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1);
}

// AMD Matrix Instruction Calculator, RDNA3, v_wmma_f32_16x16x16_f16 and _bf16, wave32; element i of an operand is half i % 2 of its
// register i / 2: A[i][k]: GPR = floor(k / 2) % 8, half k % 2, lane i and lane i + 16;  B[k][j]: likewise, lane j and lane j + 16 D[i][j]:
// GPR = floor(i / 2), lane = 16 * (i % 2) + j
static int wmma_a(int lane, int i)
{
    return lane % 16 * 16 + i;
}

static int wmma_b(int lane, int i)
{
    return i * 16 + lane % 16;
}

static int wmma_c(int lane, int i)
{
    return (2 * i + lane / 16) * 16 + lane % 16;
}

// The same, CDNA2, v_mfma_f32_16x16x16f16 and bf16_1k:
// A[i][k]: lane = 16 * floor(k / 4) + i, GPR = floor(k / 2) % 2, half k % 2;  B[k][j]: lane = 16 * floor(k / 4) + j, likewise
// D[i][j]: lane = 16 * floor(i / 4) + j, GPR = i % 4
static int mfma_a(int lane, int i)
{
    return lane % 16 * 16 + lane / 16 * 4 + i;
}

static int mfma_b(int lane, int i)
{
    return (lane / 16 * 4 + i) * 16 + lane % 16;
}

static int mfma_c(int lane, int i)
{
    return (lane / 16 * 4 + i) * 16 + lane % 16;
}

// cl_intel_subgroup_matrix_multiply_accumulate: the M components of A are its rows, the components of B pairs of its rows, "packed" two
// 16-bit values in an int; the columns of B and of the sum are the work items. A's K columns lie over the work items, two in an int for
// sub-groups of 8, one in a short for 16.
static int intel8_a(int lane, int i)
{
    return i / 2 * 16 + 2 * lane + i % 2;
}

static int intel8_b(int lane, int i)
{
    return i * 8 + lane;
}

static int intel8_c(int lane, int i)
{
    return i * 8 + lane;
}

static int intel16_a(int lane, int i)
{
    return i * 16 + lane;
}

static int intel16_b(int lane, int i)
{
    return i * 16 + lane;
}

// row-major index of what a lane's element i is: of an operand, of the sum
typedef int element_index(int lane, int i);
static const struct {
    matrix_unit unit;
    matrix_shape shape; // items_most aside
    element_index *a, *b, *c;
} layouts[] = {{MATRIX_EMULATED, {16, 8, 16, 32, 4, 2, 4, 0}, nvidia_a, nvidia_b, nvidia_c},
               {MATRIX_EMULATED_AMD_WMMA, {16, 16, 16, 32, 8, 8, 8, 0}, wmma_a, wmma_b, wmma_c},
               {MATRIX_EMULATED_AMD_MFMA, {16, 16, 16, 64, 2, 2, 4, 0}, mfma_a, mfma_b, mfma_c},
               {MATRIX_EMULATED_INTEL_8, {8, 8, 16, 8, 8, 8, 8, 0}, intel8_a, intel8_b, intel8_c},
               {MATRIX_EMULATED_INTEL_16, {8, 16, 16, 16, 4, 8, 8, 0}, intel16_a, intel16_b, intel16_b}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts, MOST = MATRIX_SUM_MOST };

// Element i of an operand in a lane's registers, of which each holds two, the one of lower index in its lower half.
static float element(const uint32_t *registers, int i, dtype type)
{
    const uint16_t bits = (uint16_t)(registers[i / 2] >> 16 * (i % 2));
    return type == DTYPE_F16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

static void run_unit(context *ctx, int layout, dtype type, const float *a, const float *b, const float *first, matrix_result *r)
{
    if (matrix_run(ctx, layouts[layout].unit, type, a, b, first, r) != IDM_OK) fail_msg("%s", idm_message());
}

static void check_fragments(context *ctx, int layout, dtype type)
{
    const matrix_shape *s = &layouts[layout].shape;
    float a[MOST], b[MOST], first[MOST];
    matrix_result r;
    for (int i = 0; i < MOST; i++) a[i] = (float)i, b[i] = (float)(i + 1), first[i] = (float)(1000 * i); // exact in bf16 too
    run_unit(ctx, layout, type, a, b, first, &r);
    for (int lane = 0; lane < s->team; lane++) {
        const uint32_t *registers = r.fragments + lane * (s->a_words + s->b_words + s->values);
        for (int i = 0; i < 2 * s->a_words; i++) assert_true(element(registers, i, type) == a[layouts[layout].a(lane, i)]);
        registers += s->a_words;
        for (int i = 0; i < 2 * s->b_words; i++) assert_true(element(registers, i, type) == b[layouts[layout].b(lane, i)]);
        registers += s->b_words;
        for (int i = 0; i < s->values; i++) {
            const int at = layouts[layout].c(lane, i), row = at / s->n, column = at % s->n;
            double want = first[at];
            float got;
            for (int k = 0; k < s->k; k++) want += (double)a[row * s->k + k] * b[k * s->n + column];
            memcpy(&got, &registers[i], sizeof got);
            assert_true(got == want); // integers below 2^24
            assert_true(r.product[at] == got);
        }
    }
}

// What the host takes for the unit's shape is the vendor's.
static void check_shape(matrix_unit emulation, const matrix_shape *s)
{
    const matrix_shape *host = matrix_shape_of((matrix_unit)(emulation + 1));
    assert_ptr_equal(host, matrix_shape_of(emulation));
    assert_true(host->m == s->m && host->n == s->n && host->k == s->k && host->team == s->team);
    assert_true(host->a_words == s->a_words && host->b_words == s->b_words && host->values == s->values);
    assert_int_equal(host->m * host->n, host->team * host->values);
    assert_int_equal(matrix_emulation_of((matrix_unit)(emulation + 1)), emulation);
    assert_int_equal(matrix_emulation_of(emulation), emulation);
    assert_true(matrix_is_emulated(emulation) && !matrix_is_emulated((matrix_unit)(emulation + 1)));
}

static void test_fragments(void **state)
{
    ops_fixture f;
    (void)state;
    ops_fixture_open(&f, IDM_VARIANTS_GPU, IDM_MATH_EXACT);
    for (int i = 0; i < LAYOUTS; i++) {
        check_shape(layouts[i].unit, &layouts[i].shape);
        check_fragments(f.ctx, i, DTYPE_F16);
        check_fragments(f.ctx, i, DTYPE_BF16);
    }
    ops_fixture_close(&f);
}

// Floats become pairs by rounding to nearest even, subnormals, infinities and NaN included: products with an identity bring them back.
static void check_rounding(context *ctx, int layout, dtype type)
{
    static const float values[] = {1.00048828125F, 1.00146484375F, 1.00390625F, 1.01171875F, 65519.0F,
                                   3e-8F,          2.98e-8F,       -5e-6F,      0.1F,        -1e-3F};
    enum { COUNT = sizeof values / sizeof *values };
    const matrix_shape *s = &layouts[layout].shape;
    float a[MOST] = {0}, b[MOST], first[MOST] = {0};
    matrix_result r;
    for (int i = 0; i < s->m; i++) a[i * s->k + i] = 1;
    for (int i = 0; i < MOST; i++) b[i] = values[i % COUNT];
    run_unit(ctx, layout, type, a, b, first, &r);
    check_round(b, MOST, type);
    for (int i = 0; i < s->m * s->n; i++) assert_true(r.product[i] == b[i]);
    // what has no number spoils its column and no other
    b[3 * s->n + 2] = NAN;
    b[5 * s->n + 6] = type == DTYPE_F16 ? 65520.0F : INFINITY;
    run_unit(ctx, layout, type, a, b, first, &r);
    for (int i = 0; i < s->m * s->n; i++) {
        const int column = i % s->n;
        if (column != 2 && column != 6) assert_true(r.product[i] == b[i]);
        else if (column == 2) assert_true(isnan(r.product[i]));
        else assert_true(i == 5 * s->n + 6 ? isinf(r.product[i]) : isnan(r.product[i]));
    }
}

static void test_rounding(void **state)
{
    ops_fixture f;
    (void)state;
    ops_fixture_open(&f, IDM_VARIANTS_GPU, IDM_MATH_EXACT);
    for (int i = 0; i < LAYOUTS; i++) {
        check_rounding(f.ctx, i, DTYPE_F16);
        check_rounding(f.ctx, i, DTYPE_BF16);
    }
    ops_fixture_close(&f);
}

// ---- choice

static const char amd[] = "Advanced Micro Devices, Inc.", intel[] = "Intel(R) Corporation", nvidia[] = "NVIDIA Corporation";
static const struct {
    const char *vendor, *name;
    unsigned capability, intel_matrix;
    bool subgroups;
    matrix_unit unit;
} devices[] = {
    {nvidia, "NVIDIA GeForce RTX 3090", 86, 0, true, MATRIX_NVIDIA},
    {nvidia, "NVIDIA GeForce RTX 2070", 75, 0, true, MATRIX_NONE},
    {amd, "gfx1100", 0, 0, true, MATRIX_AMD_WMMA},
    {amd, "gfx1151", 0, 0, true, MATRIX_AMD_WMMA},
    {amd, "gfx1030", 0, 0, true, MATRIX_NONE},
    {amd, "gfx1201", 0, 0, true, MATRIX_NONE}, // another layout
    {amd, "gfx906:sramecc+:xnack-", 0, 0, true, MATRIX_NONE},
    {amd, "gfx908:sramecc+:xnack-", 0, 0, true, MATRIX_AMD_MFMA},
    {amd, "gfx90a:sramecc+:xnack-", 0, 0, true, MATRIX_AMD_MFMA},
    {amd, "gfx942:sramecc+:xnack-", 0, 0, true, MATRIX_AMD_MFMA},
    {intel, "Intel(R) Arc(TM) A770 Graphics", 0, 8, true, MATRIX_INTEL_8},
    {intel, "Intel(R) Data Center GPU Max 1550", 0, 16, true, MATRIX_INTEL_16},
    {intel, "Intel(R) Arc(TM) A770 Graphics", 0, 8, false, MATRIX_NONE},
    {intel, "Intel(R) Iris(R) Xe Graphics", 0, 0, true, MATRIX_NONE},
    {intel, "of a size that nobody has made", 0, 32, true, MATRIX_NONE},
};

static void claim(int which, device_info *info)
{
    info->nvidia_capability = devices[which].capability;
    info->intel_matrix = devices[which].intel_matrix;
    info->subgroups = devices[which].subgroups;
    (void)snprintf(info->name, sizeof info->name, "%s", devices[which].name);
    (void)snprintf(info->vendor, sizeof info->vendor, "%s", devices[which].vendor);
}

static void test_devices(void **state)
{
    (void)state;
    for (int i = 0; i < (int)(sizeof devices / sizeof *devices); i++) {
        device_info info = {.type = DEVICE_GPU};
        claim(i, &info);
        if (matrix_of_device(&info) != devices[i].unit) fail_msg("%s: %s", devices[i].name, matrix_unit_name(matrix_of_device(&info)));
    }
}

// What auto makes of this device when it says that it is devices[which], and the probe's source begins with `before` and emulates the unit.
static matrix_unit chosen_with(int which, const char *before, const char *source)
{
    const char *device = getenv("IDM_TEST_DEVICE");
    const context_options options = {0};
    char folder[] = "/tmp/idm-test-matrix-XXXXXX", path[64];
    device_info info;
    context *ctx;
    ops o;
    assert_int_equal(device_choose(device ? device : "auto", &info), IDM_OK);
    claim(which, &info);
    assert_int_equal(context_create(&info, &options, &ctx), IDM_OK);
    assert_int_equal(ops_create(ctx, IDM_VARIANTS_GPU, IDM_GEMM_OWN, IDM_MATH_FAST, 64, &o), IDM_OK);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/matrix.cl", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "%s\n#undef MATRIX_UNIT\n#define MATRIX_UNIT %d\n%s", before, matrix_emulation_of(devices[which].unit), source);
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
    for (int i = 0; i < (int)(sizeof devices / sizeof *devices); i++) {
        const matrix_unit unit = devices[i].unit;
        const bool builds = unit != MATRIX_INTEL_8 && unit != MATRIX_INTEL_16; // with options that are Intel's alone
        assert_int_equal(chosen_with(i, "", source), builds ? unit : MATRIX_NONE);
        if (unit == MATRIX_NONE) continue;
        assert_int_equal(chosen_with(i, "#define fma(a, b, c) ((a) * (b) - (c))", source), MATRIX_NONE);
        assert_int_equal(chosen_with(i, "#error the instruction is unknown", source), MATRIX_NONE);
    }
    free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fragments), cmocka_unit_test(test_rounding), cmocka_unit_test(test_devices),
                                       cmocka_unit_test(test_probe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
