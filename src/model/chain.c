#include "model/chain.h"

#include "ops/coupling.h"
#include "ops/injector.h"
#include "ops/pointwise.h"

injector injector_create(parameters *p, int channels, int r, int steps, const char *name)
{
    const int planes = channels / (r * r);
    injector j = {.r = r};
    for (int s = 0; s < steps; s++) {
        j.f2i_weight[s] = parameters_plain_kernel(p, 1, planes, "%s.f2i.%d.1.weight", name, s);
        j.f2i_bias[s] = parameters_vector(p, 1, "%s.f2i.%d.1.bias", name, s);
        j.i2f_weight[s] = parameters_plain_kernel(p, planes, 3, "%s.i2f.%d.0.weight", name, s);
        j.i2f_bias[s] = parameters_vector(p, planes, "%s.i2f.%d.0.bias", name, s);
    }
    return j;
}

static tensor push_like(const pass *p, tensor x, int channels)
{
    return arena_push(p->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, channels);
}

// ---- bodies

// cat[x1, skip]
static tensor push_both(const pass *p, const module *m, tensor x1)
{
    const tensor both = push_like(p, x1, x1.c + m->skip.c);
    channels_copy(p->o, x1, both, 0);
    channels_copy(p->o, m->skip, both, x1.c);
    return both;
}

static module_tape module_tape_push(const pass *p, const module *m, tensor x1)
{
    module_tape tape = {.f = push_like(p, x1, x1.c)};
    if (m->kind == MODULE_RESNET) tape.body.resnet = resnet_tape_push(p->o, &m->body.resnet, x1);
    if (m->kind == MODULE_TRANSFORMER) tape.body.transformer = transformer_tape_push(p->o, &m->body.transformer, x1, p->keep_wide);
    return tape;
}

static void body_forward(const pass *p, const module *m, tensor x1, const epilogue *coupling, tensor y, const module_tape *tape)
{
    const arena_mark mark = arena_save(p->o->ctx, POOL_ACTIVATIONS);
    const int s = p->step - 1;
    switch (m->kind) {
    case MODULE_RESNET:
        resnet_forward(p->o, &m->body.resnet, tensor_given(m->skip) ? push_both(p, m, x1) : x1, coupling, y,
                       tape ? &tape->body.resnet : NULL);
        break;
    case MODULE_TRANSFORMER:
        transformer_forward(p->o, &m->body.transformer, x1, coupling, y, tape ? &tape->body.transformer : NULL);
        break;
    case MODULE_INJECTOR: {
        const injector *j = &m->body.injector;
        injector_forward(p->o, p->s, x1, j->r, j->f2i_weight[s], j->f2i_bias[s], j->i2f_weight[s], j->i2f_bias[s], p->back_projection,
                         coupling, y);
        break;
    }
    }
    arena_release(p->o->ctx, POOL_ACTIVATIONS, mark);
    if (p->after_module) p->after_module(p->user);
}

static void injector_module_backward(const pass *p, const injector *j, tensor x1, tensor df, tensor dx1)
{
    const int s = p->step - 1;
    ops *o = p->o;
    injector_backward(o, p->s, x1, j->r, j->f2i_weight[s], j->f2i_bias[s], j->i2f_weight[s], p->back_projection, df, df,
                      parameters_gradient(o, j->f2i_weight[s]), parameters_gradient(o, j->f2i_bias[s]),
                      parameters_gradient(o, j->i2f_weight[s]), parameters_gradient(o, j->i2f_bias[s]));
    add(o, dx1, df, dx1);
}

// dx1 += body'(x1)^T df; df is used up.
static void body_backward(const pass *p, const module *m, tensor x1, const module_tape *tape, tensor df, tensor dx1)
{
    const arena_mark mark = arena_save(p->o->ctx, POOL_ACTIVATIONS);
    switch (m->kind) {
    case MODULE_RESNET:
        if (tensor_given(m->skip)) {
            const tensor both = push_both(p, m, x1), dboth = push_like(p, both, both.c);
            resnet_backward(p->o, &m->body.resnet, both, &tape->body.resnet, df, false, dboth);
            channels_slice(p->o, dboth, 0, true, dx1);
            channels_slice(p->o, dboth, x1.c, false, m->skip_gradient);
        } else {
            resnet_backward(p->o, &m->body.resnet, x1, &tape->body.resnet, df, true, dx1);
        }
        break;
    case MODULE_TRANSFORMER:
        transformer_backward(p->o, &m->body.transformer, x1, &tape->body.transformer, df, dx1);
        break;
    case MODULE_INJECTOR:
        injector_module_backward(p, &m->body.injector, x1, df, dx1);
        break;
    }
    arena_release(p->o->ctx, POOL_ACTIVATIONS, mark);
    if (p->after_module) p->after_module(p->user);
}

