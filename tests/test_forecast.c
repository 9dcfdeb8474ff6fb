// Time predictions: planned work at the rates that a smaller run measured (tune/forecast.h).
#include "ops/pointwise.h"
#include "ops_fixture.h"
#include "tune/forecast.h"

#include <math.h>

static const double WALL = 5; // seconds, of which the kernels take a small part

// A plan of `planned` rows, `runs` times, after `measured` rows were measured; *kernels: seconds that these took.
static double predicted(ops *o, int planned, double runs, int measured, double *kernels)
{
    forecast f = {0};
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor a = check_output(o, 1, 1, planned, 64), b = check_output(o, 1, 1, measured, 64);
    assert_int_equal(context_status(o->ctx), IDM_OK);
    context_reset_cost(o->ctx);
    add(o, a, a, a);
    forecast_plan(&f, o->ctx, runs);
    add(o, b, b, b); // builds
    forecast_measure_begin(&f, o->ctx);
    add(o, b, b, b);
    assert_int_equal(context_finish(o->ctx), IDM_OK);
    forecast_measure_end(&f, o->ctx, WALL);
    *kernels = 0;
    for (size_t i = 0; i < f.count; i++) *kernels += f.rows[i].seconds;
    assert_true(!f.failed && *kernels > 0 && *kernels < WALL);
    const double seconds = forecast_seconds(&f);
    forecast_free(&f);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return seconds;
}

static void each(ops *o, const char *table)
{
    (void)table;
    double kernels;
    // the measured run itself, three times over: three times the wall clock
    assert_true(fabs(predicted(o, 4096, 3, 4096, &kernels) - 3 * WALL) < 1e-9);
    // four times the pixels: only the kernels' part grows
    const double larger = predicted(o, 16384, 1, 4096, &kernels);
    assert_true(fabs(larger - (WALL + 3 * kernels)) < 1e-6 * WALL);
}

static void test_scales(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, each);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scales)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
