// The network on devices that offer less than the one it runs on: small allocations, little local memory, small work-groups, no doubles.
//
// Waves of any size need no limit: no kernel uses sub-groups or counts on items of a wave going together. PoCL takes each item by itself up
// to the next barrier, a wave of one, which would show it.
#include "golden_fixture.h"
#include "tune/selftest.h"

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

// Registers of AVX2 and of SSE, where the device's own are wider.
static void test_narrow_registers(void **state)
{
    static const char *const limits[] = {"vector=8", "vector=4,max_alloc=128MiB"};
    (void)state;
    golden g;
    golden_open(&g, "tiny");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        golden_check(&g, &(golden_setting){.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .limits = limits[i]}, 2e-6, limits[i]);
    golden_close(&g);
}

typedef struct tally {
    int checks;
    double limit;
} tally;

static bool add_row(void *user, const selftest_row *row)
{
    tally *t = user;
    t->checks++;
    if (!(row->error <= t->limit)) fail_msg("beyond 4 GiB: %s %s %s: error %.2e", row->op, row->variant, row->shape, row->error);
    return true;
}

// Every operation on tensors of a slab of 5 GiB that begin beyond its 4th: their places do not fit 32 bits. Most of the slab is never
// touched, so it costs no memory where pages come with their first use.
static void test_beyond_4_gib(void **state)
{
    static const idm_variants tables[] = {IDM_VARIANTS_CPU, IDM_VARIANTS_GPU, IDM_VARIANTS_GENERIC};
    static const model_sizes sizes = {{16, 32}, 2, 8, 1, 8};
    enum { MIB_FLOATS = 1 << 18 };
    const char *selector = getenv("IDM_TEST_DEVICE");
    device_info device;
    (void)state;
    if (device_choose(selector ? selector : "auto", &device) != IDM_OK) fail_msg("%s", idm_message());
    if (device.max_allocation < (uint64_t)5 << 30 || device.global_memory < (uint64_t)6 << 30) {
        print_message("skipped: '%s' allocates %.1f GiB at most\n", device.name, (double)device.max_allocation / 1073741824);
        skip();
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        context *ctx;
        ops o;
        if (context_create(&device, &(context_options){0}, &ctx) != IDM_OK ||
            ops_create(ctx, tables[i], IDM_GEMM_OWN, IDM_MATH_EXACT, selftest_max_channels(&sizes), &o) != IDM_OK)
            fail_msg("%s", idm_message());
        const arena_mark start = arena_save(ctx, POOL_ACTIVATIONS);
        (void)arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 5 << 10, MIB_FLOATS);
        arena_release(ctx, POOL_ACTIVATIONS, start);
        (void)arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 4100, MIB_FLOATS);
        const arena_mark behind = arena_save(ctx, POOL_ACTIVATIONS);
        assert_true(arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, 1).offset > UINT32_MAX);
        arena_release(ctx, POOL_ACTIVATIONS, behind);
        tally t = {.limit = selftest_tolerance(&o)};
        if (selftest_run(&o, &sizes, 0.25, true, add_row, &t) != IDM_OK) fail_msg("%s", idm_message());
        assert_true(t.checks > 20);
        assert_int_equal(arena_slabs(ctx, POOL_ACTIVATIONS), 1);
        context_destroy(ctx);
    }
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
        cmocka_unit_test(test_modest_device),    cmocka_unit_test(test_least_device), cmocka_unit_test(test_many_slabs),
        cmocka_unit_test(test_narrow_registers), cmocka_unit_test(test_beyond_4_gib), cmocka_unit_test(test_too_little_for_one_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
