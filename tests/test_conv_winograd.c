// Winograd's convolutions (math = fast, the CPU table), forward and gradients with respect to x and w, against the double-precision oracle;
// the same bits under launch splitting, in any batch, and with operands kept or not; what they are used for.
#include "conv_fixture.h"

#include "ops/conv.h"
#include "ops/conv_winograd.h"
#include <math.h>

// Float32 sums of up to 9 * 320 products of numbers below 1, transformed; measured at most 9e-7. The points 0, +-1, +-2 lose five times as
// much.
static const double TOLERANCE = 2e-6;

static const conv_setting CPU = {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .fast = true};

static void note_kernel(void *user, const char *file, const char *name, const char *options, const size_t local[3])
{
    (void)file, (void)options, (void)local;
    if (strcmp(name, "conv_winograd") == 0 || strcmp(name, "conv_weight_gradient_winograd") == 0) *(bool *)user = true;
}

// A context that has not run anything, so that what the test runs after it shows in the kernels asked for.
static ops_fixture open_fresh(const conv_setting *s)
{
    ops_fixture f;
    conv_fixture_open(&f, s);
    return f;
}

static void close_after(ops_fixture *f, bool winograd)
{
    bool found = false;
    kernel_visit(f->ctx, note_kernel, &found);
    assert_int_equal(found, winograd);
    ops_fixture_close(f);
}

// Pictures that tiles fit and do not fit, panels and vectors that are full and not.
static void test_sizes(void **state)
{
    static const int shapes[][5] = {
        // n, h, w, in, out
        {1, 16, 16, 16, 16}, {1, 17, 19, 17, 33}, {2, 18, 15, 33, 17},   {3, 22, 13, 20, 100}, {1, 256, 1, 16, 20},
        {1, 1, 257, 18, 16}, {1, 43, 45, 48, 80}, {1, 16, 17, 103, 160}, {2, 16, 16, 320, 96}, {1, 19, 14, 80, 240},
    };
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *z = shapes[i];
        OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, z[0], z[1], z[2], z[3], z[4], 1, false, CHECK_BIAS));
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, z[0], z[1], z[2], z[3], z[4], 1, false, 0));
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, z[0], z[1], z[2], z[3], z[4], 1, false, CHECK_KEPT));
    }
    close_after(&f, true);
}

// With respect to w: tiles in one slice and several, panels of inputs that are shared out and not, added to what is there.
static void test_weight_gradients(void **state)
{
    static const int shapes[][5] = {// n, h, w, in, out
                                    {1, 16, 16, 16, 16}, {1, 17, 19, 17, 33}, {2, 18, 15, 33, 17}, {3, 22, 13, 20, 100},
                                    {1, 256, 1, 16, 20}, {1, 1, 257, 18, 16}, {1, 43, 45, 48, 80}, {2, 16, 17, 173, 160},
                                    {1, 70, 66, 85, 17}, {5, 30, 33, 16, 81}, {1, 16, 16, 400, 16}};
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *z = shapes[i];
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, z[0], z[1], z[2], z[3], z[4], 1, false));
    }
    OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 2, 9, 11, 36, 18, 1, true));
    close_after(&f, true);
    f = open_fresh(&CPU);
    static const int tiles[][2] = {{6, 1}, {4, 6}, {3, 8}, {12, 2}, {9, 2}}; // that the tuning may choose
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        tuning_row row = {.shape = {.op = TUNED_CONV_WEIGHT_GRADIENT, .variant = VARIANT_CPU}};
        tuning_set(&row, TUNE_TILE_ROWS, tiles[i][0]);
        tuning_set(&row, TUNE_TILE_VECTORS, tiles[i][1]);
        const tuning t = {.rows = &row, .count = 1};
        f.o.tuning = &t;
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 1, 19, 17, 70, 83, 1, false));
        f.o.tuning = NULL;
    }
    close_after(&f, true);
}

// Read through upsampling, and a stride's gradient.
static void test_doubled(void **state)
{
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 2, 9, 11, 18, 36, 1, true, CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 8, 8, 16, 80, 1, true, 0));
    OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, 2, 9, 11, 36, 18, 1, true, CHECK_RESIDUAL));
    close_after(&f, true);
    f = open_fresh(&CPU);
    for (int kept = 0; kept <= CHECK_KEPT; kept += CHECK_KEPT) {
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, 2, 17, 18, 20, 36, 2, false, kept));
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, 1, 16, 23, 96, 17, 2, false, kept));
    }
    close_after(&f, true);
}

