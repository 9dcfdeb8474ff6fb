#include "model/unet.h"

#include "ops/conv.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

// ---- putting it together

static void add_resnet(parameters *p, chain *c, const unet *u, int in, int out, const char *block, int j)
{
    char name[80];
    (void)snprintf(name, sizeof name, "%s.resnets.%d", block, j);
    c->modules[c->count++] = (module){.kind = MODULE_RESNET, .body.resnet = resnet_create(p, in, out, u->sizes.groups, name)};
}

// injector 2j, attention j, injector 2j + 1
static void add_attention(parameters *p, chain *c, const unet *u, int channels, int r, const char *block, int j)
{
    char name[80];
    for (int part = 0; part < 3; part++) {
        module m = {.kind = part == 1 ? MODULE_TRANSFORMER : MODULE_INJECTOR};
        if (part == 1) {
            (void)snprintf(name, sizeof name, "%s.attentions.%d", block, j);
            m.body.transformer = transformer_create(p, channels, u->sizes.heads, u->sizes.groups, name);
        } else {
            (void)snprintf(name, sizeof name, "%s.injectors.%d", block, 2 * j + part / 2);
            m.body.injector = injector_create(p, channels, r, u->sizes.steps, name);
        }
        c->modules[c->count++] = m;
    }
}

static void create_down(parameters *p, unet *u, int level)
{
    down_block *d = &u->down[level];
    const int in = u->sizes.channels[0], c = u->sizes.channels[level], r = level ? 4 : 2;
    char name[64];
    (void)snprintf(name, sizeof name, "unet.down_blocks.%d", level);
    d->has_first = level == 1;
    for (int j = 0; j < 2; j++) {
        if (j == 0 && d->has_first) {
            char first[80];
            (void)snprintf(first, sizeof first, "%s.resnets.0", name);
            d->first = resnet_create(p, in, c, u->sizes.groups, first);
        } else {
            add_resnet(p, &d->chains[j], u, c, c, name, j);
        }
        add_attention(p, &d->chains[j], u, c, r, name, j);
        for (int k = 0; k < d->chains[j].count; k++)
            d->chains[j].modules[k].v = parameters_vector(p, 1, "%s.rev_module_lists.%d.%d.v", name, j, k);
    }
    d->help = parameters_vector(p, 1, "%s.input_help_scale_factor", name);
    d->merge = parameters_vector(p, 2, "%s.merge_scale_factors", name);
    d->has_downsampler = level == 0;
    if (d->has_downsampler) d->downsampler = parameters_layer(p, c, c, 3, true, "%s.downsamplers.0.conv", name);
}

static void create_up(parameters *p, unet *u, int level)
{
    up_block *b = &u->up[level];
    const int c0 = u->sizes.channels[0], c1 = u->sizes.channels[1], c = level ? c0 : c1, r = level ? 2 : 4;
    const int in[2][3] = {{3 * c1, 2 * c1, c1 + c0}, {c1 + c0, 2 * c0, 2 * c0}};
    char name[64], first[80];
    (void)snprintf(name, sizeof name, "unet.up_blocks.%d", level);
    (void)snprintf(first, sizeof first, "%s.resnets.0", name);
    b->first = resnet_create(p, in[level][0], c, u->sizes.groups, first);
    for (int j = 0; j < 3; j++) {
        if (j > 0) add_resnet(p, &b->chain, u, in[level][j], c, name, j);
        add_attention(p, &b->chain, u, c, r, name, j);
    }
    for (int k = 0; k < b->chain.count; k++) b->chain.modules[k].v = parameters_vector(p, 1, "%s.rev_module_list.%d.v", name, k);
    b->help = parameters_vector(p, 1, "%s.input_help_scale_factor", name);
    b->merge = parameters_vector(p, 1, "%s.merge_scale_factor", name);
    b->has_upsampler = level == 0;
    if (b->has_upsampler) b->upsampler = parameters_layer(p, c, c, 3, true, "%s.upsamplers.0.conv", name);
}

void unet_create(parameters *p, const model_sizes *sizes, unet *u)
{
    *u = (unet){.sizes = *sizes};
    const int c0 = sizes->channels[0];
    u->conv_in = parameters_layer(p, 4, c0, 3, true, "unet.conv_in");
    for (int level = 0; level < 2; level++) create_down(p, u, level);
    for (int level = 0; level < 2; level++) create_up(p, u, level);
    u->norm_out = parameters_norm(p, c0, "unet.conv_norm_out");
    u->conv_out = parameters_layer(p, c0, 4, 3, true, "unet.conv_out");
}

// ---- forward

tensor unet_push(const pass *p, tensor like, int channels)
{
    return arena_push(p->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, like.n, like.h, like.w, channels);
}

tensor unet_value_at(tensor values, int i)
{
    values.offset += (size_t)i * sizeof(float);
    values.c = 1;
    return values;
}

void unet_set_skips(up_block *b, const tensor skips[3], const tensor *gradients)
{
    for (int k = 0, j = 1; k < b->chain.count; k++)
        if (b->chain.modules[k].kind == MODULE_RESNET) {
            b->chain.modules[k].skip = skips[j];
            b->chain.modules[k].skip_gradient = gradients ? gradients[j] : NO_TENSOR;
            j++;
        }
}

tensor unet_push_up_input(const pass *p, const up_block *b, tensor x, tensor skip)
{
    const tensor both = unet_push(p, x, b->first.in);
    for (int at = 0; at < both.c - skip.c; at += x.c) channels_copy(p->o, x, both, at);
    channels_copy(p->o, skip, both, both.c - skip.c);
    return both;
}

