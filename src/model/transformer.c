#include "model/transformer.h"

#include "ops/attention.h"
#include "ops/gemm.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

static const float GROUP_NORM_EPSILON = 1e-6f, LAYER_NORM_EPSILON = 1e-5f;
// The feed-forward layer is eight times as wide as its input: so many tokens at a time.
enum { FEED_FORWARD_TOKENS = 2048 };

transformer transformer_create(parameters *p, int channels, int heads, int groups, const char *name)
{
    const int c = channels;
    transformer t = {.channels = c, .heads = heads, .groups = groups};
    char block[80];
    (void)snprintf(block, sizeof block, "%s.transformer_blocks.0", name);
    t.norm = parameters_norm(p, c, "%s.norm", name);
    t.proj_in = parameters_layer(p, c, c, 1, true, "%s.proj_in", name);
    t.norm1 = parameters_norm(p, c, "%s.norm1", block);
    t.to_q = parameters_layer(p, c, c, 0, false, "%s.attn1.to_q", block);
    t.to_k = parameters_layer(p, c, c, 0, false, "%s.attn1.to_k", block);
    t.to_v = parameters_layer(p, c, c, 0, false, "%s.attn1.to_v", block);
    t.to_out = parameters_layer(p, c, c, 0, true, "%s.attn1.to_out.0", block);
    t.norm3 = parameters_norm(p, c, "%s.norm3", block);
    t.ff_proj = parameters_layer(p, c, 8 * c, 0, true, "%s.ff.net.0.proj", block);
    t.ff_out = parameters_layer(p, 4 * c, c, 0, true, "%s.ff.net.2", block);
    t.proj_out = parameters_layer(p, c, c, 1, true, "%s.proj_out", name);
    return t;
}

static tensor push_like(ops *o, tensor x)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, o->storage, x.n, x.h, x.w, x.c);
}

static tensor push_tokens(ops *o, int rows, int channels)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, o->storage, 1, 1, rows, channels);
}

transformer_tape transformer_tape_push(ops *o, const transformer *t, tensor x, bool keep_wide)
{
    return (transformer_tape){
        .z0 = push_like(o, x),
        .q = push_like(o, x),
        .k = push_like(o, x),
        .v = push_like(o, x),
        .lse = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, t->heads, x.h * x.w, 1),
        .attended = push_like(o, x),
        .z1 = push_like(o, x),
        .wide = keep_wide ? push_tokens(o, tensor_rows(x), 8 * t->channels) : NO_TENSOR,
        .z2 = push_like(o, x),
    };
}

// z1 = z0 + to_out(attention(norm1(z0)))
static void attend(ops *o, const transformer *t, tensor z0, tensor z1, const transformer_tape *tape)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor u = push_like(o, z0), attended = tape ? tape->attended : u;
    const tensor q = tape ? tape->q : push_like(o, z0), k = tape ? tape->k : push_like(o, z0), v = tape ? tape->v : push_like(o, z0);
    layer_norm_forward(o, z0, t->norm1.weight, t->norm1.bias, LAYER_NORM_EPSILON, u);
    gemm_forward(o, u, &t->to_q.w, NULL, q);
    gemm_forward(o, u, &t->to_k.w, NULL, k);
    gemm_forward(o, u, &t->to_v.w, NULL, v);
    attention_forward(o, q, k, v, t->channels, t->heads, attended, tape ? tape->lse : NO_TENSOR);
    gemm_forward(o, attended, &t->to_out.w, &(epilogue){.bias = t->to_out.bias, .residual = z0}, z1);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

// wide = ff_proj(norm3(z)); `normed` is left as norm3(z).
static void widen(ops *o, const transformer *t, tensor z, tensor normed, tensor wide)
{
    layer_norm_forward(o, z, t->norm3.weight, t->norm3.bias, LAYER_NORM_EPSILON, normed);
    gemm_forward(o, normed, &t->ff_proj.w, &(epilogue){.bias = t->ff_proj.bias}, wide);
}

