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
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, x.c);
}

// z += to_out(attention(norm1(z)))
static void attend(ops *o, const transformer *t, tensor z)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor u = push_like(o, z), q = push_like(o, z), k = push_like(o, z), v = push_like(o, z);
    layer_norm_forward(o, z, t->norm1.weight, t->norm1.bias, LAYER_NORM_EPSILON, u);
    gemm_forward(o, u, &t->to_q.w, NULL, q);
    gemm_forward(o, u, &t->to_k.w, NULL, k);
    gemm_forward(o, u, &t->to_v.w, NULL, v);
    attention_forward(o, q, k, v, t->channels, t->heads, u, NO_TENSOR);
    gemm_forward(o, u, &t->to_out.w, &(epilogue){.bias = t->to_out.bias, .residual = z}, z);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// z += ff(norm3(z))
static void feed_forward(ops *o, const transformer *t, tensor z)
{
    const int rows = tensor_rows(z), c = t->channels, chunk = rows < FEED_FORWARD_TOKENS ? rows : FEED_FORWARD_TOKENS;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor u = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, chunk, c);
    const tensor wide = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, chunk, 8 * c);
    const tensor gated = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, chunk, 4 * c);
    for (int first = 0; first < rows; first += chunk) {
        const int count = rows - first < chunk ? rows - first : chunk;
        const tensor part = tensor_row_range(z, first, count), normed = tensor_row_range(u, 0, count);
        const tensor hidden = tensor_row_range(wide, 0, count), values = tensor_row_range(gated, 0, count);
        layer_norm_forward(o, part, t->norm3.weight, t->norm3.bias, LAYER_NORM_EPSILON, normed);
        gemm_forward(o, normed, &t->ff_proj.w, &(epilogue){.bias = t->ff_proj.bias}, hidden);
        geglu_forward(o, hidden, values);
        gemm_forward(o, values, &t->ff_out.w, &(epilogue){.bias = t->ff_out.bias, .residual = part}, part);
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void transformer_forward(ops *o, const transformer *t, tensor x, const epilogue *coupling, tensor y)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor z = push_like(o, x);
    const arena_mark inner = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor normed = push_like(o, x);
    group_norm_forward(o, x, t->norm.weight, t->norm.bias, t->groups, GROUP_NORM_EPSILON, false, normed);
    gemm_forward(o, normed, &t->proj_in.w, &(epilogue){.bias = t->proj_in.bias}, z);
    arena_release(o->ctx, POOL_ACTIVATIONS, inner);
    attend(o, t, z);
    feed_forward(o, t, z);
    epilogue e = *coupling;
    e.bias = t->proj_out.bias;
    e.residual = x;
    gemm_forward(o, z, &t->proj_out.w, &e, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
