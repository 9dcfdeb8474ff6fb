#include "ops_fixture.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm_fast),
        cmocka_unit_test(test_group_norm_exact),
        cmocka_unit_test(test_layer_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
