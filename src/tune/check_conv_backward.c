#include "tune/check_conv_backward.h"

#include "ops/conv.h"
#include "ops/conv_winograd.h"
#include "ops/gemm.h"
#include "oracle/oracle_conv.h"
#include "tune/scratch.h"
#include <math.h>
#include <stdlib.h>

// The inputs of both gradients on the host; null where `parts` has not got them.
typedef struct problem {
    oracle_conv_shape shape;
    int parts, oh, ow;
    size_t x_count, y_count, w_count;
    scratch memory;
    float *x, *dy, *weights, *residual, *mix, *dw, *dbias, v; // dw, dbias: what is there before
} problem;

static problem make_problem(oracle_conv_shape s, int parts)
{
    problem p = {.shape = s, .parts = parts, .oh = oracle_conv_height(&s), .ow = oracle_conv_width(&s), .v = 0.375f};
    p.x_count = (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.in;
    p.y_count = (size_t)s.n * (size_t)p.oh * (size_t)p.ow * (size_t)s.out;
    p.w_count = (size_t)s.taps * (size_t)s.in * (size_t)s.out;
    p.x = scratch_values(&p.memory, p.x_count, 1, 1.0f);
    p.dy = scratch_values(&p.memory, p.y_count, 2, 1.0f);
    p.weights = scratch_values(&p.memory, p.w_count, 3, 1.0f / sqrtf((float)(s.taps * s.out)));
    p.dw = scratch_values(&p.memory, p.w_count, 4, 1.0f);
    p.dbias = scratch_values(&p.memory, (size_t)s.out, 5, 1.0f);
    if (parts & CHECK_RESIDUAL) p.residual = scratch_values(&p.memory, p.x_count, 6, 1.0f);
    if (parts & CHECK_COUPLING) p.mix = scratch_values(&p.memory, p.x_count, 7, 1.0f);
    check_round(p.x, p.x_count, check_type(parts));
    check_round(p.dy, p.y_count, check_type(parts));
    check_round(p.weights, p.w_count, check_type(parts));
    if (p.residual) check_round(p.residual, p.x_count, check_output_type(parts));
    if (p.mix) check_round(p.mix, p.x_count, check_output_type(parts));
    return p;
}

// Runs the op; the result stays on POOL_ACTIVATIONS.
static tensor run_data(ops *o, const problem *p)
{
    const oracle_conv_shape *s = &p->shape;
    const tensor dy = check_upload_as(o, check_type(p->parts), p->dy, s->n, p->oh, p->ow, s->out);
    weight w = {.plain = check_upload(o, p->weights, 1, 1, s->taps * s->in, s->out), .taps = s->taps, .in = s->in, .out = s->out};
    const dtype narrow = check_output_type(p->parts);
    epilogue e = {0};
    if (p->residual) e.residual = check_upload_as(o, narrow, p->residual, s->n, s->h, s->w, s->in);
    if (p->mix) {
        e.v = check_upload(o, &p->v, 1, 1, 1, 1);
        e.mix = check_upload_as(o, narrow, p->mix, s->n, s->h, s->w, s->in);
    }
    const tensor dx = !(p->parts & CHECK_IN_PLACE) ? check_output_as(o, narrow, s->n, s->h, s->w, s->in) : p->mix ? e.mix : e.residual;
    const epilogue *given = p->residual || p->mix ? &e : NULL;
    const arena_mark mark = arena_save(o->ctx, POOL_DERIVED);
    if (p->parts & CHECK_KEPT) {
        const bool strided = s->stride == 2;
        weight_keep_transposed(o, &w,
                               s->taps == 9 ? conv_form(o, s->out, s->in, 1, strided ? s->h : p->oh, strided ? s->w : p->ow) : WEIGHT_TAPS);
    }
    if (s->taps == 9) conv_backward_data(o, dy, &w, s->stride, s->upsample, given, dx);
    else gemm_backward_data(o, dy, &w, given, dx);
    arena_release(o->ctx, POOL_DERIVED, mark);
    return dx;
}

static void run_weight(ops *o, const problem *p, tensor *dw, tensor *dbias)
{
    const oracle_conv_shape *s = &p->shape;
    const dtype type = check_type(p->parts);
    const tensor x = check_upload_as(o, type, p->x, s->n, s->h, s->w, s->in);
    const tensor dy = check_upload_as(o, type, p->dy, s->n, p->oh, p->ow, s->out);
    *dw = check_upload(o, p->dw, 1, 1, s->taps * s->in, s->out);
    *dbias = check_upload(o, p->dbias, 1, 1, 1, s->out);
    for (int call = 0; call < 2; call++) {
        const tensor bias = call ? *dbias : NO_TENSOR;
        if (s->taps == 9) conv_backward_weight(o, x, dy, s->stride, s->upsample, *dw, bias);
        else gemm_backward_weight(o, x, dy, *dw, bias);
    }
}

static check_result check_data(ops *o, oracle_conv_shape s, int parts)
{
    problem p = make_problem(s, parts);
    double *want = scratch_doubles(&p.memory, p.x_count);
    if (p.memory.failed) return scratch_end(&p.memory, (check_result){0});
    const tensor dx = run_data(o, &p);
    oracle_conv_backward_data(&s, p.dy, p.weights, p.residual, p.mix ? &p.v : NULL, p.mix, want);
    return scratch_end(&p.memory, check_compare(o, dx, want));
}

static check_result check_weight(ops *o, oracle_conv_shape s, int parts)
{
    problem p = make_problem(s, parts);
    const size_t out = (size_t)s.out;
    double *want = scratch_doubles(&p.memory, p.w_count), *want_bias = scratch_doubles(&p.memory, out);
    if (p.memory.failed) return scratch_end(&p.memory, (check_result){0});
    tensor dw, dbias;
    run_weight(o, &p, &dw, &dbias);
    oracle_conv_backward_weight(&s, p.x, p.dy, want, want_bias);
    for (size_t i = 0; i < p.w_count; i++) want[i] = p.dw[i] + 2 * want[i];
    for (size_t i = 0; i < out; i++) want_bias[i] += p.dbias[i];
    return scratch_end(&p.memory, check_worst(check_compare(o, dw, want), check_compare(o, dbias, want_bias)));
}

check_result check_conv_backward_data(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample, int parts)
{
    return check_data(o, (oracle_conv_shape){n, h, w, in, out, 9, stride, upsample}, parts);
}

check_result check_gemm_backward_data(ops *o, int rows, int in, int out, int parts)
{
    return check_data(o, (oracle_conv_shape){1, 1, rows, in, out, 1, 1, false}, parts);
}

check_result check_conv_backward_weight(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample)
{
    return check_weight(o, (oracle_conv_shape){n, h, w, in, out, 9, stride, upsample}, 0);
}

check_result check_gemm_backward_weight(ops *o, int rows, int in, int out)
{
    return check_weight(o, (oracle_conv_shape){1, 1, rows, in, out, 1, 1, false}, 0);
}

check_result check_stored_backward_weight(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts)
{
    return check_weight(o, (oracle_conv_shape){n, h, w, in, out, taps, stride, upsample}, parts);
}

float *check_conv_backward_values(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts,
                                  size_t *count)
{
    problem p = make_problem((oracle_conv_shape){n, h, w, in, out, taps, stride, upsample}, parts);
    *count = p.x_count + p.w_count + (size_t)out;
    float *values = malloc(*count * sizeof *values);
    bool read = false;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    if (values && !p.memory.failed) {
        tensor dw, dbias;
        const tensor dx = run_data(o, &p);
        run_weight(o, &p, &dw, &dbias);
        read = context_read(o->ctx, dx, values) == IDM_OK && context_read(o->ctx, dw, values + p.x_count) == IDM_OK &&
               context_read(o->ctx, dbias, values + p.x_count + p.w_count) == IDM_OK;
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    (void)scratch_end(&p.memory, (check_result){0});
    if (read) return values;
    free(values);
    return NULL;
}
