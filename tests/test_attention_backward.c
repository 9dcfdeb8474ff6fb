#include "ops_fixture.h"
#include "oracle/oracle_attention.h"
#include "tune/check_attention.h"

#include <math.h>

// One pass and two.
static void backward(ops *o, double tolerance, attention_shape s, attention_logits logits)
{
    for (int two = 0; two < 2; two++) {
        o->attention_two_pass = two;
        OPS_CHECK(o, tolerance, check_attention_backward(o, s, logits, s.slices != (two == 1)));
    }
}

// Few head sizes: every one costs each table several programs to build.
static void backward_shapes(ops *o, const char *table)
{
    (void)table;
    backward(o, 1e-6, (attention_shape){1, 1, 1, 1, 1, false, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){2, 1, 1, 8, 40, true, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){3, 1, 2, 2, 7, true, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){2, 7, 11, 3, 7, false, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){2, 17, 29, 1, 7, true, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){1, 13, 15, 4, 40, false, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){2, 17, 19, 2, 40, true, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){1, 19, 23, 1, 40, true, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){1, 11, 23, 2, 80, true, 1}, ATTENTION_RANDOM);
    backward(o, 1e-6, (attention_shape){2, 3, 11, 2, 128, true, 1}, ATTENTION_RANDOM);
}

// A float's step at logits of 100 is 1e-5 of a weight.
static void backward_extremes(ops *o, int h, int w, int heads, int head_size, int step)
{
    const attention_shape s = {1, h, w, heads, head_size, true, step};
    backward(o, 5e-6, s, ATTENTION_SIGNS);
    backward(o, 5e-6, s, ATTENTION_ONE_HOT);
    backward(o, 5e-6, s, ATTENTION_EQUAL);
    backward(o, 5e-6, s, ATTENTION_LOW);
}

static void backward_of_100(ops *o, const char *table)
{
    (void)table;
    backward_extremes(o, 9, 23, 2, 8, 1);
    backward_extremes(o, 13, 31, 2, 40, 1);
    // PyTorch's float32 has errors of 1.1e-5 to 1.3e-5, and 5e-6 to 7e-6, on such problems
    backward(o, 2.5e-5, (attention_shape){2, 13, 31, 2, 40, false, 1}, ATTENTION_WIDE);
    backward(o, 2e-5, (attention_shape){1, 13, 31, 4, 8, false, 1}, ATTENTION_WIDE);
}

// The oracle's gradients against differences of its forward pass, of fourth order. All numbers are multiples of 2^-12 and small, so that
// steps of 2^-8 are exact in float.
enum { TOKENS = 5, SIZE = 3, STRIDE = 4 };

static double loss(const float *q, const float *k, const float *v, const float *dout)
{
    double sum = 0, out[SIZE], lse;
    for (int i = 0; i < TOKENS; i++) {
        oracle_attention_query(q + i * STRIDE, k, v, STRIDE, TOKENS, SIZE, out, &lse);
        for (int c = 0; c < SIZE; c++) sum += out[c] * dout[i * STRIDE + c];
    }
    return sum;
}

static void multiples(float values[TOKENS * STRIDE], uint64_t seed)
{
    float *random = check_values((size_t)TOKENS * STRIDE, seed, 2);
    assert_non_null(random);
    for (int i = 0; i < TOKENS * STRIDE; i++) values[i] = roundf(random[i] * 4096) / 4096;
    free(random);
}

static void test_oracle_gradients(void **state)
{
    (void)state;
    float qkv[3][TOKENS * STRIDE], dout[TOKENS * STRIDE];
    double gradient[3][TOKENS][SIZE], out[SIZE], lse[TOKENS], delta[TOKENS] = {0};
    for (unsigned i = 0; i < 3; i++) multiples(qkv[i], i);
    multiples(dout, 3);
    for (int i = 0; i < TOKENS; i++) {
        oracle_attention_query(&qkv[0][i * STRIDE], qkv[1], qkv[2], STRIDE, TOKENS, SIZE, out, &lse[i]);
        for (int c = 0; c < SIZE; c++) delta[i] += out[c] * dout[i * STRIDE + c];
    }
    for (int i = 0; i < TOKENS; i++) {
        const int row = i * STRIDE;
        oracle_attention_query_backward(&qkv[0][row], &dout[row], lse[i], delta[i], qkv[1], qkv[2], STRIDE, TOKENS, SIZE, gradient[0][i]);
        oracle_attention_key_backward(&qkv[1][row], &qkv[2][row], qkv[0], STRIDE, dout, STRIDE, lse, delta, TOKENS, SIZE, gradient[1][i],
                                      gradient[2][i]);
    }
    for (int part = 0; part < 3; part++)
        for (int i = 0; i < TOKENS; i++)
            for (int c = 0; c < SIZE; c++) {
                const float step = 1.0f / 256, start = qkv[part][i * STRIDE + c];
                double losses[5];
                for (int n = 0; n < 5; n++) {
                    qkv[part][i * STRIDE + c] = start + step * (float)(n - 2);
                    losses[n] = loss(qkv[0], qkv[1], qkv[2], dout);
                }
                qkv[part][i * STRIDE + c] = start;
                const double slope = (8 * (losses[3] - losses[1]) - (losses[4] - losses[0])) / (12 * step);
                if (getenv("IDM_TEST_ERRORS")) print_message("%.2e of %.2e\n", fabs(slope - gradient[part][i][c]), slope);
                assert_true(fabs(slope - gradient[part][i][c]) < 1e-9);
            }
}

static void test_backward_shapes(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, backward_shapes);
}

static void test_backward_extreme_logits(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, backward_of_100);
    ops_fixture_each(IDM_MATH_EXACT, backward_of_100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle_gradients),
        cmocka_unit_test(test_backward_shapes),
        cmocka_unit_test(test_backward_extreme_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
