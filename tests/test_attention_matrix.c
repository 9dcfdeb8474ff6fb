// Attention on the matrix unit, through the emulation of each unit, against the double-precision oracle on values that are 16-bit from the
// start.
//
// What is left of errors is the rounding of weights: of a number to 16 bits it is at most u = 2^-11 (half) or 2^-8 (bfloat16), as a root
// mean square 0.43 u. Of a mean over n tokens, whose errors are independent, it is that times 1 / sqrt(n) of what values differ from the
// mean, here 0.77 of it, times what weights vary: at most 0.6 u / sqrt(n). The sum of weights, and so the log-sum-exp, has 0.5 u / sqrt(n).
// Float32 sums add 2e-6. A result that is itself stored in 16 bits has 0.43 u of its own.
#include "conv_fixture.h"
#include "ops/matrix.h"
#include "tune/check_attention.h"
#include <math.h>

static const double FLOAT_SUMS = 2e-6, STORED = 0.43;

static double rounding(dtype type)
{
    return type == DTYPE_F16 ? 0x1p-11 : 0x1p-8;
}

static attention_types types(dtype values, dtype stored, dtype out)
{
    return (attention_types){.values = values, .stored = stored, .out = out};
}

static void open_emulated(ops_fixture *f, const conv_setting *s, matrix_unit unit)
{
    conv_fixture_open(f, s);
    if (matrix_choose(&f->o, IDM_MATRIX_EMULATE) != IDM_OK) fail_msg("%s", idm_message());
    assert_int_equal(f->o.matrix, MATRIX_EMULATED);
    f->o.matrix = unit;
}

static const conv_setting plain = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN};

// Kernels of the unit, and of other ways to compute attention, that ran; those of gradients by themselves.
typedef struct seen {
    bool unit, other;
} seen;

static void see(void *user, const char *file, const char *name, const char *options, const size_t local[3])
{
    seen *s = user;
    (void)name, (void)options, (void)local;
    if (strncmp(file, "attention_", strlen("attention_")) != 0) return;
    if (strstr(file, "_backward")) s++;
    *(strncmp(file, "attention_matrix", strlen("attention_matrix")) == 0 ? &s->unit : &s->other) = true;
}

typedef enum direction { FORWARD, BACKWARD, DIRECTIONS } direction;

static seen seen_in(const ops_fixture *f, direction d)
{
    seen s[DIRECTIONS] = {{false, false}, {false, false}};
    kernel_visit(f->ctx, see, s);
    return s[d];
}

static void on_each_unit(void check(ops *o), direction d)
{
    for (matrix_unit unit = MATRIX_EMULATED; unit < MATRIX_UNITS; unit += 2) {
        ops_fixture f;
        open_emulated(&f, &plain, unit);
        check(&f.o);
        assert_true(seen_in(&f, d).unit && !seen_in(&f, d).other);
        ops_fixture_close(&f);
    }
}

// ---- forward

static void check_forward(ops *o, attention_shape s, dtype type, dtype stored, dtype out)
{
    const double mean = 0.6 * rounding(type) / sqrt(s.h * s.w), own = out == DTYPE_F32 ? 0 : STORED * rounding(type);
    OPS_CHECK(o, mean + own + FLOAT_SUMS, check_stored_attention(o, s, ATTENTION_RANDOM, types(type, stored, out)));
    OPS_CHECK(o, 0.5 * rounding(type) / sqrt(s.h * s.w) + FLOAT_SUMS, check_stored_lse(o, s, ATTENTION_RANDOM, types(type, stored, out)));
}

