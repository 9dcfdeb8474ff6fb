// Memory pools: mirrors of the weights, and walking a pool slab by slab.
#include "ops_fixture.h"

static void open_context(const char *limits, context **ctx)
{
    const context_options options = {0};
    const char *device = getenv("IDM_TEST_DEVICE");
    device_info info;
    if (limits) assert_int_equal(setenv("IDM_LIMITS", limits, 1), 0);
    if (device_choose(device ? device : "auto", &info) != IDM_OK || context_create(&info, &options, ctx) != IDM_OK)
        fail_msg("%s", idm_message());
    assert_int_equal(unsetenv("IDM_LIMITS"), 0);
}

static context *open_described(uint64_t max_allocation)
{
    const device_info info = {.type = DEVICE_GPU, .global_memory = (uint64_t)64 << 30, .max_allocation = max_allocation};
    context *ctx = NULL;
    if (context_create(&info, &(context_options){0}, &ctx) != IDM_OK) fail_msg("%s", idm_message());
    return ctx;
}

// Whole numbers, so that 1 MiB slabs are left with ends that stay empty; some smaller than the alignment.
static const int counts[] = {1, 100000, 64, 65, 200000, 3, 262144, 7, 150000, 90001, 1};
enum { TENSORS = sizeof counts / sizeof *counts };

static void push_weights(context *ctx, tensor *weights)
{
    for (int i = 0; i < TENSORS; i++) weights[i] = arena_push(ctx, POOL_WEIGHTS, DTYPE_F32, 1, 1, 1, counts[i]);
}

static const pool mirrors[] = {POOL_GRADIENTS, POOL_MOMENT1, POOL_MOMENT2, POOL_EMA};
enum { MIRRORS = sizeof mirrors / sizeof *mirrors };

static void create_mirrors(context *ctx)
{
    for (int m = 0; m < MIRRORS; m++) arena_mirror_create(ctx, POOL_WEIGHTS, mirrors[m]);
}

static void release_mirrors(context *ctx)
{
    for (int m = 0; m < MIRRORS; m++) arena_release(ctx, mirrors[m], (arena_mark){0, 0});
}

static float *read_tensor(context *ctx, tensor t)
{
    float *values = malloc(tensor_bytes(t));
    assert_non_null(values);
    if (context_read(ctx, t, values) != IDM_OK) fail_msg("%s", idm_message());
    return values;
}

static void fill(context *ctx, tensor t, float value)
{
    float *values = malloc(tensor_bytes(t));
    assert_non_null(values);
    for (int i = 0; i < t.c; i++) values[i] = value;
    context_write(ctx, t, values);
    free(values);
}

// The pool, walked by its slabs, holds i + 1 as often as tensor i has values, and otherwise zeros in the gaps.
static void check_slabs(context *ctx, pool p)
{
    size_t found[TENSORS + 1] = {0};
    const int slabs = arena_slabs(ctx, p);
    for (int i = 0; i < slabs; i++) {
        const tensor slab = arena_slab(ctx, p, i);
        float *values = read_tensor(ctx, slab);
        for (int k = 0; k < slab.c; k++) {
            const int which = (int)values[k];
            assert_true(which >= 0 && which <= TENSORS && values[k] == (float)which);
            found[which]++;
        }
        free(values);
    }
    for (int i = 0; i < TENSORS; i++) assert_int_equal(found[i + 1], counts[i]);
    assert_true(found[0] > 0 && found[0] < 64 * TENSORS); // the gaps
}

static void test_mirror(void **state)
{
    (void)state;
    context *ctx = NULL;
    tensor weights[TENSORS];
    open_context("max_alloc=1MiB", &ctx);
    push_weights(ctx, weights);
    create_mirrors(ctx);
    assert_true(arena_slabs(ctx, POOL_WEIGHTS) >= 3);
    for (int i = 0; i < TENSORS; i++) fill(ctx, weights[i], (float)(i + 1));
    check_slabs(ctx, POOL_WEIGHTS);
    for (int m = 0; m < MIRRORS; m++) {
        assert_int_equal(arena_slabs(ctx, mirrors[m]), arena_slabs(ctx, POOL_WEIGHTS));
        for (int i = 0; i < arena_slabs(ctx, POOL_WEIGHTS); i++) {
            const tensor w = arena_slab(ctx, POOL_WEIGHTS, i), t = arena_slab(ctx, mirrors[m], i);
            assert_int_equal(w.c, t.c);
            float *values = read_tensor(ctx, t);
            for (int k = 0; k < t.c; k++) assert_true(values[k] == 0);
            free(values);
        }
        for (int i = 0; i < TENSORS; i++) {
            const tensor t = arena_mirror(ctx, weights[i], POOL_WEIGHTS, mirrors[m]);
            assert_int_equal(tensor_elements(t), counts[i]);
            assert_true(t.offset == weights[i].offset && t.buffer != weights[i].buffer);
            fill(ctx, t, (float)(i + 1));
        }
        check_slabs(ctx, mirrors[m]);
    }
    check_slabs(ctx, POOL_WEIGHTS);
    assert_int_equal(context_finish(ctx), IDM_OK);
    (void)arena_mirror(ctx, weights[0], POOL_WEIGHTS, POOL_CLBLAST);
    assert_int_equal(context_finish(ctx), IDM_FAILED);
    context_destroy(ctx);
}

