// Cutting long launches changes no bit.
#include "conv_fixture.h"
#include "golden_fixture.h"

#include <CL/cl.h>
#include <dlfcn.h>

static long launches; // counted in front of the OpenCL loader

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel_handle, cl_uint dimensions, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint event_count, const cl_event *events, cl_event *event)
{
    static cl_int (*enqueue)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                             const cl_event *, cl_event *);
    if (!enqueue) enqueue = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
    launches++;
    return enqueue(queue, kernel_handle, dimensions, offset, global, local, event_count, events, event);
}

// Twice in one session: the second time the kernels' speeds are known, and launches are cut to them.
static float *run_twice(const golden *g, idm_variants variants, double max_launch_ms, long *count)
{
    const golden_setting s = {.variants = variants, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT, .max_launch_ms = max_launch_ms};
    idm_session *session = golden_session(g, &s);
    const long before = launches;
    free(golden_reconstruct(g, session));
    float *out = golden_reconstruct(g, session);
    *count = launches - before;
    idm_session_close(session);
    return out;
}

static void check_golden(const char *name)
{
    static const idm_variants tables[] = {IDM_VARIANTS_CPU, IDM_VARIANTS_GPU, IDM_VARIANTS_GENERIC};
    static const double limits[] = {5, 0.1}; // ms; the last cuts nearly everything, whatever the device
    golden g;
    golden_open(&g, name);
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        long whole, cut = 0;
        float *want = run_twice(&g, tables[t], 100, &whole);
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            float *got = run_twice(&g, tables[t], limits[i], &cut);
            assert_memory_equal(got, want, g.count * sizeof *got);
            free(got);
        }
        assert_true(cut > whole);
        free(want);
    }
    golden_close(&g);
}

static void test_tiny(void **state)
{
    (void)state;
    check_golden("tiny");
}

static void test_sharp(void **state)
{
    (void)state;
    check_golden("sharp");
}

// Work of the published widths that takes longer than 5 ms.
static void test_published_widths(void **state)
{
    (void)state;
    static const idm_variants tables[] = {IDM_VARIANTS_CPU, IDM_VARIANTS_GPU};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        const conv_setting whole = {.variants = tables[t], .gemm = IDM_GEMM_OWN, .max_launch_ms = 100},
                           cut = {.variants = tables[t], .gemm = IDM_GEMM_OWN, .max_launch_ms = 5};
        conv_fixture_same_bits(&whole, &cut, 1, 16, 24, 320, 320, 9, 1, false);
        conv_fixture_same_bits(&whole, &cut, 1, 24, 32, 320, 2560, 1, 1, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_sharp),
        cmocka_unit_test(test_published_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
