#include "tune/trial.h"

#include "core/clock.h"
#include "core/status.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/conv_weight_gradient.h"
#include "ops/conv_winograd.h"
#include "ops/gemm.h"
#include "tune/check_attention.h"
#include "tune/check_conv.h"
#include "tune/check_conv_backward.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct trial {
    ops *o;
    tuning_shape call;
    arena_mark mark;
    tensor x, dy, out, lse, result; // of attention x is q | k | v, dy is dout, result of its backward pass dq | dk | dv
    weight w;
    float *wanted, *got; // what the first run gave; the current one
    bool known;          // wanted is
};

// ---- under a row

typedef struct use {
    tuning_row row;
    tuning t;
    const tuning *before;
} use;

// From here to use_end o asks this row alone, whatever the shape.
static void use_begin(use *u, ops *o, const tuning_row *row)
{
    u->before = o->tuning;
    u->t = (tuning){0};
    if (row) {
        u->row = *row;
        u->row.shape = (tuning_shape){.op = row->shape.op, .variant = row->shape.variant};
        u->t = (tuning){&u->row, 1};
    }
    o->tuning = &u->t;
}

static void use_end(const use *u, ops *o)
{
    o->tuning = u->before;
}

// ---- right or wrong

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static check_result check_small(ops *o, const tuning_shape *z)
{
    enum {
        HEIGHT = 13,
        WIDTH = 17,
        LONG = 21,
        PIXELS = HEIGHT * WIDTH,
        IN_MOST = 40,
        OUT_MOST = 400,
        GRADIENT_PIXELS = 2100,
        GRADIENT_MOST = 96
    };
    const int in = smaller(z->in, IN_MOST), out = smaller(z->out, OUT_MOST);
    const int few_in = smaller(z->in, GRADIENT_MOST), few_out = smaller(z->out, GRADIENT_MOST);
    const attention_shape attention = {1, HEIGHT, WIDTH, 2, z->head, true, 1};
    switch (z->op) {
    case TUNED_CONV:
        // a small picture and one that may go by Winograd: the same row is for both
        return check_worst(check_conv(o, 1, HEIGHT, WIDTH, in, out, 2, false, CHECK_BIAS | CHECK_RESIDUAL),
                           check_conv(o, 1, HEIGHT, LONG, in, out, 1, false, CHECK_BIAS | CHECK_RESIDUAL));
    case TUNED_LINEAR:
        return check_gemm(o, PIXELS, in, out, CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING);
    case TUNED_CONV_WEIGHT_GRADIENT:
        return check_worst(check_conv_backward_weight(o, 1, HEIGHT, WIDTH, in, few_out, 1, false),
                           check_conv_backward_weight(o, 1, HEIGHT, LONG, in, few_out, 1, false));
    case TUNED_LINEAR_WEIGHT_GRADIENT:
        return check_gemm_backward_weight(o, GRADIENT_PIXELS, few_in, few_out);
    case TUNED_ATTENTION:
        return check_worst(check_attention(o, attention, ATTENTION_RANDOM, true), check_attention(o, attention, ATTENTION_ONE_HOT, false));
    case TUNED_ATTENTION_BACKWARD:
        return check_attention_backward(o, attention, ATTENTION_RANDOM, true);
    default:
        return (check_result){IDM_OK, 0};
    }
}

check_result trial_check(ops *o, const tuning_shape *call, const tuning_row *row)
{
    use u;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    use_begin(&u, o, row);
    const check_result result = check_small(o, call);
    use_end(&u, o);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return result;
}

// ---- the call as it is

static tensor push_values(trial *t, int h, int w, int c, uint64_t seed, float scale)
{
    const tensor z = arena_push(t->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, h, w, c);
    float *values = check_values(tensor_elements(z), seed, scale);
    if (values) context_write(t->o->ctx, z, values);
    else context_fail(t->o->ctx, IDM_FAILED, "out of memory for tuning");
    free(values);
    return z;
}

static tensor push(trial *t, int h, int w, int c)
{
    const tensor z = arena_push(t->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, h, w, c);
    context_fill_zero(t->o->ctx, z);
    return z;
}

// A picture of about that many pixels.
static void sides(int pixels, int *h, int *w)
{
    *w = (int)sqrt((double)pixels);
    *h = pixels / *w;
}

static void make_gemm(trial *t)
{
    const tuning_shape *z = &t->call;
    const bool is_conv = z->op == TUNED_CONV || z->op == TUNED_CONV_WEIGHT_GRADIENT;
    const bool is_gradient = z->op == TUNED_CONV_WEIGHT_GRADIENT || z->op == TUNED_LINEAR_WEIGHT_GRADIENT;
    const int taps = is_conv ? 9 : 1;
    int h = 1, w = z->pixels;
    if (is_conv) sides(z->pixels, &h, &w);
    t->x = push_values(t, h, w, z->in, 1, 1);
    if (is_gradient) {
        t->dy = push_values(t, h, w, z->out, 2, 1);
        t->result = push(t, 1, taps * z->in, z->out);
        return;
    }
    t->w = (weight){
        .plain = push_values(t, 1, taps * z->in, z->out, 3, 1 / sqrtf((float)(taps * z->in))), .taps = taps, .in = z->in, .out = z->out};
    t->result = push(t, h, w, z->out);
}

static tensor columns(tensor matrix, int which, int c)
{
    matrix.offset += (size_t)which * (size_t)c * sizeof(float);
    return matrix;
}

// View of q, k or v, or their gradients, in the rows of 3 c floats.
static tensor part(const trial *t, tensor matrix, int which)
{
    const int c = t->call.heads * t->call.head;
    tensor view = columns(matrix, which, c);
    view.c = c;
    return view;
}

