// Cutting long launches changes no bit.
#include "conv_fixture.h"
#include "golden_fixture.h"
#include "ops/adam.h"
#include "ops/coupling.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

#include <CL/cl.h>
#include <dlfcn.h>
#include <math.h>

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
static float *run_twice(const golden *g, idm_variants variants, idm_math math, double max_launch_ms, long *count)
{
    const golden_setting s = {.variants = variants, .gemm = IDM_GEMM_OWN, .math = math, .max_launch_ms = max_launch_ms};
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
    static const struct {
        idm_variants variants;
        idm_math math;
    } tables[] = {{IDM_VARIANTS_CPU, IDM_MATH_EXACT},
                  {IDM_VARIANTS_CPU, IDM_MATH_FAST},
                  {IDM_VARIANTS_GPU, IDM_MATH_EXACT},
                  {IDM_VARIANTS_GENERIC, IDM_MATH_EXACT}};
    static const double limits[] = {5, 0.1}; // ms; the last cuts nearly everything, whatever the device
    golden g;
    golden_open(&g, name);
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        long whole, cut = 0;
        float *want = run_twice(&g, tables[t].variants, tables[t].math, 100, &whole);
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            float *got = run_twice(&g, tables[t].variants, tables[t].math, limits[i], &cut);
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
    const conv_setting whole = {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .max_launch_ms = 100, .fast = true},
                       cut = {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .max_launch_ms = 5, .fast = true};
    conv_fixture_same_bits(&whole, &cut, 1, 32, 48, 320, 320, 9, 1, false);
}

// ---- training operations

enum { SIDE = 33, CHANNELS = 96, ELEMENTS = 2 * SIDE * SIDE * CHANNELS, OUTPUTS = 8 };

static tensor make(ops *o, uint64_t seed, int side, int c)
{
    float *values = check_values((size_t)2 * side * side * c, seed, 1);
    assert_non_null(values);
    const tensor t = check_upload(o, values, 2, side, side, c);
    free(values);
    return t;
}

// All of them, on values that every call makes alike; `written`: what they leave.
static void run_training_operations(ops *o, tensor written[OUTPUTS])
{
    const tensor x = make(o, 1, SIDE, CHANNELS), dy = make(o, 2, SIDE, CHANNELS), wide = make(o, 3, SIDE, 2 * CHANNELS);
    const tensor gamma = make(o, 4, 1, CHANNELS), dgamma = make(o, 5, 1, CHANNELS), sum = make(o, 6, 1, 1);
    const tensor dx = make(o, 7, SIDE, CHANNELS), w = make(o, 8, SIDE, CHANNELS), dwide = make(o, 9, SIDE, 2 * CHANNELS);
    const tensor m = make(o, 10, SIDE, CHANNELS), v = make(o, 11, SIDE, CHANNELS), state = adam_push_state(o, POOL_ACTIVATIONS);
    const adam_state first = adam_initial_state(true);
    const adam_settings settings = adam_defaults();
    context_write(o->ctx, state, &first);
    context_fill_zero(o->ctx, v);

    group_norm_backward(o, x, gamma, gamma, 8, 1e-5f, true, dy, dx, dx, dgamma, dgamma);
    layer_norm_backward(o, x, gamma, 1e-5f, dy, dx, dx, dgamma, dgamma);
    geglu_backward(o, wide, dx, dwide);
    channels_slice(o, dwide, 7, true, dx);
    add(o, dx, x, dx);
    dot_add(o, dx, dy, sum);
    coupling_backward(o, x, dx, gamma, dy, w, dx, sum);
    coupling_forward(o, x, w, gamma, w);
    coupling_invert(o, dy, w, gamma, w);
    l1_loss(o, w, x, 1.0f / ELEMENTS, adam_scale(state), sum, dx);
    adam_begin(o, dx, state);
    adam_prepare(o, &settings, 1e-3, state);
    adam_update(o, &settings, state, dx, w, m, v, NO_TENSOR);
    adam_end(o, &settings, state);
    const tensor all[OUTPUTS] = {dx, w, dwide, dgamma, sum, m, v, state};
    memcpy(written, all, sizeof all);
}

// What the second run in a context leaves, when the kernels' speeds are known, one tensor after the other; the caller's to free().
static float *training_values(idm_variants variants, double max_launch_ms, size_t *values, long *count)
{
    const conv_setting setting = {.variants = variants, .gemm = IDM_GEMM_OWN, .max_launch_ms = max_launch_ms};
    ops_fixture f;
    tensor written[OUTPUTS];
    conv_fixture_open(&f, &setting);
    const arena_mark mark = arena_save(f.ctx, POOL_ACTIVATIONS);
    run_training_operations(&f.o, written);
    (void)context_finish(f.ctx);
    arena_release(f.ctx, POOL_ACTIVATIONS, mark);
    const long before = launches;
    run_training_operations(&f.o, written);
    if (context_finish(f.ctx) != IDM_OK) fail_msg("%s", idm_message());
    *count = launches - before;
    *values = 0;
    for (int i = 0; i < OUTPUTS; i++) *values += tensor_elements(written[i]);
    float *all = malloc(*values * sizeof *all), *to = all;
    assert_non_null(all);
    for (int i = 0; i < OUTPUTS; to += tensor_elements(written[i]), i++) assert_int_equal(context_read(f.ctx, written[i], to), IDM_OK);
    ops_fixture_close(&f);
    return all;
}

static void test_training_operations(void **state)
{
    (void)state;
    static const idm_variants tables[] = {IDM_VARIANTS_CPU, IDM_VARIANTS_GPU, IDM_VARIANTS_GENERIC};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        size_t values;
        long whole, cut;
        float *want = training_values(tables[t], 0, &values, &whole), *got = training_values(tables[t], 0.05, &values, &cut);
        for (size_t i = 0; i < values - ADAM_STATE_WORDS; i++) assert_true(isfinite(want[i]));
        assert_memory_equal(got, want, values * sizeof *got);
        assert_true(cut > 2 * whole);
        free(got);
        free(want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_sharp),
        cmocka_unit_test(test_published_widths),
        cmocka_unit_test(test_training_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
