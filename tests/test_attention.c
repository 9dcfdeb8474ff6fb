#include "attention_fixture.h"

// The model's head sizes and the ends of what is allowed, over tokens that are no multiple of any tile.
static void shapes(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 1, 1, 1, 1, false, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 1, 1, 8, 40, true, 1}, ATTENTION_RANDOM, false));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){3, 1, 2, 2, 2, true, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){2, 7, 11, 3, 13, false, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){2, 8, 8, 4, 8, true, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 13, 15, 4, 16, true, 1}, ATTENTION_RANDOM, false));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 16, 9, 2, 12, false, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 16, 12, 2, 24, true, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 10, 13, 3, 32, true, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){2, 17, 19, 2, 40, true, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 11, 23, 2, 80, true, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 5, 20, 1, 127, false, 1}, ATTENTION_RANDOM, true));
    OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){2, 3, 11, 2, 128, true, 1}, ATTENTION_RANDOM, true));
}

static void every_head_size(ops *o, const char *table)
{
    (void)table;
    for (int d = 1; d <= 128; d += 9)
        OPS_CHECK(o, 5e-7, check_attention(o, (attention_shape){1, 5, 7, 2, d, true, 1}, ATTENTION_RANDOM, true));
}

// A logit of 100 has a rounding error of some 1e-5, which the exponential makes a relative one.
static void logits_of_100(ops *o, const char *table)
{
    (void)table;
    attention_extremes(o, 9, 23, 2, 8, 1);
    attention_extremes(o, 13, 31, 2, 40, 1);
    OPS_CHECK(o, 4e-6, check_attention(o, (attention_shape){2, 13, 31, 2, 40, false, 1}, ATTENTION_WIDE, true));
    OPS_CHECK(o, 4e-6, check_attention(o, (attention_shape){1, 13, 31, 4, 8, false, 1}, ATTENTION_WIDE, true));
}

static void refuses_wide_heads(ops *o, const char *table)
{
    (void)table;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    assert_int_equal(check_attention(o, (attention_shape){1, 1, 2, 1, 129, false, 1}, ATTENTION_RANDOM, true).status, IDM_USAGE);
    context_clear_error(o->ctx);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

static void test_shapes(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, shapes);
    ops_fixture_each(IDM_MATH_EXACT, shapes);
}

static void test_head_sizes(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, every_head_size);
    ops_fixture_each(IDM_MATH_FAST, refuses_wide_heads);
}

static void test_extreme_logits(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, logits_of_100);
    ops_fixture_each(IDM_MATH_EXACT, logits_of_100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_head_sizes),
        cmocka_unit_test(test_extreme_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
