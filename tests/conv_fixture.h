// What the tests of convolution and linear layers share: a context with its own launch limit, narrowed device and choice of CLBlast, and a
// comparison of bits between two of them.
#ifndef TESTS_CONV_FIXTURE_H
#define TESTS_CONV_FIXTURE_H

#include "ops_fixture.h"

#include "tune/check_conv.h"
#include "tune/check_conv_backward.h"
#include <string.h>

typedef struct conv_setting {
    idm_variants variants;
    idm_gemm gemm;
    double max_launch_ms;
    const char *limits; // as IDM_LIMITS, or null
    bool fast;          // math = fast; else exact
} conv_setting;

static inline void conv_fixture_open(ops_fixture *f, const conv_setting *s)
{
    const char *device = getenv("IDM_TEST_DEVICE"), *before = getenv("IDM_LIMITS");
    char *saved = before ? strdup(before) : NULL;
    const context_options options = {.max_launch_ms = s->max_launch_ms};
    device_info info;
    if (s->limits) (void)setenv("IDM_LIMITS", s->limits, 1);
    const idm_status status = device_choose(device ? device : "auto", &info);
    if (saved) (void)setenv("IDM_LIMITS", saved, 1);
    else (void)unsetenv("IDM_LIMITS");
    free(saved);
    if (status != IDM_OK || context_create(&info, &options, &f->ctx) != IDM_OK ||
        ops_create(f->ctx, s->variants, s->gemm, s->fast ? IDM_MATH_FAST : IDM_MATH_EXACT, 4096, &f->o) != IDM_OK)
        fail_msg("%s", idm_message());
}

// check_conv_values or check_conv_backward_values.
typedef float *conv_values(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts, size_t *count);

// The results under a setting; the caller's to free().
static inline float *conv_fixture_values(conv_values *run, const conv_setting *s, int n, int h, int w, int in, int out, int taps,
                                         int stride, bool upsample, size_t *count)
{
    ops_fixture f;
    conv_fixture_open(&f, s);
    const int parts = CHECK_BIAS | CHECK_COUPLING;
    // twice: the second time the kernel's speed is known, and the launch is cut to that
    free(run(&f.o, n, h, w, in, out, taps, stride, upsample, parts, count));
    float *values = run(&f.o, n, h, w, in, out, taps, stride, upsample, parts, count);
    if (!values) fail_msg("%s", idm_message());
    ops_fixture_close(&f);
    return values;
}

static inline void conv_fixture_compare_bits(conv_values *run, const conv_setting *a, const conv_setting *b, int n, int h, int w, int in,
                                             int out, int taps, int stride, bool upsample)
{
    size_t count_a, count_b;
    float *values_a = conv_fixture_values(run, a, n, h, w, in, out, taps, stride, upsample, &count_a);
    float *values_b = conv_fixture_values(run, b, n, h, w, in, out, taps, stride, upsample, &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(values_a, values_b, count_a * sizeof *values_a);
    free(values_a);
    free(values_b);
}

static inline void conv_fixture_same_bits(const conv_setting *a, const conv_setting *b, int n, int h, int w, int in, int out, int taps,
                                          int stride, bool upsample)
{
    conv_fixture_compare_bits(check_conv_values, a, b, n, h, w, in, out, taps, stride, upsample);
}

static inline void conv_fixture_same_gradient_bits(const conv_setting *a, const conv_setting *b, int n, int h, int w, int in, int out,
                                                   int taps, int stride, bool upsample)
{
    conv_fixture_compare_bits(check_conv_backward_values, a, b, n, h, w, in, out, taps, stride, upsample);
}

#endif
