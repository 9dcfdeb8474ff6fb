// The U-Net's backward pass. Skip gradients are summed first, so the down path runs backwards once.
#include "model/unet.h"

#include "ops/conv.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

static tensor gradient(const pass *p, tensor value)
{
    return parameters_gradient(p->o, value);
}

// e1, e2: the gradients of the streams after y = x1 + merge x2, from d = e1 that of y. x2: the stream.
static void merge_backward(const pass *p, tensor d, tensor x2, tensor merge, tensor e2)
{
    dot_add(p->o, d, x2, gradient(p, merge));
    scale(p->o, d, merge, e2);
}

// (x1, x2) = (x, help x): e1 becomes the gradient of x.
static void help_backward(const pass *p, tensor x, tensor help, tensor e1, tensor e2)
{
    dot_add(p->o, x, e2, gradient(p, help));
    add_scaled(p->o, e1, e2, help, e1);
}

// douts: the gradients of the block's outputs, used up. dx += that of x.
static void down_backward(const pass *p, const down_block *d, tensor x, down_tape *tape, const tensor douts[3], tensor dx)
{
    context *ctx = p->o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    tensor e1 = douts[1], e2 = unet_push(p, e1, e1.c);
    if (d->has_downsampler) {
        conv_backward_weight(p->o, tape->outs[1], douts[2], 2, false, gradient(p, d->downsampler.w.plain),
                             gradient(p, d->downsampler.bias));
        conv_backward_data(p->o, douts[2], &d->downsampler.w, 2, false, &(epilogue){.residual = e1}, e1);
    }
    for (int j = 1; j >= 0; j--) {
        const chain *c = &d->chains[j];
        const tensor merge = unet_value_at(d->merge, j), x2 = tape->chains[j].x2[c->count];
        if (j == 1) {
            merge_backward(p, e1, x2, merge, e2);
        } else {
            dot_add(p->o, douts[0], x2, gradient(p, merge));
            add(p->o, e1, douts[0], e1);
            add_scaled(p->o, e2, douts[0], merge, e2);
        }
        chain_backward(p, c, &tape->chains[j], &e1, &e2);
    }
    help_backward(p, tape->chains[0].x1[0], d->help, e1, e2);
    if (d->has_first) resnet_backward(p->o, &d->first, x, &tape->first, e1, true, dx);
    else add(p->o, dx, e1, dx);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}

// dy: used up. dskips: written; dx: of x, added to where it is dskips[0] itself, else written.
static void up_backward(const pass *p, up_block *b, tensor x, const tensor skips[3], up_tape *tape, tensor dy, const tensor dskips[3],
                        tensor dx)
{
    context *ctx = p->o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const int count = b->chain.count;
    const tensor y1 = tape->chain.x1[count], y2 = tape->chain.x2[count];
    tensor e1 = b->has_upsampler ? unet_push(p, y1, y1.c) : dy, e2 = unet_push(p, y1, y1.c);
    if (b->has_upsampler) {
        const tensor merged = e2;
        add_scaled(p->o, y1, y2, b->merge, merged);
        conv_backward_weight(p->o, merged, dy, 1, true, gradient(p, b->upsampler.w.plain), gradient(p, b->upsampler.bias));
        conv_backward_data(p->o, dy, &b->upsampler.w, 1, true, NULL, e1);
    }
    merge_backward(p, e1, y2, b->merge, e2);
    unet_set_skips(b, skips, dskips);
    chain_backward(p, &b->chain, &tape->chain, &e1, &e2);
    help_backward(p, tape->chain.x1[0], b->help, e1, e2);

    const tensor both = unet_push_up_input(p, b, x, skips[0]), dboth = unet_push(p, both, both.c);
    resnet_backward(p->o, &b->first, both, &tape->first, e1, false, dboth);
    channels_slice(p->o, dboth, both.c - skips[0].c, false, dskips[0]);
    const bool same = dx.buffer == dskips[0].buffer && dx.offset == dskips[0].offset;
    for (int at = 0; at < both.c - skips[0].c; at += x.c) channels_slice(p->o, dboth, at, same || at > 0, dx);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}

void unet_backward(const pass *p, unet *u, unet_tape *tape, tensor dy, tensor dx)
{
    context *ctx = p->o->ctx;
    ops *o = p->o;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor in = tape->in, *d0 = tape->down[0].outs, *d1 = tape->down[1].outs;
    const tensor din = unet_push(p, in, in.c), dmiddle = unet_push(p, tape->middle, tape->middle.c);
    const tensor dd0[3] = {unet_push(p, in, in.c), unet_push(p, in, in.c), unet_push(p, d0[2], d0[2].c)};
    const tensor dd1[3] = {unet_push(p, d1[0], d1[0].c), unet_push(p, d1[1], d1[1].c), NO_TENSOR};

    const arena_mark last_mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor dlast = unet_push(p, tape->last, tape->last.c);
    group_norm_forward(o, tape->last, u->norm_out.weight, u->norm_out.bias, u->sizes.groups, UNET_NORM_EPSILON, true, dlast);
    conv_backward_weight(o, dlast, dy, 1, false, gradient(p, u->conv_out.w.plain), gradient(p, u->conv_out.bias));
    conv_backward_data(o, dy, &u->conv_out.w, 1, false, NULL, dlast);
    group_norm_backward(o, tape->last, u->norm_out.weight, u->norm_out.bias, u->sizes.groups, UNET_NORM_EPSILON, true, dlast, NO_TENSOR,
                        dlast, gradient(p, u->norm_out.weight), gradient(p, u->norm_out.bias));
    up_backward(p, &u->up[1], tape->middle, (const tensor[]){d0[1], d0[0], in}, &tape->up[1], dlast, (const tensor[]){dd0[1], dd0[0], din},
                dmiddle);
    arena_release(ctx, POOL_ACTIVATIONS, last_mark);

    up_backward(p, &u->up[0], d1[1], (const tensor[]){d1[1], d1[0], d0[2]}, &tape->up[0], dmiddle, (const tensor[]){dd1[1], dd1[0], dd0[2]},
                dd1[1]);
    down_backward(p, &u->down[1], d0[2], &tape->down[1], dd1, dd0[2]);
    down_backward(p, &u->down[0], in, &tape->down[0], dd0, din);
    conv_backward_weight(o, tape->x, din, 1, false, gradient(p, u->conv_in.w.plain), gradient(p, u->conv_in.bias));
    conv_backward_data(o, din, &u->conv_in.w, 1, false, NULL, dx);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}