// The streams that a chain starts from may be overwritten: copies of those that have to stay.
static tensor startable(const pass *p, const chain_tape *tape, tensor x)
{
    if (tape && tape->mode != IDM_RECOMPUTE_INVERT) return x;
    const tensor copy = unet_push(p, x, x.c);
    context_copy(p->o->ctx, x, copy);
    return copy;
}

static chain_tape *begin_chain(const pass *p, const chain *c, chain_tape *tape)
{
    if (tape) *tape = (chain_tape){.mode = chain_mode(p, c)};
    return tape;
}

// outs: what the block hands on, in order: the merge after each chain (both are skips), then the downsampled one if it has a downsampler.
static void down_forward(const pass *p, const down_block *d, tensor x, const tensor outs[3], down_tape *tape)
{
    context *ctx = p->o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    chain_tape *tapes[2] = {0};
    for (int j = 0; tape && j < 2; j++) {
        tapes[j] = begin_chain(p, &d->chains[j], &tape->chains[j]);
        tape->outs[j] = outs[j];
        tape->outs[2] = outs[2];
    }
    tensor x1;
    if (d->has_first) {
        x1 = unet_push(p, x, outs[0].c);
        if (tape) tape->first = resnet_tape_push(p->o, &d->first, x);
        resnet_forward(p->o, &d->first, x, &(epilogue){0}, x1, tape ? &tape->first : NULL);
    } else {
        x1 = startable(p, tapes[0], x); // x itself is a skip and stays
    }
    tensor x2 = unet_push(p, x, outs[0].c);
    scale(p->o, x1, d->help, x2);
    for (int j = 0; j < 2; j++) {
        if (tape && j > 0) {
            x1 = startable(p, tapes[j], x1);
            x2 = startable(p, tapes[j], x2);
        }
        chain_forward(p, &d->chains[j], &x1, &x2, tapes[j]);
        add_scaled(p->o, x1, x2, unet_value_at(d->merge, j), outs[j]);
    }
    if (d->has_downsampler) conv_forward(p->o, outs[1], &d->downsampler.w, 2, false, &(epilogue){.bias = d->downsampler.bias}, outs[2]);
    if (!tape) arena_release(ctx, POOL_ACTIVATIONS, mark);
}

// skips: of the three resnets in order. y: (n, h, w, c), or with an upsampler (n, 2h, 2w, c).
static void up_forward(const pass *p, up_block *b, tensor x, const tensor skips[3], tensor y, up_tape *tape)
{
    context *ctx = p->o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    chain_tape *modules = begin_chain(p, &b->chain, tape ? &tape->chain : NULL);
    tensor x1 = unet_push(p, x, b->first.out), x2 = unet_push(p, x, b->first.out);
    if (tape) tape->first = resnet_tape_push(p->o, &b->first, x);

    const arena_mark inner = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor both = unet_push_up_input(p, b, x, skips[0]);
    resnet_forward(p->o, &b->first, both, &(epilogue){0}, x1, tape ? &tape->first : NULL);
    arena_release(ctx, POOL_ACTIVATIONS, inner);

    scale(p->o, x1, b->help, x2);
    unet_set_skips(b, skips, NULL);
    chain_forward(p, &b->chain, &x1, &x2, modules);
    if (b->has_upsampler) {
        const arena_mark merge_mark = arena_save(ctx, POOL_ACTIVATIONS);
        const tensor merged = tape ? unet_push(p, x1, x1.c) : x1;
        add_scaled(p->o, x1, x2, b->merge, merged);
        conv_forward(p->o, merged, &b->upsampler.w, 1, true, &(epilogue){.bias = b->upsampler.bias}, y);
        arena_release(ctx, POOL_ACTIVATIONS, merge_mark);
    } else {
        add_scaled(p->o, x1, x2, b->merge, y);
    }
    if (!tape) arena_release(ctx, POOL_ACTIVATIONS, mark);
}

void unet_forward(const pass *p, unet *u, tensor x, tensor y, unet_tape *tape)
{
    context *ctx = p->o->ctx;
    const int c0 = u->sizes.channels[0], c1 = u->sizes.channels[1];
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor in = unet_push(p, x, c0);
    const tensor half = {.n = x.n, .h = (x.h + 1) / 2, .w = (x.w + 1) / 2};
    const tensor d0[3] = {unet_push(p, x, c0), unet_push(p, x, c0), unet_push(p, half, c0)};
    const tensor d1[3] = {unet_push(p, half, c1), unet_push(p, half, c1), NO_TENSOR};
    conv_forward(p->o, x, &u->conv_in.w, 1, false, &(epilogue){.bias = u->conv_in.bias}, in);
    down_forward(p, &u->down[0], in, d0, tape ? &tape->down[0] : NULL);
    down_forward(p, &u->down[1], d0[2], d1, tape ? &tape->down[1] : NULL);
    const tensor middle = unet_push(p, x, c1), last = unet_push(p, x, c0);
    up_forward(p, &u->up[0], d1[1], (const tensor[]){d1[1], d1[0], d0[2]}, middle, tape ? &tape->up[0] : NULL);
    up_forward(p, &u->up[1], middle, (const tensor[]){d0[1], d0[0], in}, last, tape ? &tape->up[1] : NULL);

    const arena_mark inner = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor normed = tape ? unet_push(p, last, c0) : last;
    group_norm_forward(p->o, last, u->norm_out.weight, u->norm_out.bias, u->sizes.groups, UNET_NORM_EPSILON, true, normed);
    conv_forward(p->o, normed, &u->conv_out.w, 1, false, &(epilogue){.bias = u->conv_out.bias}, y);
    arena_release(ctx, POOL_ACTIVATIONS, inner);
    if (tape) {
        tape->x = x;
        tape->in = in;
        tape->middle = middle;
        tape->last = last;
    } else {
        arena_release(ctx, POOL_ACTIVATIONS, mark);
    }
}
