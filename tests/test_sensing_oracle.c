// The oracles' gradients of the injector and of the DDIM step are those of the oracles' values.
#include "differences.h"
#include "oracle/oracle_sensing.h"
#include "tune/scratch.h"

static oracle_operator make_operator(scratch *s, int height, int width, int block_pixels, int measurements)
{
    return (oracle_operator){height,
                             width,
                             block_pixels,
                             measurements,
                             scratch_values(s, (size_t)block_pixels * (size_t)measurements, 1, 0.5f),
                             scratch_permutation(s, (size_t)height * (size_t)width, 2)};
}

typedef struct injector_problem {
    oracle_operator a;
    oracle_injector f;
    size_t count;
    float *x, *b, *dy, *f2i_weight, *f2i_bias, *i2f_weight, *i2f_bias;
    double *y;
} injector_problem;

static double injector_value(void *user)
{
    const injector_problem *p = user;
    double sum = 0;
    assert_true(oracle_injector_forward(&p->a, &p->f, p->x, p->b, 0, NULL, p->y));
    for (size_t i = 0; i < p->count; i++) sum += p->dy[i] * p->y[i];
    return sum;
}

// Linear in each single value, so any step does.
static void check_injector_differences(int height, int width, int block_pixels, int measurements, int n, int c, int r)
{
    scratch s = {0};
    const int h = height / r, w = width / r, k = c / (r * r);
    injector_problem p = {.a = make_operator(&s, height, width, block_pixels, measurements),
                          .count = (size_t)n * h * w * c,
                          .b = scratch_values(&s, (size_t)n * height * width, 4, 1),
                          .f2i_weight = scratch_values(&s, k, 6, 1),
                          .f2i_bias = scratch_values(&s, 1, 7, 1),
                          .i2f_weight = scratch_values(&s, 3 * (size_t)k, 8, 1),
                          .i2f_bias = scratch_values(&s, k, 9, 1)};
    p.x = scratch_values(&s, p.count, 3, 1);
    p.dy = scratch_values(&s, p.count, 5, 1);
    p.y = scratch_doubles(&s, p.count);
    p.f = (oracle_injector){n, h, w, c, r, p.f2i_weight, p.f2i_bias, p.i2f_weight, p.i2f_bias};
    const oracle_injector_gradients g = {scratch_doubles(&s, p.count), scratch_doubles(&s, k), scratch_doubles(&s, 1),
                                         scratch_doubles(&s, 3 * (size_t)k), scratch_doubles(&s, k)};
    assert_false(s.failed);
    assert_true(oracle_injector_backward(&p.a, &p.f, p.x, p.b, p.dy, &g));
    differences_check(injector_value, &p, p.x, p.count, g.dx, 0.25f, 1e-11, "dx");
    differences_check(injector_value, &p, p.f2i_weight, (size_t)k, g.f2i_weight, 0.25f, 1e-11, "df2i_weight");
    differences_check(injector_value, &p, p.f2i_bias, 1, g.f2i_bias, 0.25f, 1e-11, "df2i_bias");
    differences_check(injector_value, &p, p.i2f_weight, 3 * (size_t)k, g.i2f_weight, 0.25f, 1e-11, "di2f_weight");
    differences_check(injector_value, &p, p.i2f_bias, (size_t)k, g.i2f_bias, 0.25f, 1e-11, "di2f_bias");
    (void)scratch_end(&s, (check_result){0});
}

static void test_injector(void **state)
{
    (void)state;
    check_injector_differences(4, 4, 16, 3, 1, 4, 2);
    check_injector_differences(8, 12, 16, 5, 2, 12, 2);
    check_injector_differences(8, 4, 16, 2, 2, 32, 4);
    check_injector_differences(4, 3, 4, 2, 3, 5, 1);
}

typedef struct ddim_problem {
    oracle_operator a;
    int n, steps, t;
    size_t count;
    float *x, *e, *b, *dr, *alpha;
    double alpha_bar[4], *result;
} ddim_problem;

static double ddim_value(void *user)
{
    ddim_problem *p = user;
    double sum = 0;
    for (int t = 0; t < p->steps; t++) p->alpha_bar[t + 1] = p->alpha_bar[t] * p->alpha[t];
    assert_true(oracle_ddim_step(&p->a, p->x, p->e, p->alpha_bar, p->t, p->b, p->n, 0, NULL, p->result));
    for (size_t i = 0; i < p->count; i++) sum += p->dr[i] * p->result[i];
    return sum;
}

// alpha by way of alpha_bar: dalpha[i] = sum over t > i of dalpha_bar[t] alpha_bar[t] / alpha[i].
static void check_ddim_differences(int height, int width, int block_pixels, int measurements, int n, int steps)
{
    scratch s = {0};
    ddim_problem p = {
        .a = make_operator(&s, height, width, block_pixels, measurements), .n = n, .steps = steps, .count = (size_t)n * height * width};
    p.x = scratch_values(&s, p.count, 3, 1);
    p.e = scratch_values(&s, p.count, 4, 1);
    p.b = scratch_values(&s, p.count, 5, 1);
    p.dr = scratch_values(&s, p.count, 6, 1);
    p.alpha = scratch_values(&s, steps, 7, 0.25f);
    p.result = scratch_doubles(&s, p.count);
    double *dx = scratch_doubles(&s, p.count), *de = scratch_doubles(&s, p.count);
    assert_false(s.failed);
    p.alpha_bar[0] = 1;
    for (int t = 0; t < steps; t++) p.alpha[t] += 0.5f;
    for (p.t = 1; p.t <= steps; p.t++) {
        double dalpha_bar[4] = {0}, dalpha[3] = {0};
        (void)ddim_value(&p);
        assert_true(oracle_ddim_step_backward(&p.a, p.x, p.e, p.alpha_bar, p.t, p.b, n, p.dr, dx, de, dalpha_bar));
        assert_true(dalpha_bar[0] == 0);
        for (int i = 0; i < steps; i++)
            for (int t = i + 1; t <= steps; t++) dalpha[i] += dalpha_bar[t] * p.alpha_bar[t] / p.alpha[i];
        differences_check(ddim_value, &p, p.x, p.count, dx, 0.25f, 1e-11, "dx");
        differences_check(ddim_value, &p, p.e, p.count, de, 0.25f, 1e-11, "de");
        differences_check(ddim_value, &p, p.alpha, (size_t)steps, dalpha, 1e-4f, 1e-6, "dalpha");
    }
    (void)scratch_end(&s, (check_result){0});
}

static void test_ddim(void **state)
{
    (void)state;
    check_ddim_differences(2, 2, 4, 1, 1, 1);
    check_ddim_differences(4, 8, 16, 3, 2, 3);
    check_ddim_differences(8, 6, 4, 2, 3, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_injector), cmocka_unit_test(test_ddim)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
