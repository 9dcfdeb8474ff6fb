// 16384 tokens: a 256x256 image at the first level. Apart from the rest, for it takes its time.
#include "attention_fixture.h"

#include <string.h>

// Of two numbers to a head in the generic table, which takes its time.
static void many_tokens(ops *o, const char *table)
{
    attention_extremes(o, 128, 128, 1, strcmp(table, "generic") == 0 ? 2 : 8, 293);
    if (strcmp(table, "cpu") == 0) attention_extremes(o, 128, 128, 2, 40, 293);
}

// The variants that are slow here take one kind of logits to a pass. Outputs that are means of 16384 values of either sign have cancelled
// to a 128th of them, and deltas with them.
static void backward_many_tokens(ops *o, const char *table)
{
    static const attention_logits logits[] = {ATTENTION_SIGNS, ATTENTION_ONE_HOT, ATTENTION_LOW, ATTENTION_EQUAL};
    const int head_size = strcmp(table, "generic") == 0 ? 2 : 8, kinds = strcmp(table, "cpu") == 0 ? 4 : 2;
    for (int i = 0; i < kinds; i++) {
        o->attention_two_pass = i % 2 == 1;
        OPS_CHECK(o, 6e-6, check_attention_backward(o, (attention_shape){1, 128, 128, 1, head_size, true, 293}, logits[i], true));
    }
}

static void test_many_tokens(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, many_tokens);
}

static void test_backward_many_tokens(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, backward_many_tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_tokens),
        cmocka_unit_test(test_backward_many_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
