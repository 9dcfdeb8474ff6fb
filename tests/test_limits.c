// The network on devices that offer less than the one it runs on: small allocations, little local memory, small work-groups, no doubles.
#include "golden_fixture.h"

static void check_limits(const char *limits)
{
    static const struct {
        idm_variants variants;
        idm_math math;
        const char *name;
    } tables[] = {{IDM_VARIANTS_CPU, IDM_MATH_EXACT, "cpu"},
                  {IDM_VARIANTS_CPU, IDM_MATH_FAST, "cpu, fast"},
                  {IDM_VARIANTS_GPU, IDM_MATH_EXACT, "gpu"},
                  {IDM_VARIANTS_GENERIC, IDM_MATH_EXACT, "generic"}};
    golden g;
    golden_open(&g, "tiny");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const golden_setting s = {.variants = tables[i].variants, .gemm = IDM_GEMM_OWN, .math = tables[i].math, .limits = limits};
        char what[128];
        (void)snprintf(what, sizeof what, "%s, %s", limits, tables[i].name);
        golden_check(&g, &s, 2e-6, what);
    }
    golden_close(&g);
}

static void test_modest_device(void **state)
{
    (void)state;
    check_limits("max_alloc=64MiB,local=32KiB,workgroup=256");
}

static void test_least_device(void **state)
{
    (void)state;
    check_limits("local=16KiB,workgroup=64,fp64=0,fp16=0,subgroups=0");
}

static void test_many_slabs(void **state)
{
    (void)state;
    check_limits("max_alloc=1MiB");
    // 4.7 MB of weights in pieces of 1 MiB at most: the limit was in force, and they lie in several slabs
    golden g;
    golden_open(&g, "tiny");
    idm_session *session = golden_session(&g, &(golden_setting){.variants = IDM_VARIANTS_CPU, .limits = "max_alloc=1MiB"});
    context *ctx = session_context(session);
    assert_int_equal(context_device(ctx)->max_allocation, 1 << 20);
    assert_true(arena_held(ctx, POOL_WEIGHTS) > 4 << 20);
    idm_session_close(session);
    golden_close(&g);
}

static void test_too_little_for_one_tensor(void **state)
{
    (void)state;
    golden g;
    golden_open(&g, "tiny");
    idm_session *session = golden_session(&g, &(golden_setting){.variants = IDM_VARIANTS_CPU, .limits = "max_alloc=1MiB"});
    size_t bytes;
    double flops;
    assert_int_equal(idm_session_plan(session, 512, 512, 1, &bytes, &flops), IDM_FAILED);
    assert_non_null(strstr(idm_message(), "in one piece"));
    idm_session_close(session);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modest_device),
        cmocka_unit_test(test_least_device),
        cmocka_unit_test(test_many_slabs),
        cmocka_unit_test(test_too_little_for_one_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
