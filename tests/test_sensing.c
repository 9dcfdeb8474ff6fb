#include "ops_fixture.h"
#include "tune/check_sensing.h"

static void sensing_checks(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 8e-7, check_sensing(o, ((check_operator){1, 1, 1, 1}), 1));
    OPS_CHECK(o, 8e-7, check_sensing(o, ((check_operator){4, 4, 16, 2}), 2));
    OPS_CHECK(o, 8e-7, check_sensing(o, ((check_operator){12, 20, 16, 5}), 3));
    OPS_CHECK(o, 8e-7, check_sensing(o, ((check_operator){32, 48, 256, 26}), 2));
    OPS_CHECK(o, 8e-7, check_sensing(o, ((check_operator){64, 32, 1024, 103}), 1));
    OPS_CHECK(o, 8e-7, check_sensing(o, ((check_operator){32, 32, 256, 256}), 1));
}

static void test_sensing(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, sensing_checks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sensing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
