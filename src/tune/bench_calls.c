#include "tune/bench_calls.h"

#include "ops/adam.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/conv_winograd.h"
#include "ops/coupling.h"
#include "ops/injector.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

static tensor vector(const bench_call *c, int count)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, count);
}

static tensor map(const bench_call *c, int channels)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, c->height, c->width, channels);
}

// What stays inside a module of the network.
static tensor inner(const bench_call *c, int channels)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, c->o->storage, 1, c->height, c->width, channels);
}

static tensor output_map(const bench_call *c)
{
    const int height = ((c->height << c->upsample) + c->stride - 1) / c->stride;
    const int width = ((c->width << c->upsample) + c->stride - 1) / c->stride;
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, c->o->storage, 1, height, width, c->out);
}

static double pixels(const bench_call *c)
{
    return (double)c->height * c->width;
}

// ---- linear layers and convolutions

static const weight *push_weight(bench_call *c, int taps, weight_form form, bool transposed)
{
    c->w.plain = arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, taps * c->in, c->out);
    c->w.taps = taps;
    c->w.in = c->in;
    c->w.out = c->out;
    if (c->preparing && transposed) weight_keep_transposed(c->o, &c->w, form);
    else if (c->preparing) weight_keep_panels(c->o, &c->w, form);
    return &c->w;
}

static void count_products(bench_call *c, int taps, tensor y)
{
    c->flops = 2.0 * tensor_rows(y) * taps * c->in * c->out;
}

void bench_linear(bench_call *c)
{
    const tensor x = inner(c, c->in), y = inner(c, c->out);
    gemm_forward(c->o, x, push_weight(c, 1, WEIGHT_TAPS, false), &(epilogue){.bias = vector(c, c->out)}, y);
    count_products(c, 1, y);
}

void bench_linear_data(bench_call *c)
{
    const tensor dx = inner(c, c->in), dy = inner(c, c->out);
    gemm_backward_data(c->o, dy, push_weight(c, 1, WEIGHT_TAPS, true), NULL, dx);
    count_products(c, 1, dy);
}

void bench_linear_weight(bench_call *c)
{
    const tensor x = inner(c, c->in), dy = inner(c, c->out), dw = vector(c, c->in * c->out);
    gemm_backward_weight(c->o, x, dy, dw, vector(c, c->out));
    count_products(c, 1, dy);
}

void bench_conv(bench_call *c)
{
    const tensor x = inner(c, c->in), y = output_map(c);
    const weight_form form = conv_form(c->o, c->in, c->out, c->stride, y.h, y.w);
    conv_forward(c->o, x, push_weight(c, 9, form, false), c->stride, c->upsample, &(epilogue){.bias = vector(c, c->out)}, y);
    count_products(c, 9, y);
}

void bench_conv_data(bench_call *c)
{
    const tensor dx = inner(c, c->in), dy = output_map(c), made = c->upsample ? dy : dx; // what the convolution itself writes
    const weight_form form = conv_form(c->o, c->out, c->in, 1, made.h, made.w);
    conv_backward_data(c->o, dy, push_weight(c, 9, form, true), c->stride, c->upsample, NULL, dx);
    count_products(c, 9, dy);
}

void bench_conv_weight(bench_call *c)
{
    const tensor x = inner(c, c->in), dy = output_map(c), dw = vector(c, 9 * c->in * c->out);
    conv_backward_weight(c->o, x, dy, c->stride, c->upsample, dw, vector(c, c->out));
    count_products(c, 9, dy);
}

// ---- attention

static tensor push_lse(const bench_call *c)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, c->heads, c->height * c->width, 1);
}

void bench_attention(bench_call *c)
{
    const tensor q = inner(c, c->in), k = inner(c, c->in), v = inner(c, c->in), out = inner(c, c->in);
    attention_forward(c->o, q, k, v, c->in, c->heads, out, push_lse(c));
    c->flops = 4 * pixels(c) * pixels(c) * c->in; // two products
}

void bench_attention_gradient(bench_call *c)
{
    const tensor q = inner(c, c->in), k = inner(c, c->in), v = inner(c, c->in), out = inner(c, c->in), lse = push_lse(c),
                 dout = inner(c, c->in);
    const tensor dq = inner(c, c->in), dk = inner(c, c->in), dv = inner(c, c->in);
    if (c->preparing) attention_forward(c->o, q, k, v, c->in, c->heads, out, lse);
    attention_backward(c->o, q, k, v, c->in, c->heads, out, lse, dout, dq, dk, dv, c->in);
    c->flops = 10 * pixels(c) * pixels(c) * c->in; // five
}

// ---- norms and what works element by element

void bench_group_norm(bench_call *c)
{
    const tensor x = map(c, c->in), y = inner(c, c->in), gamma = vector(c, c->in), beta = vector(c, c->in);
    group_norm_forward(c->o, x, gamma, beta, c->groups, 1e-5f, true, y);
}

