#include "model/chain.h"

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

static void resnet_module_forward(ops *o, const module *m, tensor x1, const epilogue *coupling, tensor y)
{
    if (!tensor_given(m->skip)) {
        resnet_forward(o, &m->body.resnet, x1, coupling, y);
        return;
    }
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor both = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x1.n, x1.h, x1.w, x1.c + m->skip.c);
    channels_copy(o, x1, both, 0);
    channels_copy(o, m->skip, both, x1.c);
    resnet_forward(o, &m->body.resnet, both, coupling, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void chain_forward(const pass *p, const chain *c, tensor *x1, tensor *x2)
{
    for (int i = 0; i < c->count; i++) {
        const module *m = &c->modules[i];
        const epilogue coupling = {.v = m->v, .mix = *x2};
        const int s = p->step - 1;
        switch (m->kind) {
        case MODULE_RESNET:
            resnet_module_forward(p->o, m, *x1, &coupling, *x2);
            break;
        case MODULE_TRANSFORMER:
            transformer_forward(p->o, &m->body.transformer, *x1, &coupling, *x2);
            break;
        case MODULE_INJECTOR: {
            const injector *j = &m->body.injector;
            injector_forward(p->o, p->s, *x1, j->r, j->f2i_weight[s], j->f2i_bias[s], j->i2f_weight[s], j->i2f_bias[s], p->back_projection,
                             &coupling, *x2);
            break;
        }
        }
        const tensor y1 = *x2;
        *x2 = *x1;
        *x1 = y1;
        if (p->after_module) p->after_module(p->user);
    }
}
