#include "ops/ddim.h"
#include "ops/injector.h"
#include "ops_fixture.h"
#include "tune/check_sensing.h"
#include <math.h>

static void injector(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){4, 4, 16, 3}), 1, 4, 2, false));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){4, 4, 16, 3}), 1, 16, 4, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){12, 20, 16, 5}), 2, 12, 2, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){12, 20, 16, 5}), 3, 48, 4, false));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){8, 4, 16, 5}), 1, 5, 1, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){32, 48, 256, 26}), 2, 32, 2, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){32, 48, 256, 26}), 2, 64, 4, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){64, 32, 1024, 103}), 1, 320, 2, true));
    OPS_CHECK(o, 5e-7, check_injector(o, ((check_operator){64, 32, 1024, 103}), 1, 640, 4, false));
}

static void ddim(ops *o, const char *table)
{
    (void)table;
    OPS_CHECK(o, 5e-7, check_ddim(o, ((check_operator){2, 2, 4, 1}), 1, 1, false));
    OPS_CHECK(o, 5e-7, check_ddim(o, ((check_operator){12, 20, 16, 5}), 3, 3, true));
    OPS_CHECK(o, 5e-7, check_ddim(o, ((check_operator){32, 48, 256, 26}), 2, 4, false));
}

static void injector_backward_checks(ops *o, const char *table)
{
    (void)table;
    for (int in_place = 0; in_place < 2; in_place++) {
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){4, 4, 16, 3}), 1, 4, 2, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){4, 4, 16, 3}), 1, 16, 4, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){12, 20, 16, 5}), 3, 20, 2, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){12, 20, 16, 5}), 2, 48, 4, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){8, 4, 16, 5}), 3, 5, 1, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){8, 20, 16, 5}), 1, 16, 1, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){32, 48, 256, 26}), 2, 32, 2, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){64, 32, 1024, 103}), 1, 320, 2, in_place));
        OPS_CHECK(o, 6e-7, check_injector_backward(o, ((check_operator){64, 32, 1024, 103}), 1, 640, 4, in_place));
        OPS_CHECK(o, 1e-6, check_injector_backward(o, ((check_operator){256, 288, 64, 7}), 2, 8, 2, in_place)); // long chunks
    }
}

static void ddim_backward_checks(ops *o, const char *table)
{
    (void)table;
    for (int in_place = 0; in_place < 2; in_place++) {
        OPS_CHECK(o, 2e-6, check_ddim_backward(o, ((check_operator){2, 2, 4, 1}), 1, 1, in_place));
        OPS_CHECK(o, 6e-7, check_ddim_backward(o, ((check_operator){4, 4, 16, 3}), 1, 2, in_place));
        OPS_CHECK(o, 6e-7, check_ddim_backward(o, ((check_operator){12, 20, 16, 5}), 3, 3, in_place));
        OPS_CHECK(o, 6e-7, check_ddim_backward(o, ((check_operator){32, 48, 256, 26}), 2, 4, in_place));
        OPS_CHECK(o, 6e-7, check_ddim_backward(o, ((check_operator){256, 288, 64, 7}), 2, 3, in_place));
    }
}

enum { CUT_H = 24, CUT_W = 40, CUT_C = 20, CUT_N = 2, CUT_PIXELS = 4 * CUT_H * CUT_W };