static void shapes_are_right(ops *o)
{
    static const attention_shape shapes[] = {
        {1, 1, 1, 1, 1, false, 1},   {1, 1, 1, 8, 40, true, 1},   {3, 1, 2, 2, 2, true, 1},    {2, 7, 11, 3, 13, false, 1},
        {1, 13, 15, 4, 16, true, 1}, {1, 10, 13, 3, 32, true, 1}, {2, 17, 19, 2, 40, true, 1}, {1, 16, 8, 2, 40, false, 1},
        {1, 9, 7, 1, 48, true, 1},   {1, 11, 23, 2, 80, true, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const dtype type = i % 2 ? DTYPE_BF16 : DTYPE_F16;
        check_forward(o, shapes[i], type, type, DTYPE_F32);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    on_each_unit(shapes_are_right, FORWARD);
}

// Both types, and whether what is read or what is written is float32.
static void storage_is_right(ops *o)
{
    const attention_shape s = {2, 9, 17, 2, 40, true, 1}, odd = {1, 9, 17, 3, 13, true, 1};
    for (dtype type = DTYPE_F16; type <= DTYPE_BF16; type++) {
        check_forward(o, s, type, type, DTYPE_F32);
        check_forward(o, s, type, type, type);
        check_forward(o, odd, type, type, type);
        OPS_CHECK(o, (0.6 / sqrt(9 * 17) + STORED) * rounding(type) + FLOAT_SUMS,
                  check_stored_attention(o, s, ATTENTION_RANDOM, types(type, DTYPE_F32, type)));
    }
}

static void test_storage(void **state)
{
    (void)state;
    on_each_unit(storage_is_right, FORWARD);
}

// Logits of +-100: a float's step there is 8e-6 of a weight, equal weights are rounded alike; the sum by which they are divided is not
// rounded.
static void extreme_logits_are_right(ops *o)
{
    for (dtype type = DTYPE_F16; type <= DTYPE_BF16; type++) {
        const attention_shape s = {1, 13, 31, 2, 40, true, 1}, small = {1, 9, 23, 2, 8, true, 1};
        for (attention_logits logits = ATTENTION_SIGNS; logits <= ATTENTION_LOW; logits++) {
            OPS_CHECK(o, FLOAT_SUMS, check_stored_attention(o, s, logits, types(type, type, DTYPE_F32)));
            OPS_CHECK(o, FLOAT_SUMS, check_stored_attention(o, small, logits, types(type, type, DTYPE_F32)));
        }
        OPS_CHECK(o, 0.6 * rounding(type) / sqrt(13 * 31) + 1e-5,
                  check_stored_attention(o, s, ATTENTION_WIDE, types(type, type, DTYPE_F32)));
    }
}

static void test_extreme_logits(void **state)
{
    (void)state;
    on_each_unit(extreme_logits_are_right, FORWARD);
}

// ---- backward

// Slopes dS of either sign are summed, whose rounding errors do not average out: 0.43 u of dQ and dK, as much again where those are stored
// in 16 bits, 0.61 u together, and some margin for the few values of small shapes. An output that was stored in 16 bits makes delta, which
// is taken from every slope of its query, wrong by 0.43 u of itself: little where weights are many, where few have all the weight more than
// the slopes.
static const double SLOPES = 0.75, SLOPES_OF_FEW = 2.5;

static void check_backward(ops *o, attention_shape s, attention_logits logits, dtype type, bool few)
{
    OPS_CHECK(o, SLOPES * rounding(type), check_stored_attention_backward(o, s, logits, false, types(type, DTYPE_F32, type)));
    OPS_CHECK(o, (few ? SLOPES_OF_FEW : SLOPES) * rounding(type),
              check_stored_attention_backward(o, s, logits, true, types(type, type, type)));
}

static void gradients_are_right(ops *o)
{
    static const attention_shape shapes[] = {
        {1, 1, 1, 1, 1, false, 1},   {2, 1, 1, 8, 40, true, 1},   {3, 1, 2, 2, 7, true, 1},    {2, 7, 11, 3, 13, false, 1},
        {1, 13, 15, 4, 16, true, 1}, {2, 17, 19, 2, 40, true, 1}, {1, 16, 8, 1, 40, false, 1}, {1, 11, 23, 2, 80, true, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) // few types of each head size: every one costs programs to build
        check_backward(o, shapes[i], ATTENTION_RANDOM, i % 2 ? DTYPE_F16 : DTYPE_BF16, shapes[i].h * shapes[i].w < 32);
}

static void test_backward(void **state)
{
    (void)state;
    on_each_unit(gradients_are_right, BACKWARD);
}

static void gradients_of_extreme_logits_are_right(ops *o)
{
    for (dtype type = DTYPE_F16; type <= DTYPE_BF16; type++)
        for (attention_logits logits = ATTENTION_WIDE; logits <= ATTENTION_LOW; logits++)
            check_backward(o, (attention_shape){1, 13, 31, 2, 40, true, 1}, logits, type, logits != ATTENTION_SIGNS);
}

static void test_backward_of_extreme_logits(void **state)
{
    (void)state;
    on_each_unit(gradients_of_extreme_logits_are_right, BACKWARD);
}

// Gradients of any size: those of a half are as exact when dO is at either end of half's range.
static void small_gradients_are_right(ops *o)
{
    const attention_shape s = {1, 13, 31, 2, 40, true, 1};
    for (int power = -13; power <= 13; power += 13)
        OPS_CHECK(o, SLOPES * rounding(DTYPE_F16),
                  check_stored_attention_backward(
                      o, s, ATTENTION_RANDOM, true,
                      (attention_types){.values = DTYPE_F16, .stored = DTYPE_F16, .out = DTYPE_F32, .dout_power = power}));
}

static void test_small_gradients(void **state)
{
    (void)state;
    on_each_unit(small_gradients_are_right, BACKWARD);
}

// Heads that Intel's registers have no room for: there they are computed as without the unit, which takes dense tensors alone.
static void test_wide_heads(void **state)
{
    (void)state;
    for (matrix_unit unit = MATRIX_EMULATED; unit < MATRIX_UNITS; unit += 2) {
        const bool room = unit < MATRIX_EMULATED_INTEL_8;
        const attention_shape odd = {1, 5, 20, 1, 127, room, 1}, even = {2, 3, 11, 2, 128, room, 1};
        ops_fixture f;
        open_emulated(&f, &plain, unit);
        check_forward(&f.o, odd, DTYPE_F16, DTYPE_F16, DTYPE_F32);
        check_forward(&f.o, even, DTYPE_BF16, DTYPE_BF16, DTYPE_F32);
        OPS_CHECK(&f.o, SLOPES * rounding(DTYPE_BF16),
                  check_stored_attention_backward(&f.o, even, ATTENTION_RANDOM, room, types(DTYPE_BF16, DTYPE_BF16, DTYPE_BF16)));
        assert_int_equal(seen_in(&f, FORWARD).unit, room);
        assert_true(seen_in(&f, BACKWARD).unit == room && seen_in(&f, BACKWARD).other != room);
        ops_fixture_close(&f);
    }
}

// Smaller devices take smaller tiles, or compute it as without the unit; float32 never comes near it.
static void test_choice(void **state)
{
    static const conv_setting small = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .limits = "workgroup=64,local=16KiB"};
    const attention_shape s = {1, 9, 17, 2, 40, true, 1}, wide = {1, 5, 11, 1, 128, false, 1};
    ops_fixture f;
    (void)state;
    for (matrix_unit unit = MATRIX_EMULATED; unit < MATRIX_UNITS; unit += 2) {
        open_emulated(&f, &small, unit);
        check_forward(&f.o, s, DTYPE_F16, DTYPE_F16, DTYPE_F32);
        assert_true(seen_in(&f, FORWARD).unit && !seen_in(&f, FORWARD).other);
        OPS_CHECK(&f.o, 5e-7, check_stored_attention(&f.o, wide, ATTENTION_RANDOM, types(DTYPE_F16, DTYPE_F16, DTYPE_F32)));
        assert_true(seen_in(&f, FORWARD).other);
        ops_fixture_close(&f);
    }
    open_emulated(&f, &plain, MATRIX_EMULATED);
    OPS_CHECK(&f.o, 5e-7, check_attention(&f.o, s, ATTENTION_RANDOM, true));
    assert_true(!seen_in(&f, FORWARD).unit);
    ops_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes),
                                       cmocka_unit_test(test_storage),
                                       cmocka_unit_test(test_extreme_logits),
                                       cmocka_unit_test(test_backward),
                                       cmocka_unit_test(test_backward_of_extreme_logits),
                                       cmocka_unit_test(test_small_gradients),
                                       cmocka_unit_test(test_wide_heads),
                                       cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
