#include "model/resnet.h"

#include "ops/conv.h"
#include "ops/gemm.h"
#include "ops/norm.h"

static const float EPSILON = 1e-5f;

resnet resnet_create(parameters *p, int in, int out, int groups, const char *name)
{
    resnet r = {.in = in, .out = out, .groups = groups};
    r.norm1 = parameters_norm(p, in, "%s.norm1", name);
    r.conv1 = parameters_layer(p, in, out, 3, true, "%s.conv1", name);
    r.norm2 = parameters_norm(p, out, "%s.norm2", name);
    r.conv2 = parameters_layer(p, out, out, 3, true, "%s.conv2", name);
    if (in != out) r.shortcut = parameters_layer(p, in, out, 1, true, "%s.conv_shortcut", name);
    return r;
}

void resnet_forward(ops *o, const resnet *r, tensor x, const epilogue *coupling, tensor y)
{
    context *ctx = o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor hidden = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, r->out);

    const arena_mark inner = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor wide = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, r->in);
    group_norm_forward(o, x, r->norm1.weight, r->norm1.bias, r->groups, EPSILON, true, wide);
    conv_forward(o, wide, &r->conv1.w, 1, false, &(epilogue){.bias = r->conv1.bias}, hidden);
    arena_release(ctx, POOL_ACTIVATIONS, inner);

    group_norm_forward(o, hidden, r->norm2.weight, r->norm2.bias, r->groups, EPSILON, true, hidden);
    epilogue e = *coupling;
    e.bias = r->conv2.bias;
    e.residual = x;
    if (r->in != r->out) {
        e.residual = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, r->out);
        gemm_forward(o, x, &r->shortcut.w, &(epilogue){.bias = r->shortcut.bias}, e.residual);
    }
    conv_forward(o, hidden, &r->conv2.w, 1, false, &e, y);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}
