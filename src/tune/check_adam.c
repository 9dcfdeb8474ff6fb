#include "tune/check_adam.h"

#include "ops/adam.h"
#include "oracle/oracle_adam.h"
#include "tune/scratch.h"
#include <math.h>

enum { ARRAYS = 3 };

// All arrays one after the other on the host.
typedef struct adam_run {
    const adam_problem *problem;
    adam_settings settings;
    size_t count;
    float *g, *start;
    double *w, *m, *v, *average;
    tensor state, g_tensor[ARRAYS], w_tensor[ARRAYS], m_tensor[ARRAYS], v_tensor[ARRAYS], average_tensor[ARRAYS];
} adam_run;

static bool prepare(ops *o, scratch *s, adam_run *r)
{
    for (int i = 0; i < ARRAYS; i++) r->count += r->problem->counts[i];
    r->g = scratch_values(s, r->count, 1, 0);
    r->start = scratch_values(s, r->count, 2, 4 * (float)r->problem->learning_rate); // no more than some steps, so that these show
    r->w = scratch_doubles(s, r->count);
    r->m = scratch_doubles(s, r->count);
    r->v = scratch_doubles(s, r->count);
    r->average = scratch_doubles(s, r->count);
    if (s->failed) return false;
    for (size_t i = 0; i < r->count; i++) r->w[i] = r->average[i] = r->start[i];
    const adam_state first = adam_initial_state(r->settings.scaling);
    r->state = adam_push_state(o, POOL_ACTIVATIONS);
    context_write(o->ctx, r->state, &first);
    size_t at = 0;
    for (int i = 0; i < ARRAYS; i++) {
        const size_t count = r->problem->counts[i];
        if (!count) continue;
        r->w_tensor[i] = check_upload(o, r->start + at, 1, 1, 1, (int)count);
        r->g_tensor[i] = check_output(o, 1, 1, 1, (int)count);
        tensor *const zeros[] = {&r->m_tensor[i], &r->v_tensor[i]};
        for (int k = 0; k < 2; k++) {
            *zeros[k] = check_output(o, 1, 1, 1, (int)count);
            context_fill_zero(o->ctx, *zeros[k]);
        }
        if (r->problem->averaged) r->average_tensor[i] = check_upload(o, r->start + at, 1, 1, 1, (int)count);
        at += count;
    }
    return true;
}

static void step_on_device(ops *o, adam_run *r, double learning_rate)
{
    size_t at = 0;
    for (int i = 0; i < ARRAYS; i++) {
        if (!r->problem->counts[i]) continue;
        context_write(o->ctx, r->g_tensor[i], r->g + at);
        adam_begin(o, r->g_tensor[i], r->state);
        at += r->problem->counts[i];
    }
    adam_prepare(o, &r->settings, learning_rate, r->state);
    for (int i = 0; i < ARRAYS; i++)
        if (r->problem->counts[i])
            adam_update(o, &r->settings, r->state, r->g_tensor[i], r->w_tensor[i], r->m_tensor[i], r->v_tensor[i], r->average_tensor[i]);
    adam_end(o, &r->settings, r->state);
}

// Gradients of one parameter are of one size, which differs between parameters.
static void make_gradients(adam_run *r, int step, double scale)
{
    for (size_t i = 0; i < r->count; i++) {
        uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u + (uint64_t)step * 0xD1342543DE82EF95u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        r->g[i] = (float)(scale * pow(10, -(double)(i % 8)) * ((double)(z >> 40) / 8388608 - 1));
    }
}

static check_result compare(ops *o, const adam_run *r)
{
    check_result worst = {0};
    size_t at = 0;
    for (int i = 0; i < ARRAYS; i++) {
        if (!r->problem->counts[i]) continue;
        worst = check_worst(worst, check_compare(o, r->w_tensor[i], r->w + at));
        worst = check_worst(worst, check_compare(o, r->m_tensor[i], r->m + at));
        worst = check_worst(worst, check_compare(o, r->v_tensor[i], r->v + at));
        if (r->problem->averaged) worst = check_worst(worst, check_compare(o, r->average_tensor[i], r->average + at));
        at += r->problem->counts[i];
    }
    return worst;
}

check_result check_adam(ops *o, const adam_problem *p)
{
    scratch s = {0};
    adam_run r = {.problem = p, .settings = adam_defaults()};
    r.settings.scaling = p->scaling;
    r.settings.clip = p->clip;
    if (!prepare(o, &s, &r)) return scratch_end(&s, (check_result){0});
    const oracle_adam oracle = {r.settings.beta1, r.settings.beta2, r.settings.eps, r.settings.clip, r.settings.decay};
    const double scale = adam_initial_state(p->scaling).scale;
    double norm = 0;
    for (int t = 1; t <= p->steps; t++) {
        const double learning_rate = t <= p->steps / 2 ? p->learning_rate : p->learning_rate / 2;
        make_gradients(&r, t, scale);
        step_on_device(o, &r, learning_rate);
        norm = oracle_adam_step(&oracle, learning_rate, t, scale, r.g, r.count, r.w, r.m, r.v, p->averaged ? r.average : NULL);
    }
    adam_state state;
    check_result result = {context_read(o->ctx, r.state, &state), INFINITY};
    if (result.status == IDM_OK && state.step == p->steps && state.skipped == 0) result.error = fabs(state.norm - norm) / norm;
    return scratch_end(&s, check_worst(result, compare(o, &r)));
}

check_result check_adam_corrections(ops *o, double beta1, double beta2, double learning_rate, int last)
{
    adam_settings settings = adam_defaults();
    settings.beta1 = beta1;
    settings.beta2 = beta2;
    const tensor state = adam_push_state(o, POOL_ACTIVATIONS);
    check_result result = {0};
    for (int t = 1; t <= last && result.status == IDM_OK; t += t < 64 ? 1 : t / 7) {
        adam_state values = adam_initial_state(false);
        double step_size, correction;
        values.step = t - 1;
        context_write(o->ctx, state, &values);
        adam_prepare(o, &settings, learning_rate, state);
        result.status = context_read(o->ctx, state, &values);
        oracle_adam_corrections(beta1, beta2, learning_rate, t, &step_size, &correction);
        result.error = fmax(result.error, fabs(values.step_size - step_size) / step_size);
        result.error = fmax(result.error, fabs(values.correction - correction) / correction);
    }
    return result;
}
