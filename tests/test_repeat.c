// The same bits on every run, of the operations whose kernels have barriers in loops: one implementation compiled these wrongly, for some
// work-groups of some runs. IDM_TEST_REPEATS: how often (default 10).
#include "ops_fixture.h"

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/gemm.h"
#include "ops/norm.h"

#include <math.h>
#include <string.h>

enum { OUTPUTS_MAX = 4 };

typedef struct problem {
    ops *o;
    tensor in[8], out[OUTPUTS_MAX]; // inputs as each function below wants them; what it writes
    int outputs;
} problem;

static tensor input(problem *p, int n, int h, int w, int c, uint64_t seed)
{
    const size_t count = (size_t)n * (size_t)h * (size_t)w * (size_t)c;
    float *values = check_values(count, seed, 1);
    assert_non_null(values);
    const tensor t = check_upload(p->o, values, n, h, w, c);
    free(values);
    return t;
}

static void output(problem *p, int n, int h, int w, int c)
{
    assert_true(p->outputs < OUTPUTS_MAX);
    p->out[p->outputs++] = check_output(p->o, n, h, w, c);
}

// All outputs, one after the other, after a run that found them `before`; the caller's to free().
static float *run_once(problem *p, void (*run)(problem *p), float before)
{
    size_t count = 0, at = 0;
    for (int i = 0; i < p->outputs; i++) count += tensor_elements(p->out[i]);
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = before;
    for (int i = 0; i < p->outputs; i++) context_write(p->o->ctx, p->out[i], values);
    run(p);
    for (int i = 0; i < p->outputs; at += tensor_elements(p->out[i++]))
        if (context_read(p->o->ctx, p->out[i], values + at) != IDM_OK) fail_msg("%s", idm_message());
    for (size_t i = 0; i < count; i++) assert_true(isfinite(values[i]));
    return values;
}

// before: NaN where the operation overwrites, 0 where it adds.
static void check_repeats(problem *p, void (*run)(problem *p), float before, const char *what)
{
    const char *text = getenv("IDM_TEST_REPEATS");
    const int repeats = text ? atoi(text) : 10;
    size_t count = 0;
    for (int i = 0; i < p->outputs; i++) count += tensor_elements(p->out[i]);
    float *want = run_once(p, run, before);
    int different = 0;
    for (int i = 0; i < repeats; i++) {
        float *got = run_once(p, run, before);
        different += memcmp(got, want, count * sizeof *got) != 0;
        free(got);
    }
    free(want);
    arena_release(p->o->ctx, POOL_ACTIVATIONS, (arena_mark){0, 0});
    if (different)
        fail_msg("%s, table %s: %d of %d runs gave other bits than the first", what, variant_name(p->o->table.conv), different, repeats);
}

#define CHECK_REPEATS(p, run, before) check_repeats(p, run, before, #run)

// ---- convolutions and linear layers: x, W, dy

static weight weight_of(const problem *p, int taps)
{
    return (weight){.plain = p->in[1], .taps = taps, .in = p->in[1].w / taps, .out = p->in[1].c};
}

static void conv(problem *p)
{
    const weight w = weight_of(p, 9);
    conv_forward(p->o, p->in[0], &w, 1, false, NULL, p->out[0]);
}

static void conv_gradient_of_x(problem *p)
{
    const weight w = weight_of(p, 9);
    conv_backward_data(p->o, p->in[2], &w, 1, false, NULL, p->out[0]);
}

static void conv_gradient_of_w(problem *p)
{
    conv_backward_weight(p->o, p->in[0], p->in[2], 1, false, p->out[0], p->out[1]);
}

static void linear(problem *p)
{
    const weight w = weight_of(p, 1);
    gemm_forward(p->o, p->in[0], &w, NULL, p->out[0]);
}

static void linear_gradient_of_w(problem *p)
{
    gemm_backward_weight(p->o, p->in[0], p->in[2], p->out[0], p->out[1]);
}

static problem conv_problem(ops *o, int taps, int h, int w, int in, int out)
{
    problem p = {.o = o};
    p.in[0] = input(&p, 1, h, w, in, 1);
    p.in[1] = input(&p, 1, 1, taps * in, out, 2);
    p.in[2] = input(&p, 1, h, w, out, 3);
    return p;
}