// ---- chains

idm_recompute chain_mode(const pass *p, const chain *c)
{
    return p->recompute == IDM_RECOMPUTE_INVERT && c->small_v ? IDM_RECOMPUTE_BLOCKS : p->recompute;
}

static void swap(tensor *a, tensor *b)
{
    const tensor t = *a;
    *a = *b;
    *b = t;
}

static tensor push_copy(const pass *p, tensor x)
{
    const tensor copy = push_like(p, x, x.c);
    context_copy(p->o->ctx, x, copy);
    return copy;
}

// In place; an inverted chain's tape gets its anchors and ends.
static void forward_in_place(const pass *p, const chain *c, tensor *x1, tensor *x2, chain_tape *tape)
{
    for (int i = 0; i < c->count; i++) {
        const module *m = &c->modules[i];
        if (tape && i > 0 && i % CHAIN_ANCHOR_EVERY == 0) {
            tape->x1[i] = push_copy(p, *x1);
            tape->x2[i] = push_copy(p, *x2);
        }
        body_forward(p, m, *x1, &(epilogue){.v = m->v, .mix = *x2}, *x2, NULL);
        swap(x1, x2);
    }
    if (!tape) return;
    tape->x1[c->count] = *x1;
    tape->x2[c->count] = *x2;
}

// All streams are kept, and without recomputation all that the bodies leave.
static void forward_kept(const pass *p, const chain *c, tensor *x1, tensor *x2, chain_tape *tape)
{
    for (int i = 0; i < c->count; i++) {
        const module *m = &c->modules[i];
        tape->x1[i] = *x1;
        tape->x2[i] = *x2;
        const tensor y1 = push_like(p, *x1, x1->c);
        if (tape->mode == IDM_RECOMPUTE_NONE) {
            tape->modules[i] = module_tape_push(p, m, *x1);
            body_forward(p, m, *x1, &(epilogue){0}, tape->modules[i].f, &tape->modules[i]);
            coupling_forward(p->o, tape->modules[i].f, *x2, m->v, y1);
        } else {
            body_forward(p, m, *x1, &(epilogue){.v = m->v, .mix = *x2}, y1, NULL);
        }
        *x2 = *x1;
        *x1 = y1;
    }
    tape->x1[c->count] = *x1;
    tape->x2[c->count] = *x2;
}

void chain_forward(const pass *p, const chain *c, tensor *x1, tensor *x2, chain_tape *tape)
{
    if (!tape || tape->mode == IDM_RECOMPUTE_INVERT) forward_in_place(p, c, x1, x2, tape);
    else forward_kept(p, c, x1, x2, tape);
}

// Module i's part; the tape has x1[i], and x1[i + 1] when inverting. Gives the tape x2[i].
static void module_backward(const pass *p, const chain *c, int i, chain_tape *tape, tensor *d1, tensor *d2)
{
    const module *m = &c->modules[i];
    const arena_mark mark = arena_save(p->o->ctx, POOL_ACTIVATIONS);
    module_tape made = tape->modules[i];
    if (tape->mode != IDM_RECOMPUTE_NONE) {
        made = module_tape_push(p, m, tape->x1[i]);
        body_forward(p, m, tape->x1[i], &(epilogue){0}, made.f, &made);
    }
    if (!tensor_given(tape->x2[i])) {
        tape->x2[i] = tape->x1[i + 1]; // not needed any more
        coupling_invert(p->o, made.f, tape->x1[i + 1], m->v, tape->x2[i]);
    }
    coupling_backward(p->o, made.f, tape->x2[i], m->v, *d1, made.f, *d1, parameters_gradient(p->o, m->v));
    body_backward(p, m, tape->x1[i], &made, made.f, *d2);
    arena_release(p->o->ctx, POOL_ACTIVATIONS, mark);
    swap(d1, d2);
}

void chain_backward(const pass *p, const chain *c, chain_tape *tape, tensor *d1, tensor *d2)
{
    for (int i = c->count - 1; i >= 0; i--) {
        if (!tensor_given(tape->x1[i])) tape->x1[i] = tape->x2[i + 1];
        module_backward(p, c, i, tape, d1, d2);
    }
}