void bench_group_norm_gradient(bench_call *c)
{
    const tensor x = map(c, c->in), dy = inner(c, c->in), dx = map(c, c->in), gamma = vector(c, c->in), beta = vector(c, c->in);
    group_norm_backward(c->o, x, gamma, beta, c->groups, 1e-5f, true, dy, NO_TENSOR, dx, vector(c, c->in), vector(c, c->in));
}

void bench_layer_norm(bench_call *c)
{
    const tensor x = inner(c, c->in), y = inner(c, c->in), gamma = vector(c, c->in), beta = vector(c, c->in);
    layer_norm_forward(c->o, x, gamma, beta, 1e-5f, y);
}

void bench_layer_norm_gradient(bench_call *c)
{
    const tensor x = inner(c, c->in), dy = inner(c, c->in), dx = inner(c, c->in), gamma = vector(c, c->in);
    layer_norm_backward(c->o, x, gamma, 1e-5f, dy, NO_TENSOR, dx, vector(c, c->in), vector(c, c->in));
}

void bench_silu(bench_call *c)
{
    const tensor x = map(c, c->in), y = map(c, c->in);
    silu_forward(c->o, x, y);
}

void bench_geglu(bench_call *c)
{
    const tensor x = inner(c, c->in), y = inner(c, c->out);
    geglu_forward(c->o, x, y);
}

void bench_geglu_gradient(bench_call *c)
{
    const tensor x = inner(c, c->in), dy = inner(c, c->out), dx = inner(c, c->in);
    geglu_backward(c->o, x, dy, dx);
}

void bench_coupling(bench_call *c)
{
    const tensor f = map(c, c->in), x2 = map(c, c->in), y1 = map(c, c->in), v = vector(c, 1);
    coupling_forward(c->o, f, x2, v, y1);
}

void bench_coupling_inverse(bench_call *c)
{
    const tensor f = map(c, c->in), y1 = map(c, c->in), x2 = map(c, c->in), v = vector(c, 1);
    coupling_invert(c->o, f, y1, v, x2);
}

void bench_coupling_gradient(bench_call *c)
{
    const tensor f = map(c, c->in), x2 = map(c, c->in), dy1 = map(c, c->in), dbody = map(c, c->in), dx2 = map(c, c->in), v = vector(c, 1);
    coupling_backward(c->o, f, x2, v, dy1, dbody, dx2, vector(c, 1));
}

// ---- the sampling operator, and features meeting it

static tensor plane(const bench_call *c)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, c->a->height, c->a->width, 1);
}

static tensor measured(const bench_call *c)
{
    const int rows = c->a->height * c->a->width / c->a->block_pixels;
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, rows, c->a->measurements);
}

void bench_sense(bench_call *c)
{
    const tensor x = plane(c), y = measured(c);
    sensing_forward(c->o, c->a, x, y);
}

void bench_sense_back(bench_call *c)
{
    const tensor y = measured(c), x = plane(c);
    sensing_adjoint(c->o, c->a, y, x);
}

void bench_inject(bench_call *c)
{
    const int r = c->a->width / c->width, parts = c->in / (r * r);
    const tensor x = map(c, c->in), y = map(c, c->in), back = plane(c);
    injector_forward(c->o, c->a, x, r, vector(c, parts), vector(c, 1), vector(c, 3 * parts), vector(c, parts), back, &(epilogue){0}, y);
}

void bench_inject_gradient(bench_call *c)
{
    const int r = c->a->width / c->width, parts = c->in / (r * r);
    const tensor x = map(c, c->in), dy = map(c, c->in), dx = map(c, c->in), back = plane(c);
    injector_backward(c->o, c->a, x, r, vector(c, parts), vector(c, 1), vector(c, 3 * parts), back, dy, dx, vector(c, parts), vector(c, 1),
                      vector(c, 3 * parts), vector(c, parts));
}

// ---- the optimiser

void bench_adam(bench_call *c)
{
    const adam_settings settings = adam_defaults();
    const adam_state start = adam_initial_state(false);
    const tensor g = vector(c, c->in), w = vector(c, c->in), m = vector(c, c->in), v = vector(c, c->in);
    const tensor state = adam_push_state(c->o, POOL_ACTIVATIONS);
    if (c->preparing) {
        context_fill_zero(c->o->ctx, m);
        context_fill_zero(c->o->ctx, v);
        context_write(c->o->ctx, state, &start);
    }
    adam_begin(c->o, g, state);
    adam_prepare(c->o, &settings, 1e-4, state);
    adam_update(c->o, &settings, state, g, w, m, v, NO_TENSOR);
    adam_end(c->o, &settings, state);
}
