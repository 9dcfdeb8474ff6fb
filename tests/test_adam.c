#include "ops/adam.h"

#include "ops_fixture.h"
#include "oracle/oracle_adam.h"
#include "tune/check_adam.h"
#include <math.h>
#include <string.h>

static void steps(ops *o, const char *table)
{
    (void)table;
    static const adam_problem problems[] = {
        {.counts = {1}, .steps = 3, .learning_rate = 1e-4},
        {.counts = {8193, 0, 20000}, .steps = 50, .learning_rate = 1e-4},
        {.counts = {4097, 1, 30}, .steps = 50, .learning_rate = 1e-3, .scaling = true},
        {.counts = {7, 5000, 12}, .steps = 50, .learning_rate = 1e-4, .clip = 1, .scaling = true, .averaged = true},
        {.counts = {1000}, .steps = 5, .learning_rate = 1e-4, .clip = 1e9, .averaged = true},
    };
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) OPS_CHECK(o, 1.5e-6, check_adam(o, &problems[i]));
}

static void corrections(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 6.1e-8, check_adam_corrections(o, 0.9, 0.999, 1e-4, 200000));
    OPS_CHECK(o, 6.1e-8, check_adam_corrections(o, 0.5, 0.9999, 3e-5, 200000));
    OPS_CHECK(o, 6.1e-8, check_adam_corrections(o, 0, 0.95, 1, 200000));
}

static void test_steps(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, steps);
}

static void test_corrections(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, corrections);
}

// ---- loss scaling, and what is not finite

enum { ARRAYS = 2, COUNT = 9001, LARGE = 3 * COUNT };

typedef struct trainer {
    ops *o;
    adam_settings settings;
    tensor state, g[ARRAYS], w[ARRAYS], m[ARRAYS], v[ARRAYS], average[ARRAYS];
} trainer;

static const int counts[ARRAYS] = {COUNT, LARGE};

static trainer trainer_open(ops *o, bool scaling, int growth_interval)
{
    trainer t = {.o = o, .settings = adam_defaults(), .state = adam_push_state(o, POOL_ACTIVATIONS)};
    t.settings.scaling = scaling;
    t.settings.growth_interval = growth_interval;
    const adam_state first = adam_initial_state(scaling);
    context_write(o->ctx, t.state, &first);
    for (int i = 0; i < ARRAYS; i++) {
        tensor *const all[] = {&t.g[i], &t.w[i], &t.m[i], &t.v[i], &t.average[i]};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            *all[k] = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, counts[i]);
            context_fill_zero(o->ctx, *all[k]);
        }
    }
    return t;
}

static adam_state trainer_step(trainer *t)
{
    adam_state state;
    for (int i = 0; i < ARRAYS; i++) adam_begin(t->o, t->g[i], t->state);
    adam_prepare(t->o, &t->settings, 1e-3, t->state);
    for (int i = 0; i < ARRAYS; i++)
        adam_update(t->o, &t->settings, t->state, t->g[i], t->w[i], t->m[i], t->v[i], i ? t->average[i] : NO_TENSOR);
    adam_end(t->o, &t->settings, t->state);
    if (context_read(t->o->ctx, t->state, &state) != IDM_OK) fail_msg("%s", idm_message());
    return state;
}

// Gradients of 1, but for `bits` at one place (none where it is negative).
static void trainer_gradients(trainer *t, int array, int at, uint32_t bits)
{
    float *values = malloc(LARGE * sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < ARRAYS; i++) {
        for (int k = 0; k < counts[i]; k++) values[k] = 1;
        if (i == array && at >= 0) memcpy(values + at, &bits, sizeof bits);
        context_write(t->o->ctx, t->g[i], values);
    }
    free(values);
}

// Weights, moments and averages one after the other; the caller's to free().
static float *trainer_values(const trainer *t)
{
    float *values = malloc(sizeof *values * 4 * (COUNT + LARGE)), *to = values;
    assert_non_null(values);
    for (int i = 0; i < ARRAYS; i++) {
        const tensor all[] = {t->w[i], t->m[i], t->v[i], t->average[i]};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++, to += counts[i])
            if (context_read(t->o->ctx, all[k], to) != IDM_OK) fail_msg("%s", idm_message());
    }
    return values;
}

static void same_values(const trainer *t, const float *before, bool same)
{
    float *now = trainer_values(t);
    assert_int_equal(memcmp(now, before, sizeof *now * 4 * (COUNT + LARGE)) == 0, same);
    free(now);
}

