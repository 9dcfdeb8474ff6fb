// Attention with the tiles of other GPUs than the one that runs the tests: Intel's, and those of devices with little local memory or small
// work-groups.
#include "ops_fixture.h"
#include "tune/check_attention.h"

typedef struct gpu {
    const char *vendor;
    uint64_t local_memory;
    size_t max_work_group;
} gpu;

static void open_as(ops_fixture *f, const gpu *g)
{
    const char *device = getenv("IDM_TEST_DEVICE");
    const context_options options = {0};
    device_info info;
    if (device_choose(device ? device : "auto", &info) != IDM_OK) fail_msg("%s", idm_message());
    if (g->local_memory > info.local_memory || g->max_work_group > info.max_work_group) skip();
    info.local_memory = g->local_memory;
    info.max_work_group = g->max_work_group;
    (void)snprintf(info.vendor, sizeof info.vendor, "%s", g->vendor);
    if (context_create(&info, &options, &f->ctx) != IDM_OK ||
        ops_create(f->ctx, IDM_VARIANTS_GPU, IDM_GEMM_OWN, IDM_MATH_FAST, 4096, &f->o) != IDM_OK)
        fail_msg("%s", idm_message());
}

// Forward, and backward in one pass and two.
static void attention_as(const gpu *g, int head_size)
{
    const attention_shape s = {2, 7, 11, 2, head_size, true, 1};
    ops_fixture f;
    open_as(&f, g);
    OPS_CHECK(&f.o, 5e-7, check_attention(&f.o, s, ATTENTION_RANDOM, true));
    for (int two = 0; two < 2; two++) {
        f.o.attention_two_pass = two;
        OPS_CHECK(&f.o, 1e-6, check_attention_backward(&f.o, s, ATTENTION_RANDOM, two == 1));
    }
    ops_fixture_close(&f);
}

static void test_intel(void **state)
{
    (void)state;
    const gpu large = {"Intel(R) Corporation", 64 << 10, 512};
    attention_as(&large, 40);
    attention_as(&large, 80);
}

static void test_intel_with_least(void **state)
{
    (void)state;
    const gpu little_memory = {"Intel(R) Corporation", 32 << 10, 256}, small_groups = {"Intel(R) Corporation", 32 << 10, 64};
    attention_as(&little_memory, 80);
    attention_as(&small_groups, 7);
    attention_as(&small_groups, 80);
}

static void test_others_with_least(void **state)
{
    (void)state;
    const gpu little_memory = {"a vendor", 32 << 10, 256}, small_groups = {"a vendor", 32 << 10, 64};
    attention_as(&little_memory, 80);
    attention_as(&small_groups, 40);
    attention_as(&small_groups, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intel),
        cmocka_unit_test(test_intel_with_least),
        cmocka_unit_test(test_others_with_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