static void check_convs(ops *o, const char *table)
{
    (void)table;
    // h, w, in, out: enough pixels for each of the tiles
    static const int shapes[][4] = {{7, 9, 20, 24}, {24, 21, 32, 36}, {48, 48, 48, 64}, {40, 52, 33, 70}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int h = shapes[i][0], w = shapes[i][1], in = shapes[i][2], out = shapes[i][3];
        problem p = conv_problem(o, 9, h, w, in, out);
        output(&p, 1, h, w, out);
        CHECK_REPEATS(&p, conv, NAN);
        p = conv_problem(o, 9, h, w, in, out);
        output(&p, 1, h, w, in);
        CHECK_REPEATS(&p, conv_gradient_of_x, NAN);
        p = conv_problem(o, 9, h, w, in, out);
        output(&p, 1, 1, 9 * in, out);
        output(&p, 1, 1, 1, out);
        CHECK_REPEATS(&p, conv_gradient_of_w, 0);
        p = conv_problem(o, 1, h, w, in, out);
        output(&p, 1, h, w, out);
        CHECK_REPEATS(&p, linear, NAN);
        p = conv_problem(o, 1, h, w, in, out);
        output(&p, 1, 1, in, out);
        output(&p, 1, 1, 1, out);
        CHECK_REPEATS(&p, linear_gradient_of_w, 0);
    }
}

static void test_convolutions(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, check_convs);
}

// ---- attention: q, k, v, out, lse, dout

enum { HEADS = 2 };

static void attention(problem *p)
{
    attention_forward(p->o, p->in[0], p->in[1], p->in[2], p->in[0].c, HEADS, p->out[0], p->out[1]);
}

static void attention_gradient(problem *p)
{
    const int c = p->in[0].c;
    attention_backward(p->o, p->in[0], p->in[1], p->in[2], c, HEADS, p->in[3], p->in[4], p->in[5], p->out[0], p->out[1], p->out[2], c);
}

static problem attention_problem(ops *o, int h, int w, int c)
{
    problem p = {.o = o};
    for (int i = 0; i < 3; i++) p.in[i] = input(&p, 1, h, w, c, 1 + (uint64_t)i);
    return p;
}

static void check_attentions(ops *o, const char *table)
{
    (void)table;
    static const int head_sizes[] = {8, 40, 80};
    for (size_t i = 0; i < sizeof head_sizes / sizeof *head_sizes; i++) {
        const int h = 17, w = 19, c = HEADS * head_sizes[i];
        problem p = attention_problem(o, h, w, c);
        output(&p, 1, h, w, c);
        output(&p, 1, HEADS, h * w, 1);
        CHECK_REPEATS(&p, attention, NAN);
        p = attention_problem(o, h, w, c);
        p.in[3] = input(&p, 1, h, w, c, 4);
        p.in[4] = input(&p, 1, HEADS, h * w, 1, 5);
        p.in[5] = input(&p, 1, h, w, c, 6);
        attention_forward(o, p.in[0], p.in[1], p.in[2], c, HEADS, p.in[3], p.in[4]);
        for (int j = 0; j < 3; j++) output(&p, 1, h, w, c);
        CHECK_REPEATS(&p, attention_gradient, NAN);
    }
}

static void test_attention(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, check_attentions);
}

// ---- norms: x, gamma, beta, dy

enum { GROUPS = 4 };
static const float EPS = 1e-5f;

static void group_norm(problem *p)
{
    group_norm_forward(p->o, p->in[0], p->in[1], p->in[2], GROUPS, EPS, true, p->out[0]);
}

static void group_norm_gradient(problem *p)
{
    group_norm_backward(p->o, p->in[0], p->in[1], p->in[2], GROUPS, EPS, true, p->in[3], NO_TENSOR, p->out[0], p->out[1], p->out[2]);
}

static void layer_norm_gradient(problem *p)
{
    layer_norm_backward(p->o, p->in[0], p->in[1], EPS, p->in[3], NO_TENSOR, p->out[0], p->out[1], p->out[2]);
}

static problem norm_problem(ops *o, int h, int w, int c, bool backward)
{
    problem p = {.o = o};
    p.in[0] = input(&p, 2, h, w, c, 1);
    p.in[1] = input(&p, 1, 1, 1, c, 2);
    p.in[2] = input(&p, 1, 1, 1, c, 3);
    p.in[3] = input(&p, 2, h, w, c, 4);
    output(&p, 2, h, w, c);
    for (int i = 0; i < 2 && backward; i++) output(&p, 1, 1, 1, c);
    return p;
}

static void check_norms(ops *o, const char *table)
{
    (void)table;
    const int h = 45, w = 37;
    for (int c = 20; c <= 128; c += 108) {
        problem p = norm_problem(o, h, w, c, false);
        CHECK_REPEATS(&p, group_norm, NAN);
        p = norm_problem(o, h, w, c, true);
        CHECK_REPEATS(&p, group_norm_gradient, 0);
        p = norm_problem(o, h, w, c, true);
        CHECK_REPEATS(&p, layer_norm_gradient, 0);
    }
}

static void test_norms(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, check_norms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_norms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
