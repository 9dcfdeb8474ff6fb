#include "model/resnet.h"

#include "ops/conv.h"
#include "ops/gemm.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

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

static tensor push_like(ops *o, tensor x, int channels)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, o->storage, x.n, x.h, x.w, channels);
}

resnet_tape resnet_tape_push(ops *o, const resnet *r, tensor x)
{
    return (resnet_tape){.hidden = push_like(o, x, r->out)};
}

// silu(norm(x))
static void activate(ops *o, const resnet *r, tensor x, const norm_layer *norm, tensor y)
{
    group_norm_forward(o, x, norm->weight, norm->bias, r->groups, EPSILON, true, y);
}

void resnet_forward(ops *o, const resnet *r, tensor x, const epilogue *coupling, tensor y, const resnet_tape *tape)
{
    context *ctx = o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor activated = push_like(o, x, r->out), hidden = tape ? tape->hidden : activated;

    const arena_mark inner = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor wide = push_like(o, x, r->in);
    activate(o, r, x, &r->norm1, wide);
    conv_forward(o, wide, &r->conv1.w, 1, false, &(epilogue){.bias = r->conv1.bias}, hidden);
    arena_release(ctx, POOL_ACTIVATIONS, inner);

    activate(o, r, hidden, &r->norm2, activated);
    epilogue e = *coupling;
    e.bias = r->conv2.bias;
    e.residual = x;
    if (r->in != r->out) {
        e.residual = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, r->out);
        gemm_forward(o, x, &r->shortcut.w, &(epilogue){.bias = r->shortcut.bias}, e.residual);
    }
    conv_forward(o, activated, &r->conv2.w, 1, false, &e, y);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}

// d, the gradient of silu(norm(x)), becomes with `residual` that of x.
static void activate_backward(ops *o, const resnet *r, tensor x, const norm_layer *norm, tensor d, tensor residual, tensor dx)
{
    group_norm_backward(o, x, norm->weight, norm->bias, r->groups, EPSILON, true, d, residual, dx, parameters_gradient(o, norm->weight),
                        parameters_gradient(o, norm->bias));
}

void resnet_backward(ops *o, const resnet *r, tensor x, const resnet_tape *tape, tensor dy, bool add_to_dx, tensor dx)
{
    context *ctx = o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor dhidden = push_like(o, x, r->out);

    const arena_mark inner = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor activated = push_like(o, x, r->out);
    activate(o, r, tape->hidden, &r->norm2, activated);
    conv_backward_weight(o, activated, dy, 1, false, parameters_gradient(o, r->conv2.w.plain), parameters_gradient(o, r->conv2.bias));
    arena_release(ctx, POOL_ACTIVATIONS, inner);
    conv_backward_data(o, dy, &r->conv2.w, 1, false, NULL, dhidden);
    activate_backward(o, r, tape->hidden, &r->norm2, dhidden, NO_TENSOR, dhidden);

    const tensor wide = push_like(o, x, r->in);
    activate(o, r, x, &r->norm1, wide);
    conv_backward_weight(o, wide, dhidden, 1, false, parameters_gradient(o, r->conv1.w.plain), parameters_gradient(o, r->conv1.bias));
    conv_backward_data(o, dhidden, &r->conv1.w, 1, false, NULL, wide);

    tensor around = dx; // the gradient that comes around the convolutions
    if (r->in != r->out) {
        gemm_backward_weight(o, x, dy, parameters_gradient(o, r->shortcut.w.plain), parameters_gradient(o, r->shortcut.bias));
        gemm_backward_data(o, dy, &r->shortcut.w, &(epilogue){.residual = add_to_dx ? dx : NO_TENSOR}, dx);
    } else if (add_to_dx) {
        add(o, dx, dy, dx);
    } else {
        around = dy;
    }
    activate_backward(o, r, x, &r->norm1, wide, around, dx);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}