// z2 = z1 + ff(norm3(z1)); z2 may be z1.
static void feed_forward(ops *o, const transformer *t, tensor z1, tensor z2, const transformer_tape *tape)
{
    const int rows = tensor_rows(z1), c = t->channels, chunk = smaller(rows, FEED_FORWARD_TOKENS);
    const bool keep = tape && tensor_given(tape->wide);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor normed = push_tokens(o, chunk, c), gated = push_tokens(o, chunk, 4 * c);
    const tensor scratch = keep ? NO_TENSOR : push_tokens(o, chunk, 8 * c);
    for (int first = 0; first < rows; first += chunk) {
        const int count = smaller(chunk, rows - first);
        const tensor from = tensor_row_range(z1, first, count), values = tensor_row_range(gated, 0, count);
        const tensor wide = keep ? tensor_row_range(tape->wide, first, count) : tensor_row_range(scratch, 0, count);
        widen(o, t, from, tensor_row_range(normed, 0, count), wide);
        geglu_forward(o, wide, values);
        gemm_forward(o, values, &t->ff_out.w, &(epilogue){.bias = t->ff_out.bias, .residual = from}, tensor_row_range(z2, first, count));
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void transformer_forward(ops *o, const transformer *t, tensor x, const epilogue *coupling, tensor y, const transformer_tape *tape)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor z0 = tape ? tape->z0 : push_like(o, x), z1 = tape ? tape->z1 : z0, z2 = tape ? tape->z2 : z0;
    const arena_mark inner = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor normed = push_like(o, x);
    group_norm_forward(o, x, t->norm.weight, t->norm.bias, t->groups, GROUP_NORM_EPSILON, false, normed);
    gemm_forward(o, normed, &t->proj_in.w, &(epilogue){.bias = t->proj_in.bias}, z0);
    arena_release(o->ctx, POOL_ACTIVATIONS, inner);
    attend(o, t, z0, z1, tape);
    feed_forward(o, t, z1, z2, tape);
    epilogue e = *coupling;
    e.bias = t->proj_out.bias;
    e.residual = x;
    gemm_forward(o, z2, &t->proj_out.w, &e, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// ---- backward

static void layer_backward_weight(ops *o, const layer *l, tensor x, tensor dy)
{
    gemm_backward_weight(o, x, dy, parameters_gradient(o, l->w.plain), parameters_gradient(o, l->bias));
}

// d, the gradient of norm(z), is added to dz.
static void layer_norm_add(ops *o, const norm_layer *norm, tensor z, tensor d, tensor dz)
{
    layer_norm_backward(o, z, norm->weight, LAYER_NORM_EPSILON, d, dz, dz, parameters_gradient(o, norm->weight),
                        parameters_gradient(o, norm->bias));
}

// dz: of z2, becomes that of z1. As many tokens at a time whether `wide` was kept or not: sums and so bits are the same.
static void feed_forward_backward(ops *o, const transformer *t, const transformer_tape *tape, tensor dz)
{
    const int rows = tensor_rows(dz), c = t->channels, chunk = smaller(rows, FEED_FORWARD_TOKENS);
    const bool kept = tensor_given(tape->wide);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor all_normed = push_tokens(o, chunk, c), all_gated = push_tokens(o, chunk, 4 * c), all_dgated = push_tokens(o, chunk, 4 * c);
    const tensor scratch = kept ? NO_TENSOR : push_tokens(o, chunk, 8 * c);
    for (int first = 0; first < rows; first += chunk) {
        const int count = smaller(chunk, rows - first);
        const tensor z1 = tensor_row_range(tape->z1, first, count), d = tensor_row_range(dz, first, count);
        const tensor normed = tensor_row_range(all_normed, 0, count), gated = tensor_row_range(all_gated, 0, count);
        const tensor dgated = tensor_row_range(all_dgated, 0, count);
        const tensor wide = kept ? tensor_row_range(tape->wide, first, count) : tensor_row_range(scratch, 0, count);
        if (kept) layer_norm_forward(o, z1, t->norm3.weight, t->norm3.bias, LAYER_NORM_EPSILON, normed);
        else widen(o, t, z1, normed, wide);
        geglu_forward(o, wide, gated);
        layer_backward_weight(o, &t->ff_out, gated, d);
        gemm_backward_data(o, d, &t->ff_out.w, NULL, dgated);
        geglu_backward(o, wide, dgated, wide);
        layer_backward_weight(o, &t->ff_proj, normed, wide);
        gemm_backward_data(o, wide, &t->ff_proj.w, NULL, normed);
        layer_norm_add(o, &t->norm3, z1, normed, d);
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// dz: of z1, becomes that of z0.
static void attend_backward(ops *o, const transformer *t, const transformer_tape *tape, tensor dz)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor u = push_like(o, dz), dq = push_like(o, dz), dk = push_like(o, dz), dv = push_like(o, dz);
    layer_backward_weight(o, &t->to_out, tape->attended, dz);
    gemm_backward_data(o, dz, &t->to_out.w, NULL, u);
    attention_backward(o, tape->q, tape->k, tape->v, t->channels, t->heads, tape->attended, tape->lse, u, dq, dk, dv, t->channels);
    layer_norm_forward(o, tape->z0, t->norm1.weight, t->norm1.bias, LAYER_NORM_EPSILON, u);
    layer_backward_weight(o, &t->to_q, u, dq);
    layer_backward_weight(o, &t->to_k, u, dk);
    layer_backward_weight(o, &t->to_v, u, dv);
    gemm_backward_data(o, dq, &t->to_q.w, NULL, u);
    gemm_backward_data(o, dk, &t->to_k.w, &(epilogue){.residual = u}, u);
    gemm_backward_data(o, dv, &t->to_v.w, &(epilogue){.residual = u}, u);
    layer_norm_add(o, &t->norm1, tape->z0, u, dz);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void transformer_backward(ops *o, const transformer *t, tensor x, const transformer_tape *tape, tensor dy, tensor dx)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor dz = push_like(o, x);
    layer_backward_weight(o, &t->proj_out, tape->z2, dy);
    gemm_backward_data(o, dy, &t->proj_out.w, NULL, dz);
    feed_forward_backward(o, t, tape, dz);
    attend_backward(o, t, tape, dz);
    const tensor normed = push_like(o, x);
    group_norm_forward(o, x, t->norm.weight, t->norm.bias, t->groups, GROUP_NORM_EPSILON, false, normed);
    layer_backward_weight(o, &t->proj_in, normed, dz);
    gemm_backward_data(o, dz, &t->proj_in.w, NULL, normed);
    add(o, dx, dy, dx);
    group_norm_backward(o, x, t->norm.weight, t->norm.bias, t->groups, GROUP_NORM_EPSILON, false, normed, dx, dx,
                        parameters_gradient(o, t->norm.weight), parameters_gradient(o, t->norm.bias));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
