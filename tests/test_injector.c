#include "ops/ddim.h"
#include "ops_fixture.h"
#include "tune/check_sensing.h"
#include <math.h>

static void injector(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){4, 4, 16, 3}), 1, 4, 2, false));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){4, 4, 16, 3}), 1, 16, 4, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){12, 20, 16, 5}), 2, 12, 2, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){12, 20, 16, 5}), 3, 48, 4, false));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){8, 4, 16, 5}), 1, 5, 1, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){32, 48, 256, 26}), 2, 32, 2, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){32, 48, 256, 26}), 2, 64, 4, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){64, 32, 1024, 103}), 1, 320, 2, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){64, 32, 1024, 103}), 1, 640, 4, false));
}

static void ddim(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 5e-7, check_ddim(o, ((check_operator){2, 2, 4, 1}), 1, 1, false));
    OPS_CHECK(o, 5e-7, check_ddim(o, ((check_operator){12, 20, 16, 5}), 3, 3, true));
    OPS_CHECK(o, 5e-7, check_ddim(o, ((check_operator){32, 48, 256, 26}), 2, 4, false));
}

// alpha_bar outside (0, 1) has no square root; a NaN in a picture is found, a clamped value is not.
static void ddim_nan(ops *o, const char *table)
{
    const float phi[] = {0.5f, 0.5f, 0.5f, 0.5f}, plane[] = {1, 2, 3, 4}, alpha[] = {1.25f};
    const int32_t perm[] = {2, 0, 3, 1};
    float got[4];
    sensing s;
    sensing_create(o, phi, 4, 1, perm, 2, 2, &s);
    const tensor x = check_upload(o, plane, 1, 2, 2, 1), e = check_upload(o, plane, 1, 1, 1, 4), y = check_upload(o, plane, 1, 2, 2, 1);
    const tensor alpha_bar = check_output(o, 1, 1, 1, 2);
    const epilogue none = {0};
    alpha_bar_forward(o, check_upload(o, alpha, 1, 1, 1, 1), alpha_bar);
    ddim_step_forward(o, &s, x, e, alpha_bar, 1, x, &none, y);
    assert_int_equal(context_read(o->ctx, y, got), IDM_OK);
    for (int i = 0; i < 4; i++)
        if (!isnan(got[i])) fail_msg("%s: value %d is %g, not NaN", table, i, (double)got[i]);
}

static void test_injector(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, injector);
}

static void test_ddim(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, ddim);
}

static void test_ddim_nan(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, ddim_nan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_injector),
        cmocka_unit_test(test_ddim),
        cmocka_unit_test(test_ddim_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