static void test_epilogues(void **state)
{
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    for (int parts = 0; parts < 32; parts++) {
        const bool coupled = parts & CHECK_COUPLING, in_place = parts & CHECK_IN_PLACE;
        if (!(parts & CHECK_KEPT) && (!in_place || coupled)) {
            OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 2, 17, 18, 17, 33, 1, false, parts));
            OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 16, 16, 16, 80, 1, false, parts));
            OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 8, 9, 16, 36, 1, true, parts));
        }
        if (!(parts & CHECK_BIAS) && (!in_place || coupled || parts & CHECK_RESIDUAL)) {
            OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, 2, 17, 18, 33, 17, 1, false, parts));
            OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, 1, 16, 17, 16, 20, 2, false, parts));
            OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_data(&f.o, 1, 8, 9, 36, 16, 1, true, parts));
        }
    }
    close_after(&f, true);
}

static void test_same_bits_when_split(void **state)
{
    (void)state;
    conv_setting split = CPU;
    split.max_launch_ms = 0.02;
    conv_fixture_same_bits(&CPU, &split, 2, 33, 47, 20, 68, 9, 1, false);
    conv_fixture_same_gradient_bits(&CPU, &split, 2, 33, 47, 20, 36, 9, 1, false);
    conv_fixture_same_gradient_bits(&CPU, &split, 1, 33, 47, 16, 17, 9, 2, false);
    conv_fixture_same_gradient_bits(&CPU, &split, 1, 17, 23, 17, 16, 9, 1, true);
}

// Pictures one by one and together, in several slices of scratch or one.
static void test_same_bits_in_batches(void **state)
{
    enum { PICTURES = 3, SIDE = 50, IN = 196, OUT = 64, PIXELS = SIDE * SIDE };
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    float *x_values = check_values((size_t)PICTURES * PIXELS * IN, 1, 1), *w_values = check_values((size_t)9 * IN * OUT, 2, 0.02f);
    float *together = malloc((size_t)PICTURES * PIXELS * OUT * sizeof *together), *alone = malloc((size_t)PIXELS * OUT * sizeof *alone);
    assert_true(x_values && w_values && together && alone);
    const tensor x = check_upload(&f.o, x_values, PICTURES, SIDE, SIDE, IN), y = check_output(&f.o, PICTURES, SIDE, SIDE, OUT);
    weight w = {.plain = check_upload(&f.o, w_values, 1, 1, 9 * IN, OUT), .taps = 9, .in = IN, .out = OUT};
    conv_forward(&f.o, x, &w, 1, false, NULL, y);
    assert_int_equal(context_read(f.ctx, y, together), IDM_OK);
    weight_keep_panels(&f.o, &w, WEIGHT_WINOGRAD);
    for (int i = 0; i < PICTURES; i++) {
        const tensor one = tensor_shaped(tensor_row_range(x, i * PIXELS, PIXELS), 1, SIDE, SIDE, IN),
                     to = check_output(&f.o, 1, SIDE, SIDE, OUT);
        conv_forward(&f.o, one, &w, 1, false, NULL, to);
        assert_int_equal(context_read(f.ctx, to, alone), IDM_OK);
        assert_memory_equal(alone, together + (size_t)i * PIXELS * OUT, (size_t)PIXELS * OUT * sizeof *alone);
    }
    free(x_values);
    free(w_values);
    free(together);
    free(alone);
    close_after(&f, true);
}

