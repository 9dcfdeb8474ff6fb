#include "tune/check_conv.h"

#include "ops/conv.h"
#include "ops/gemm.h"
#include "oracle/oracle_conv.h"
#include <math.h>
#include <stdlib.h>

// The op's inputs on the host; null where `parts` has not got them.
typedef struct problem {
    oracle_conv_shape shape;
    int parts;
    size_t count; // of y
    float *x, *weights, *bias, *residual, *mix, v;
} problem;

static problem make_problem(oracle_conv_shape s, int parts)
{
    const size_t weights = (size_t)s.taps * (size_t)s.in * (size_t)s.out;
    problem p = {.shape = s, .parts = parts, .v = 0.375f};
    p.count = (size_t)s.n * (size_t)oracle_conv_height(&s) * (size_t)oracle_conv_width(&s) * (size_t)s.out;
    p.x = check_values((size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.in, 1, 1.0f);
    p.weights = check_values(weights, 2, 1.0f / sqrtf((float)(s.taps * s.in)));
    if (parts & CHECK_BIAS) p.bias = check_values((size_t)s.out, 3, 1.0f);
    if (parts & CHECK_RESIDUAL) p.residual = check_values(p.count, 4, 1.0f);
    if (parts & CHECK_COUPLING) p.mix = check_values(p.count, 5, 1.0f);
    check_round(p.x, (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.in, check_type(parts));
    check_round(p.weights, weights, check_type(parts));
    if (p.residual) check_round(p.residual, p.count, check_output_type(parts));
    if (p.mix) check_round(p.mix, p.count, check_output_type(parts));
    return p;
}

static void free_problem(problem *p)
{
    free(p->x);
    free(p->weights);
    free(p->bias);
    free(p->residual);
    free(p->mix);
}

// Runs the op; the result stays on POOL_ACTIVATIONS.
static tensor run_problem(ops *o, const problem *p)
{
    const oracle_conv_shape *s = &p->shape;
    const int oh = oracle_conv_height(s), ow = oracle_conv_width(s);
    const tensor x = check_upload_as(o, check_type(p->parts), p->x, s->n, s->h, s->w, s->in);
    const weight w = {.plain = check_upload(o, p->weights, 1, 1, s->taps * s->in, s->out), .taps = s->taps, .in = s->in, .out = s->out};
    const dtype narrow = check_output_type(p->parts);
    epilogue e = {0};
    if (p->bias) e.bias = check_upload(o, p->bias, 1, 1, 1, s->out);
    if (p->residual) e.residual = check_upload_as(o, narrow, p->residual, s->n, oh, ow, s->out);
    if (p->mix) {
        e.v = check_upload(o, &p->v, 1, 1, 1, 1);
        e.mix = check_upload_as(o, narrow, p->mix, s->n, oh, ow, s->out);
    }
    const tensor y = p->parts & CHECK_IN_PLACE ? e.mix : check_output_as(o, narrow, s->n, oh, ow, s->out);
    const epilogue *given = p->parts & ~(CHECK_HALF | CHECK_BF16 | CHECK_NARROW) ? &e : NULL;
    if (s->taps == 9) conv_forward(o, x, &w, s->stride, s->upsample, given, y);
    else gemm_forward(o, x, &w, given, y);
    return y;
}

static check_result check_shape(ops *o, oracle_conv_shape s, int parts)
{
    problem p = make_problem(s, parts);
    double *want = calloc(p.count, sizeof *want);
    check_result result = {IDM_FAILED, INFINITY};
    if (want) {
        const tensor y = run_problem(o, &p);
        oracle_conv(&s, p.x, p.weights, p.bias, p.residual, p.mix ? &p.v : NULL, p.mix, want);
        result = check_compare(o, y, want);
    }
    free(want);
    free_problem(&p);
    return result;
}

check_result check_conv(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample, int parts)
{
    return check_shape(o, (oracle_conv_shape){n, h, w, in, out, 9, stride, upsample}, parts);
}

check_result check_gemm(ops *o, int rows, int in, int out, int parts)
{
    return check_shape(o, (oracle_conv_shape){1, 1, rows, in, out, 1, 1, false}, parts);
}

float *check_conv_values(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts, size_t *count)
{
    problem p = make_problem((oracle_conv_shape){n, h, w, in, out, taps, stride, upsample}, parts);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    float *values = malloc(p.count * sizeof *values);
    const tensor y = run_problem(o, &p);
    if (values && context_read(o->ctx, y, values) != IDM_OK) {
        free(values);
        values = NULL;
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    *count = p.count;
    free_problem(&p);
    return values;
}