// What a plan says is what is allocated, not more, and zeros even where the memory was used before.
static void test_mirror_in_a_plan(void **state)
{
    (void)state;
    context *ctx = NULL;
    tensor weights[TENSORS];
    open_context("max_alloc=1MiB", &ctx);
    context_plan_begin(ctx);
    push_weights(ctx, weights);
    create_mirrors(ctx);
    const size_t planned = arena_peak(ctx, POOL_WEIGHTS);
    assert_true(planned > 800000 * sizeof(float));
    for (int m = 0; m < MIRRORS; m++) {
        assert_int_equal(arena_held(ctx, mirrors[m]), 0);
        assert_int_equal(arena_peak(ctx, mirrors[m]), planned);
    }
    arena_release(ctx, POOL_WEIGHTS, (arena_mark){0, 0});
    release_mirrors(ctx);
    assert_int_equal(context_plan_commit(ctx), IDM_OK);
    for (int round = 0; round < 2; round++) {
        push_weights(ctx, weights);
        create_mirrors(ctx);
        for (int m = 0; m < MIRRORS; m++) {
            assert_int_equal(arena_held(ctx, mirrors[m]), planned);
            for (int i = 0; i < TENSORS; i++) {
                const tensor t = arena_mirror(ctx, weights[i], POOL_WEIGHTS, mirrors[m]);
                float *values = read_tensor(ctx, t);
                for (int k = 0; k < t.c; k++) assert_true(values[k] == 0);
                free(values);
                fill(ctx, t, (float)(i + 1));
            }
            check_slabs(ctx, mirrors[m]);
        }
        assert_int_equal(arena_held(ctx, POOL_WEIGHTS), planned);
        arena_release(ctx, POOL_WEIGHTS, (arena_mark){0, 0});
        release_mirrors(ctx);
    }
    context_destroy(ctx);
}

static void test_mirror_made_before_a_plan_stays(void **state)
{
    (void)state;
    context *ctx = NULL;
    tensor weights[TENSORS];
    open_context("max_alloc=1MiB", &ctx);
    push_weights(ctx, weights);
    create_mirrors(ctx);
    const tensor t = arena_mirror(ctx, weights[6], POOL_WEIGHTS, POOL_MOMENT1);
    const size_t held = arena_held(ctx, POOL_MOMENT1);
    fill(ctx, t, 5);
    context_plan_begin(ctx);
    (void)arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, 1000);
    arena_release(ctx, POOL_ACTIVATIONS, (arena_mark){0, 0});
    assert_int_equal(context_plan_commit(ctx), IDM_OK);
    assert_int_equal(arena_held(ctx, POOL_MOMENT1), held);
    float *values = read_tensor(ctx, t);
    for (int i = 0; i < t.c; i++) assert_true(values[i] == 5);
    free(values);
    context_destroy(ctx);
}

// Weights beyond 2^31 values lie in several slabs, each a tensor, even where one allocation could hold them.
static void test_large_slabs(void **state)
{
    (void)state;
    context *ctx = open_described((uint64_t)32 << 30);
    enum { LARGE = 1 << 30 };
    for (int i = 0; i < 3; i++) (void)arena_push(ctx, POOL_WEIGHTS, DTYPE_F32, 1, 1, 1 << 10, LARGE >> 10);
    arena_mirror_create(ctx, POOL_WEIGHTS, POOL_GRADIENTS);
    assert_int_equal(context_status(ctx), IDM_OK);
    assert_int_equal(arena_slabs(ctx, POOL_GRADIENTS), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(arena_slab(ctx, POOL_WEIGHTS, i).c, LARGE);
        assert_int_equal(arena_slab(ctx, POOL_GRADIENTS, i).c, LARGE);
    }
    assert_true(arena_peak(ctx, POOL_GRADIENTS) == (size_t)3 * LARGE * sizeof(float));
    (void)arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1 << 10, LARGE >> 10);
    (void)arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1 << 10, LARGE >> 10);
    assert_int_equal(arena_slabs(ctx, POOL_ACTIVATIONS), 1); // only weights are held to it
    context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_mirror_in_a_plan),
        cmocka_unit_test(test_mirror_made_before_a_plan_stays),
        cmocka_unit_test(test_large_slabs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