typedef struct planted {
    uint32_t bits;
    bool nonfinite;
} planted;

static const planted plants[] = {
    {0x7fffffff, true},  {0xffffffff, true},  {0x7f800001, true},  {0xff800001, true},  {0x7fc00000, true},
    {0x7f800000, true},  {0xff800000, true},  {0x7f7fffff, false}, {0xff7fffff, false}, {0x00000001, false},
    {0x807fffff, false}, {0x00800000, false}, {0x80000000, false},
};

static void one_value(ops *o, const char *table)
{
    static const int places[][2] = {{0, 0}, {0, COUNT - 1}, {1, 4096}, {1, 8191}, {1, LARGE - 1}, {1, LARGE - 9}, {0, 17}};
    (void)table;
    trainer t = trainer_open(o, false, 0);
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++)
        for (size_t k = i % 2; k < sizeof places / sizeof *places; k += 2) {
            const adam_state first = {.scale = 1};
            context_write(o->ctx, t.state, &first);
            trainer_gradients(&t, places[k][0], places[k][1], plants[i].bits);
            float *before = trainer_values(&t);
            const adam_state state = trainer_step(&t);
            if (state.skipped != plants[i].nonfinite || state.step != !plants[i].nonfinite)
                fail_msg("%08x in array %d at %d: %d skipped", plants[i].bits, places[k][0], places[k][1], state.skipped);
            assert_int_equal(state.found_nonfinite, 0);
            assert_true(state.scale == 1 && state.good_steps == 0 && state.squares == 0);
            same_values(&t, before, plants[i].nonfinite);
            free(before);
        }
}

// Overflows at chosen steps, among them two in a row, one just before and one just after the scale would grow. What comes of them is what
// torch 2.15's GradScaler("cpu", init_scale=65536, growth_interval=5) gave for the same: its scale, and its count of good steps, after
// each.
static void scaler_trace(ops *o, const char *table)
{
    static const int bad[] = {1, 2, 6, 12, 18, 24, 25, 26, 40};
    enum { STEPS = 48, SKIPPED = sizeof bad / sizeof *bad };
    static const int scales[STEPS] = {65536, 32768, 16384, 16384, 16384, 16384, 8192, 8192, 8192, 8192, 8192, 16384,
                                      8192,  8192,  8192,  8192,  8192,  16384, 8192, 8192, 8192, 8192, 8192, 16384,
                                      8192,  4096,  2048,  2048,  2048,  2048,  2048, 4096, 4096, 4096, 4096, 4096,
                                      8192,  8192,  8192,  8192,  4096,  4096,  4096, 4096, 4096, 8192, 8192, 8192};
    static const int good_steps[STEPS] = {1, 0, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 0,
                                          0, 0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2};
    (void)table;
    trainer t = trainer_open(o, true, 5);
    int skipped = 0;
    for (int step = 0; step < STEPS; step++) {
        const bool nonfinite = skipped < SKIPPED && bad[skipped] == step;
        skipped += nonfinite;
        trainer_gradients(&t, step % 2, nonfinite ? step * 100 : -1, step % 3 ? 0x7f800000 : 0x7fc00001);
        const adam_state got = trainer_step(&t);
        if (got.scale != (float)scales[step] || got.good_steps != good_steps[step] || got.step != step + 1 - skipped ||
            got.skipped != skipped)
            fail_msg("step %d: scale %g, good steps %d, t %d, skipped %d", step, (double)got.scale, got.good_steps, got.step, got.skipped);
    }
    assert_int_equal(skipped, SKIPPED);
}

// The scale never becomes infinite, and it alone can be read as a tensor.
static void largest_scale(ops *o, const char *table)
{
    (void)table;
    trainer t = trainer_open(o, true, 1);
    const adam_state first = {.scale = 0x1p125f};
    float scale = 0;
    context_write(o->ctx, t.state, &first);
    trainer_gradients(&t, 0, -1, 0);
    for (int step = 0; step < 4; step++) (void)trainer_step(&t);
    assert_int_equal(context_read(o->ctx, adam_scale(t.state), &scale), IDM_OK);
    assert_true(scale == 0x1p127f);
}

static void test_one_value(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, one_value);
}

static void test_scaler_trace(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, scaler_trace);
}

static void test_largest_scale(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, largest_scale);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),        cmocka_unit_test(test_corrections),   cmocka_unit_test(test_one_value),
        cmocka_unit_test(test_scaler_trace), cmocka_unit_test(test_largest_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
