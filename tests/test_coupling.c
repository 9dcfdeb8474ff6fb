#include "gradient_fixture.h"
#include "ops_fixture.h"
#include "oracle/oracle_coupling.h"
#include "tune/check_coupling.h"

static void coupling(ops *o, const char *table)
{
    (void)table;
    static const size_t counts[] = {1, 7, 20, 4097, 24577, 100000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        OPS_CHECK(o, 2e-6, check_coupling(o, counts[i], 0.47f, false));
        OPS_CHECK(o, 2e-6, check_coupling(o, counts[i], -0.3f, true));
        OPS_CHECK(o, 4e-7, check_coupling_invert(o, counts[i], 0.47f, false));
        OPS_CHECK(o, 2e-6, check_coupling_invert(o, counts[i], -0.05f, true));
    }
}

static void bits(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 0, check_coupling_bits(o, 1, 1, 0.47f));
    OPS_CHECK(o, 0, check_coupling_bits(o, 67, 21, 0.3711f));
    OPS_CHECK(o, 0, check_coupling_bits(o, 130, 320, 0.5f));
    OPS_CHECK(o, 0, check_coupling_bits(o, 130, 20, 1.37f));
}

static void loss(ops *o, const char *table)
{
    (void)table;
    static const size_t counts[] = {1, 7, 20, 4097, 24577, 100000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        OPS_CHECK(o, 4e-7, check_l1_loss(o, counts[i], false, false));
        OPS_CHECK(o, 4e-7, check_l1_loss(o, counts[i], true, true));
    }
}

static void test_coupling(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, coupling);
}

static void test_same_bits_as_epilogue(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, bits);
}

static void test_l1_loss(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, loss);
}

// ---- the oracles' gradients

enum { COUNT = 12 };

typedef struct coupling_problem {
    float *f, *x2, *dy1, v;
} coupling_problem;

static double coupling_value(void *user)
{
    const coupling_problem *p = user;
    double y1[COUNT], sum = 0;
    oracle_coupling(p->f, p->x2, p->v, COUNT, y1);
    for (int i = 0; i < COUNT; i++) sum += y1[i] * p->dy1[i];
    return sum;
}

static double loss_value(void *user)
{
    const coupling_problem *p = user;
    double dout[COUNT];
    return oracle_l1_loss(p->f, p->x2, 0.125, 1, COUNT, dout);
}

static void test_oracle_gradients(void **state)
{
    (void)state;
    coupling_problem p = {check_values(COUNT, 1, 1), check_values(COUNT, 2, 1), check_values(COUNT, 3, 1), 0.40625f};
    double dbody[COUNT], dx2[COUNT], dout[COUNT], back[COUNT];
    assert_true(p.f && p.x2 && p.dy1);
    const double dv = oracle_coupling_backward(p.f, p.x2, p.v, p.dy1, COUNT, dbody, dx2);
    assert_true(gradient_error(coupling_value, &p, p.f, COUNT, dbody) < 1e-12);
    assert_true(gradient_error(coupling_value, &p, p.x2, COUNT, dx2) < 1e-12);
    assert_true(gradient_error(coupling_value, &p, &p.v, 1, &dv) < 1e-12);

    for (int i = 0; i < COUNT; i++) p.f[i] += p.f[i] > p.x2[i] ? 0.0625f : -0.0625f; // no kink within the differences' reach
    (void)oracle_l1_loss(p.f, p.x2, 0.125, 1, COUNT, dout);
    assert_true(gradient_error(loss_value, &p, p.f, COUNT, dout) < 1e-12);

    oracle_coupling(p.f, p.x2, p.v, COUNT, dbody);
    for (int i = 0; i < COUNT; i++) p.dy1[i] = (float)dbody[i];
    oracle_coupling_invert(p.f, p.dy1, p.v, COUNT, back);
    for (int i = 0; i < COUNT; i++) assert_true(fabs(back[i] - p.x2[i]) < 1e-6);
    free(p.f);
    free(p.x2);
    free(p.dy1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle_gradients),
        cmocka_unit_test(test_coupling),
        cmocka_unit_test(test_same_bits_as_epilogue),
        cmocka_unit_test(test_l1_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