// An operand that was kept for the other form of the call is not read; one that is kept is renewed with its weight.
static void test_kept(void **state)
{
    enum { SIDE = 16, CHANNELS = 32, COUNT = SIDE * SIDE * CHANNELS };
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    float *values = check_values(COUNT, 1, 1), *first = check_values((size_t)9 * CHANNELS * CHANNELS, 2, 0.1f);
    float *second = check_values((size_t)9 * CHANNELS * CHANNELS, 3, 0.1f), want[COUNT], got[COUNT];
    assert_true(values && first && second);
    const tensor x = check_upload(&f.o, values, 1, SIDE, SIDE, CHANNELS), y = check_output(&f.o, 1, SIDE, SIDE, CHANNELS);
    const weight plain = {.plain = check_upload(&f.o, first, 1, 1, 9 * CHANNELS, CHANNELS), .taps = 9, .in = CHANNELS, .out = CHANNELS};
    for (weight_form form = WEIGHT_TAPS; form <= WEIGHT_WINOGRAD; form++) {
        weight kept = plain;
        context_write(f.ctx, plain.plain, first);
        weight_keep_panels(&f.o, &kept, form);
        weight_keep_transposed(&f.o, &kept, form);
        context_write(f.ctx, plain.plain, second);
        weight_renew(&f.o, &kept);
        for (int backward = 0; backward < 2; backward++) {
            float *const to[] = {want, got};
            const weight *const weights[] = {&plain, &kept};
            for (int i = 0; i < 2; i++) {
                if (backward) conv_backward_data(&f.o, x, weights[i], 1, false, NULL, y);
                else conv_forward(&f.o, x, weights[i], 1, false, NULL, y);
                assert_int_equal(context_read(f.ctx, y, to[i]), IDM_OK);
            }
            assert_memory_equal(want, got, sizeof want);
        }
    }
    free(values);
    free(first);
    free(second);
    close_after(&f, true);
}

// Not where math is exact, in other tables, in small pictures, with few channels, of a stride, nor where memory comes in small pieces.
static void test_elsewhere(void **state)
{
    (void)state;
    const conv_setting exact = {.variants = IDM_VARIANTS_CPU}, gpu = {.variants = IDM_VARIANTS_GPU, .fast = true},
                       generic = {.variants = IDM_VARIANTS_GENERIC, .fast = true},
                       narrow = {.variants = IDM_VARIANTS_CPU, .fast = true, .limits = "max_alloc=1MiB"};
    const conv_setting *const settings[] = {&exact, &gpu, &generic, &narrow};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        ops_fixture f = open_fresh(settings[i]);
        OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 16, 16, 100, 48, 1, false, CHECK_BIAS));
        OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 1, 16, 16, 100, 48, 1, false));
        close_after(&f, false);
    }
    ops_fixture f = open_fresh(&CPU);
    OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 4, 15, 17, 16, 16, 1, false, CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 32, 32, 4, 80, 1, false, CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 32, 32, 80, 4, 1, false, CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_conv(&f.o, 1, 40, 40, 16, 16, 2, false, CHECK_BIAS));
    OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 4, 15, 17, 16, 16, 1, false));
    OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 1, 32, 32, 4, 80, 1, false));
    OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 1, 40, 40, 16, 16, 2, false));
    tuning_row row = {.shape = {.op = TUNED_CONV_WEIGHT_GRADIENT, .variant = VARIANT_CPU}};
    tuning_set(&row, TUNE_WINOGRAD, 0);
    const tuning direct = {.rows = &row, .count = 1};
    f.o.tuning = &direct;
    OPS_CHECK(&f.o, TOLERANCE, check_conv_backward_weight(&f.o, 1, 32, 32, 16, 80, 1, false));
    close_after(&f, false);
}

// Slices of the work add up to what the convolution takes directly.
static void test_cost(void **state)
{
    (void)state;
    ops_fixture f = open_fresh(&CPU);
    context_set_dry(f.ctx, true);
    const weight w = {.plain = arena_push(f.ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 9 * 323, 317), .taps = 9, .in = 323, .out = 317};
    const tensor x = arena_push(f.ctx, POOL_ACTIVATIONS, DTYPE_F32, 3, 77, 131, 323),
                 y = arena_push(f.ctx, POOL_ACTIVATIONS, DTYPE_F32, 3, 77, 131, 317);
    context_reset_cost(f.ctx);
    conv_forward(&f.o, x, &w, 1, false, NULL, y);
    assert_true(context_cost(f.ctx).flops == 2.0 * 3 * 77 * 131 * 9 * 323 * 317);
    context_reset_cost(f.ctx);
    conv_backward_weight(&f.o, x, y, 1, false, w.plain, NO_TENSOR);
    assert_true(context_cost(f.ctx).flops == 2.0 * 3 * 77 * 131 * 9 * 323 * 317);
    close_after(&f, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_weight_gradients),
        cmocka_unit_test(test_doubled),
        cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_same_bits_when_split),
        cmocka_unit_test(test_same_bits_in_batches),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
