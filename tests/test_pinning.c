// When the program asks PoCL to pin its threads, and when not.
#include "opencl/pinning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

// What pinning_ask leaves in POCL_AFFINITY if `name` is `value` before; name NULL: nothing is.
static const char *asked(const char *name, const char *value)
{
    (void)unsetenv("POCL_AFFINITY");
    (void)unsetenv("POCL_MAX_PTHREAD_COUNT");
    (void)unsetenv("POCL_CPU_MAX_CU_COUNT");
    if (name) assert_int_equal(setenv(name, value, 1), 0);
    pinning_ask();
    return getenv("POCL_AFFINITY");
}

static void asks_where_all_processors_are_allowed(void **state)
{
    (void)state;
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    const long count = sysconf(_SC_NPROCESSORS_CONF);
    if (CPU_COUNT(&allowed) != count) skip();
    assert_string_equal(asked(NULL, NULL), "1");
}

static void leaves_what_the_user_says(void **state)
{
    (void)state;
    assert_string_equal(asked("POCL_AFFINITY", "0"), "0");
    assert_null(asked("POCL_MAX_PTHREAD_COUNT", "1"));
    assert_null(asked("POCL_CPU_MAX_CU_COUNT", "1"));
}

static void leaves_a_process_that_may_not_use_all(void **state)
{
    (void)state;
    cpu_set_t allowed, one;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    if (sysconf(_SC_NPROCESSORS_CONF) < 2) skip();
    size_t first = 0;
    while (!CPU_ISSET(first, &allowed)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_null(asked(NULL, NULL));
    assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_where_all_processors_are_allowed),
        cmocka_unit_test(leaves_what_the_user_says),
        cmocka_unit_test(leaves_a_process_that_may_not_use_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