static void run_attention(trial *t)
{
    const int c = t->call.heads * t->call.head;
    attention_forward(t->o, part(t, t->x, 0), part(t, t->x, 1), part(t, t->x, 2), 3 * c, t->call.heads, t->out, t->lse);
}

static void make_attention(trial *t)
{
    const tuning_shape *z = &t->call;
    const int c = z->heads * z->head;
    int h, w;
    sides(z->pixels, &h, &w);
    t->x = push_values(t, h, w, 3 * c, 1, 1);
    t->out = push(t, h, w, c);
    t->lse = push(t, z->heads, h * w, 1);
    t->result = t->out;
    if (z->op == TUNED_ATTENTION) return;
    t->dy = push_values(t, h, w, c, 2, 1);
    t->result = push(t, h, w, 3 * c);
    run_attention(t);
}

trial *trial_create(ops *o, const tuning_shape *call)
{
    trial *t = calloc(1, sizeof *t);
    if (!t) {
        context_fail(o->ctx, IDM_FAILED, "out of memory for tuning");
        return NULL;
    }
    *t = (trial){.o = o, .call = *call, .mark = arena_save(o->ctx, POOL_ACTIVATIONS)};
    if (call->op == TUNED_ATTENTION || call->op == TUNED_ATTENTION_BACKWARD) make_attention(t);
    else make_gemm(t);
    t->wanted = calloc(tensor_elements(t->result), sizeof *t->wanted);
    t->got = calloc(tensor_elements(t->result), sizeof *t->got);
    if (!t->wanted || !t->got) context_fail(o->ctx, IDM_FAILED, "out of memory for tuning");
    if (context_finish(o->ctx) == IDM_OK) return t;
    trial_free(t);
    return NULL;
}

void trial_free(trial *t)
{
    if (!t) return;
    arena_release(t->o->ctx, POOL_ACTIVATIONS, t->mark);
    free(t->wanted);
    free(t->got);
    free(t);
}

static void run(trial *t)
{
    ops *o = t->o;
    const int c = t->call.heads * t->call.head;
    switch (t->call.op) {
    case TUNED_CONV:
        conv_forward(o, t->x, &t->w, 1, false, NULL, t->result);
        break;
    case TUNED_LINEAR:
        gemm_forward(o, t->x, &t->w, NULL, t->result);
        break;
    case TUNED_CONV_WEIGHT_GRADIENT:
        conv_backward_weight(o, t->x, t->dy, 1, false, t->result, NO_TENSOR);
        break;
    case TUNED_LINEAR_WEIGHT_GRADIENT:
        gemm_backward_weight(o, t->x, t->dy, t->result, NO_TENSOR);
        break;
    case TUNED_ATTENTION:
        run_attention(t);
        break;
    default:
        attention_backward(o, part(t, t->x, 0), part(t, t->x, 1), part(t, t->x, 2), 3 * c, t->call.heads, t->out, t->lse, t->dy,
                           part(t, t->result, 0), part(t, t->result, 1), part(t, t->result, 2), 3 * c);
        break;
    }
}

static double relative(const float *got, const float *wanted, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (double)(got[i] - wanted[i]) * (got[i] - wanted[i]);
        norm += (double)wanted[i] * wanted[i];
    }
    const double error = difference == 0 ? 0 : sqrt(difference / norm);
    return isfinite(error) ? error : INFINITY;
}

// The first run, whose result is compared: kernels are built in it.
static idm_status run_first(trial *t, double *difference)
{
    ops *o = t->o;
    const size_t count = tensor_elements(t->result);
    context_fill_zero(o->ctx, t->result); // weight gradients are added
    run(t);
    IDM_TRY(context_read(o->ctx, t->result, t->got));
    if (!t->known) memcpy(t->wanted, t->got, count * sizeof *t->wanted);
    t->known = true;
    *difference = relative(t->got, t->wanted, count);
    return context_finish(o->ctx);
}

static idm_status run_once(trial *t, int repeat, double *seconds)
{
    const double began = clock_seconds();
    for (int k = 0; k < repeat; k++) run(t);
    IDM_TRY(context_finish(t->o->ctx));
    *seconds = (clock_seconds() - began) / repeat;
    return IDM_OK;
}

// Short ones as often in a row as the clock needs.
static idm_status run_timed(trial *t, int runs, double enough, double *seconds)
{
    static const double least = 2e-3;
    double took;
    IDM_TRY(run_once(t, 1, seconds));
    const int repeat = *seconds < least ? (int)(least / fmax(*seconds, 1e-6)) + 1 : 1;
    for (int i = 1; i < runs && *seconds <= enough; i++) {
        IDM_TRY(run_once(t, repeat, &took));
        *seconds = fmin(*seconds, took);
    }
    return IDM_OK;
}

idm_status trial_time(trial *t, const tuning_row *row, int runs, double enough, double *seconds, double *difference)
{
    use u;
    ops *o = t->o;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS), derived = arena_save(o->ctx, POOL_DERIVED);
    use_begin(&u, o, row);
    t->w.panels = NO_TENSOR;
    const weight_form form = t->w.taps == 9 ? conv_form(o, t->w.in, t->w.out, 1, t->x.h, t->x.w) : WEIGHT_TAPS;
    if (tensor_given(t->w.plain) && weight_panels_bytes(o, &t->w, form)) weight_keep_panels(o, &t->w, form);
    idm_status status = run_first(t, difference);
    if (status == IDM_OK) status = run_timed(t, runs, enough, seconds);
    use_end(&u, o);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    arena_release(o->ctx, POOL_DERIVED, derived);
    return status;
}