// All that the two backward passes write, pushed one behind the other; the caller's to free().
static float *backward_values(idm_variants variants, double max_launch_ms, size_t *count)
{
    const char *device = getenv("IDM_TEST_DEVICE");
    device_info info;
    context *ctx = NULL;
    ops o;
    sensing s;
    if (device_choose(device ? device : "auto", &info) != IDM_OK ||
        context_create(&info, &(context_options){.max_launch_ms = max_launch_ms}, &ctx) != IDM_OK ||
        ops_create(ctx, variants, IDM_GEMM_OWN, IDM_MATH_EXACT, 4096, &o) != IDM_OK)
        fail_msg("%s", idm_message());
    float *random = check_values((size_t)CUT_N * CUT_PIXELS * CUT_C, 1, 0.5f), *values = NULL;
    int32_t *perm = malloc(CUT_PIXELS * sizeof *perm);
    assert_true(random && perm);
    for (int i = 0; i < CUT_PIXELS; i++) perm[i] = (int32_t)((i * 7 + 3) % CUT_PIXELS);
    sensing_create(&o, random, 64, 7, perm, 2 * CUT_H, 2 * CUT_W, &s);
    const float bars[] = {1, 0.5f, 0.25f};
    const tensor x = check_upload(&o, random, CUT_N, CUT_H, CUT_W, CUT_C), plane = check_upload(&o, random, CUT_N, 2 * CUT_H, 2 * CUT_W, 1);
    const tensor noise = tensor_shaped(plane, CUT_N, CUT_H, CUT_W, 4), bar = check_upload(&o, bars, 1, 1, 1, 3);
    const tensor w = check_upload(&o, random + 9, 1, 1, 3, CUT_C);
    // twice: the second time the kernels' speeds are known, and launches are cut to them
    for (int round = 0; round < 2; round++) {
        free(values);
        const tensor dx = check_output(&o, CUT_N, CUT_H, CUT_W, CUT_C), g = check_upload(&o, random, 1, 1, 5 * CUT_C, 1);
        injector_backward(&o, &s, x, 2, w, w, w, plane, x, dx, tensor_row_range(g, 0, CUT_C), tensor_row_range(g, CUT_C, 1),
                          tensor_row_range(g, CUT_C + 1, 3 * CUT_C), tensor_row_range(g, 4 * CUT_C + 1, CUT_C / 4));
        const tensor dplane = check_output(&o, CUT_N, 2 * CUT_H, 2 * CUT_W, 1), de = check_output(&o, CUT_N, CUT_H, CUT_W, 4);
        const tensor dbar = check_upload(&o, bars, 1, 1, 1, 3), outputs[] = {dx, g, dplane, de, dbar};
        ddim_step_backward(&o, &s, plane, noise, bar, 2, plane, plane, dplane, de, dbar);
        ddim_start_backward(&o, plane, plane, bar, 2, dbar);
        *count = 0;
        for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) *count += tensor_elements(outputs[i]);
        values = malloc(*count * sizeof *values);
        assert_non_null(values);
        size_t at = 0;
        for (size_t i = 0; i < sizeof outputs / sizeof *outputs; at += tensor_elements(outputs[i++]))
            if (context_read(ctx, outputs[i], values + at) != IDM_OK) fail_msg("%s", idm_message());
    }
    context_destroy(ctx);
    free(random);
    free(perm);
    return values;
}

// Neither another run nor cutting launches changes a bit.
static void test_backward_bits(void **state)
{
    (void)state;
    static const idm_variants tables[] = {IDM_VARIANTS_CPU, IDM_VARIANTS_GPU, IDM_VARIANTS_GENERIC};
    static const double limits[] = {0, 1e-4}; // ms
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        size_t count, again;
        float *want = backward_values(tables[t], 0, &count);
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            float *got = backward_values(tables[t], limits[i], &again);
            assert_int_equal(count, again);
            assert_memory_equal(got, want, count * sizeof *got);
            free(got);
        }
        free(want);
    }
}

// alpha_bar outside (0, 1) has no square root; a NaN in a picture is found, a clamped value is not.
static void ddim_nan(ops *o, const char *table)
{
    const float phi[] = {0.5f, 0.5f, 0.5f, 0.5f}, plane[] = {1, 2, 3, 4}, alpha[] = {1.25f};
    const int32_t perm[] = {2, 0, 3, 1};
    float got[4];
    sensing s;
    sensing_create(o, phi, 4, 1, perm, 2, 2, &s);
    const tensor x = check_upload(o, plane, 1, 2, 2, 1), e = check_upload(o, plane, 1, 1, 1, 4), y = check_upload(o, plane, 1, 2, 2, 1);
    const tensor alpha_bar = check_output(o, 1, 1, 1, 2);
    const epilogue none = {0};
    alpha_bar_forward(o, check_upload(o, alpha, 1, 1, 1, 1), alpha_bar);
    ddim_step_forward(o, &s, x, e, alpha_bar, 1, x, &none, y);
    assert_int_equal(context_read(o->ctx, y, got), IDM_OK);
    for (int i = 0; i < 4; i++)
        if (!isnan(got[i])) fail_msg("%s: value %d is %g, not NaN", table, i, (double)got[i]);
}

static void test_injector(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, injector);
}

static void test_ddim(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, ddim);
}

static void test_injector_backward(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, injector_backward_checks);
}

static void test_ddim_backward(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, ddim_backward_checks);
}

static void test_ddim_nan(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, ddim_nan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_injector),      cmocka_unit_test(test_ddim),          cmocka_unit_test(test_injector_backward),
        cmocka_unit_test(test_ddim_backward), cmocka_unit_test(test_backward_bits), cmocka_unit_test(test_ddim_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
