// For tests that run the whole network: a golden of tests/data with its weights, a session under some setting, and the error of what comes
// out. IDM_TEST_DEVICE chooses the device (default "auto").
#ifndef TESTS_GOLDEN_FIXTURE_H
#define TESTS_GOLDEN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "eval/camera.h"
#include "eval/session.h"
#include "synthetic.h"
#include <stdlib.h>
#include <unistd.h>

typedef struct golden {
    measurement m;
    size_t count;     // values of out
    float *out;       // the truth; null where the golden has none
    char weights[64]; // a temporary file
} golden;

typedef struct golden_setting {
    idm_variants variants;
    idm_gemm gemm;
    idm_math math;
    double max_launch_ms; // 0: never cut
    const char *limits;   // as IDM_LIMITS, or null
    idm_matrix matrix;
} golden_setting;

static inline double golden_number(const tensor_file *file, const char *key)
{
    const char *text = tensor_file_metadata(file, key);
    return text ? strtod(text, NULL) : 0;
}

static inline void golden_make_weights(golden *g, const tensor_file *file)
{
    weights *w;
    model_sizes sizes = {{0, 0},
                         (int)golden_number(file, "heads"),
                         (int)golden_number(file, "groups"),
                         (int)golden_number(file, "steps"),
                         (int)golden_number(file, "block_size")};
    assert_int_equal(sscanf(tensor_file_metadata(file, "channels"), "%d,%d", &sizes.channels[0], &sizes.channels[1]), 2);
    assert_int_equal(weights_allocate(&sizes, &w), IDM_OK);
    w->sizes = sizes;
    synthetic_fill_with(w, (int)golden_number(file, "weights_seed"),
                        (synthetic_options){golden_number(file, "qk_gain"), golden_number(file, "v")});
    (void)snprintf(g->weights, sizeof g->weights, "/tmp/idm-test-weights-XXXXXX.safetensors");
    const int descriptor = mkstemps(g->weights, (int)strlen(".safetensors"));
    assert_true(descriptor >= 0);
    (void)close(descriptor);
    if (weights_save(w, g->weights) != IDM_OK) fail_msg("%s", idm_message());
    weights_free(w);
}

// y as the truth began from it, in double precision. The loss has kinks: a pixel whose residual changes its sign by a rounding of y moves
// the losses of later steps by 1e-4.
static inline void golden_measure(golden *g)
{
    measurement *m = &g->m;
    const idm_operator op = camera_operator_of(m);
    const size_t pixels = (size_t)m->height * (size_t)m->width, block = (size_t)m->block * (size_t)m->block;
    m->y = malloc((size_t)m->count * pixels / block * (size_t)m->measurements * sizeof *m->y);
    assert_non_null(m->y);
    idm_measure(&op, m->x, m->count, m->y);
}

static inline void golden_open(golden *g, const char *name)
{
    char path[128];
    tensor_file *file;
    (void)snprintf(path, sizeof path, "data/golden_%s.safetensors", name);
    *g = (golden){0};
    if (tensor_file_open(path, &file) != IDM_OK || measurement_read(file, NULL, false, &g->m) != IDM_OK) fail_msg("%s", idm_message());
    if (!g->m.y) golden_measure(g);
    const tensor_entry *out = tensor_file_find(file, "out");
    if (out) {
        g->count = out->count;
        g->out = malloc(out->count * sizeof *g->out);
        assert_non_null(g->out);
        assert_int_equal(tensor_file_read_f32(file, out, g->out), IDM_OK);
    }
    golden_make_weights(g, file);
    tensor_file_close(file);
}

static inline void golden_close(golden *g)
{
    (void)unlink(g->weights);
    measurement_free(&g->m);
    free(g->out);
}

// A session with the golden's weights. The caller's to idm_session_close().
static inline idm_session *golden_session(const golden *g, const golden_setting *s)
{
    const char *device = getenv("IDM_TEST_DEVICE"), *before = getenv("IDM_LIMITS");
    char *saved = before ? strdup(before) : NULL;
    idm_config *config = malloc(sizeof *config);
    idm_session *session;
    assert_non_null(config);
    idm_config_defaults(config);
    (void)snprintf(config->model.weights, sizeof config->model.weights, "%s", g->weights);
    if (device) (void)snprintf(config->device.device, sizeof config->device.device, "%s", device);
    config->device.variants = s->variants;
    config->device.gemm = s->gemm;
    config->device.math = s->math;
    config->device.matrix = s->matrix;
    config->device.max_launch_ms = s->max_launch_ms;
    if (s->limits) (void)setenv("IDM_LIMITS", s->limits, 1);
    const idm_status status = idm_session_open(config, &session);
    if (saved) (void)setenv("IDM_LIMITS", saved, 1);
    else (void)unsetenv("IDM_LIMITS");
    free(saved);
    free(config);
    if (status != IDM_OK) fail_msg("%s", idm_message());
    return session;
}

// What the session makes of the golden's measurements; the caller's to free().
static inline float *golden_reconstruct(const golden *g, idm_session *session)
{
    const idm_operator op = camera_operator_of(&g->m);
    float *out = malloc(g->count * sizeof *out);
    assert_non_null(out);
    if (idm_session_reconstruct(session, &op, g->m.y, g->m.count, out, NULL, NULL) != IDM_OK) fail_msg("%s", idm_message());
    return out;
}

static inline float *golden_run(const golden *g, const golden_setting *s)
{
    idm_session *session = golden_session(g, s);
    float *out = golden_reconstruct(g, session);
    idm_session_close(session);
    return out;
}

// || out - truth || / || truth ||
static inline double golden_error(const golden *g, const float *out)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < g->count; i++) {
        difference += ((double)out[i] - g->out[i]) * ((double)out[i] - g->out[i]);
        norm += (double)g->out[i] * g->out[i];
    }
    return sqrt(difference / norm);
}

// Fails the test unless the error is at most `tolerance`. IDM_TEST_ERRORS=1 prints every error.
static inline void golden_check(const golden *g, const golden_setting *s, double tolerance, const char *what)
{
    float *out = golden_run(g, s);
    const double error = golden_error(g, out);
    free(out);
    if (getenv("IDM_TEST_ERRORS")) print_message("%.2e (%.0e) %s\n", error, tolerance, what);
    if (!(error <= tolerance)) fail_msg("%s: error %.3e above %.3e", what, error, tolerance);
}

#endif
