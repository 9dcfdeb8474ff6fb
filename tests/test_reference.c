// `idm eval` against the PyTorch reference on two pictures (check_reference.py); minutes, so only with IDM_SLOW=1, and where ../../shared
// and PyTorch are there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static void test_eval(void **state)
{
    (void)state;
    if (!getenv("IDM_SLOW")) {
        print_message("not run: takes minutes; IDM_SLOW=1 runs it\n");
        skip();
    }
    if (system("test -d ../../shared/data/Set11 && /usr/bin/python3 -c 'import torch'") != 0) {
        print_message("not run: needs ../../shared and python3-torch\n");
        skip();
    }
    assert_int_equal(system("/usr/bin/python3 check_reference.py \"$IDM_BINARY\" ../../shared"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_eval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
