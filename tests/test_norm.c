#include "gradient_fixture.h"
#include "ops_fixture.h"
#include "oracle/oracle_norm.h"
#include "tune/check_norm.h"

// A mean of 1000 takes 10 bits from what x says about its deviation; statistics by squares would lose 20.
static void group_norm(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 2e-7, check_group_norm(o, 1, 1, 1, 4, 1, false, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 1, 1, 1, 32, 8, true, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 2, 3, 5, 12, 4, true, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 3, 9, 7, 40, 8, false, 0, true));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 2, 13, 5, 7, 7, true, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 1, 8, 8, 320, 32, true, 0, true));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 1, 5, 13, 960, 32, true, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 2, 4, 5, 1920, 32, false, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 1, 33, 31, 96, 32, true, 0, false));
    OPS_CHECK(o, 2e-7, check_group_norm(o, 1, 96, 96, 24, 2, false, 0, false));
    OPS_CHECK(o, 8e-5, check_group_norm(o, 2, 17, 19, 20, 4, false, 1000, false));
}

static void layer_norm(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 2e-7, check_layer_norm(o, 1, 4, 0));
    OPS_CHECK(o, 2e-7, check_layer_norm(o, 37, 7, 0));
    OPS_CHECK(o, 2e-7, check_layer_norm(o, 65, 40, 0));
    OPS_CHECK(o, 2e-7, check_layer_norm(o, 130, 64, 0));
    OPS_CHECK(o, 2e-7, check_layer_norm(o, 1025, 320, 0));
    OPS_CHECK(o, 2e-7, check_layer_norm(o, 3, 1920, 0));
    OPS_CHECK(o, 8e-5, check_layer_norm(o, 19, 640, 1000));
}

static void group_norm_gradient(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 1, 1, 1, 4, 1, false, 0, GRADIENT_PLAIN));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 1, 1, 1, 32, 8, true, 0, GRADIENT_ALL_ONE));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 2, 13, 5, 7, 7, true, 0, GRADIENT_ONTO_DY));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 3, 3, 1, 1, 1, false, 0, GRADIENT_RESIDUAL));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 3, 9, 7, 20, 4, true, 0, GRADIENT_ONTO_RESIDUAL));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 1, 8, 8, 320, 32, true, 0, GRADIENT_RESIDUAL_DY));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 3, 5, 13, 960, 32, true, 0, GRADIENT_PLAIN));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 2, 4, 5, 1920, 32, false, 0, GRADIENT_RESIDUAL));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 1, 96, 96, 24, 2, false, 0, GRADIENT_ONTO_RESIDUAL));
    OPS_CHECK(o, 1.2e-4, check_group_norm_backward(o, 2, 17, 19, 20, 4, true, 1000, GRADIENT_PLAIN));
}

// Only SiLU differs.
static void group_norm_gradient_exact(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 2, 13, 5, 7, 7, true, 0, GRADIENT_ONTO_DY));
    OPS_CHECK(o, 1e-6, check_group_norm_backward(o, 1, 8, 8, 320, 32, true, 0, GRADIENT_PLAIN));
}

static void layer_norm_gradient(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 1, 4, 0, GRADIENT_PLAIN));
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 37, 7, 0, GRADIENT_ONTO_DY));
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 65, 20, 0, GRADIENT_RESIDUAL));
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 130, 64, 0, GRADIENT_ONTO_RESIDUAL));
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 1025, 320, 0, GRADIENT_ALL_ONE));
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 3, 960, 0, GRADIENT_RESIDUAL_DY));
    OPS_CHECK(o, 1e-6, check_layer_norm_backward(o, 9001, 24, 0, GRADIENT_PLAIN));
    OPS_CHECK(o, 1.2e-4, check_layer_norm_backward(o, 19, 640, 1000, GRADIENT_PLAIN));
}

// ---- the oracles' gradients

typedef struct norm_problem {
    float *x, *gamma, *beta, *dy;
    int n, pixels, c, groups; // groups 0: LayerNorm
    bool silu;
    double *y;
} norm_problem;

static double norm_value(void *user)
{
    const norm_problem *p = user;
    double sum = 0;
    if (p->groups) oracle_group_norm(p->x, p->gamma, p->beta, p->n, p->pixels, p->c, p->groups, 1e-5, p->silu, p->y);
    else oracle_layer_norm(p->x, p->gamma, p->beta, p->n * p->pixels, p->c, 1e-5, p->y);
    for (int i = 0; i < p->n * p->pixels * p->c; i++) sum += p->y[i] * p->dy[i];
    return sum;
}

static void oracle_gradient(int n, int pixels, int c, int groups, bool silu)
{
    const size_t count = (size_t)n * pixels * c;
    norm_problem p = {
        check_values(count, 1, 2),    check_values(c, 2, 1), check_values(c, 3, 1), check_values(count, 4, 1), n, pixels, c, groups, silu,
        calloc(count, sizeof(double))};
    double *dx = calloc(count, sizeof *dx), *dgamma = calloc(c, sizeof *dgamma), *dbeta = calloc(c, sizeof *dbeta);
    assert_true(p.x && p.gamma && p.beta && p.dy && p.y && dx && dgamma && dbeta);
    if (groups) oracle_group_norm_backward(p.x, p.gamma, p.beta, n, pixels, c, groups, 1e-5, silu, p.dy, dx, dgamma, dbeta);
    else oracle_layer_norm_backward(p.x, p.gamma, n * pixels, c, 1e-5, p.dy, dx, dgamma, dbeta);
    const double x_error = gradient_error(norm_value, &p, p.x, count, dx), gamma_error = gradient_error(norm_value, &p, p.gamma, c, dgamma),
                 beta_error = gradient_error(norm_value, &p, p.beta, c, dbeta);
    if (getenv("IDM_TEST_ERRORS")) print_message("%.1e %.1e %.1e\n", x_error, gamma_error, beta_error);
    assert_true(x_error < 2e-9 && gamma_error < 2e-9 && beta_error < 2e-9);
    void *const blocks[] = {p.x, p.gamma, p.beta, p.dy, p.y, dx, dgamma, dbeta};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

static void test_oracle_gradients(void **state)
{
    (void)state;
    oracle_gradient(2, 5, 6, 3, false);
    oracle_gradient(2, 5, 6, 3, true);
    oracle_gradient(1, 9, 4, 1, true);
    oracle_gradient(1, 7, 9, 0, false);
}

static void test_group_norm_fast(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, group_norm);
}

static void test_group_norm_exact(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, group_norm);
}

static void test_layer_norm(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, layer_norm);
}

static void test_group_norm_gradient_fast(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, group_norm_gradient);
}

static void test_group_norm_gradient_exact(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, group_norm_gradient_exact);
}

static void test_layer_norm_gradient(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, layer_norm_gradient);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle_gradients),         cmocka_unit_test(test_group_norm_fast),
        cmocka_unit_test(test_group_norm_exact),         cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_group_norm_gradient_fast), cmocka_unit_test(test_group_norm_gradient_exact),
        cmocka_unit_test(test_layer_norm_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
