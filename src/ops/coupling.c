#include "ops/coupling.h"

#include "ops/flat.h"

void coupling_forward(ops *o, tensor f, tensor x2, tensor v, tensor y1)
{
    const flat_grid g = flat_plan(o, tensor_elements(y1));
    kernel *k = kernel_get(o->ctx, "coupling", "coupling_forward", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){3.0 * g.count, 3 * (double)tensor_bytes(y1)}), I(g.count), T(f), T(x2), T(v), T(y1));
}

void coupling_invert(ops *o, tensor f, tensor y1, tensor v, tensor x2)
{
    const flat_grid g = flat_plan(o, tensor_elements(y1));
    kernel *k = kernel_get(o->ctx, "coupling", "coupling_invert", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){3.0 * g.count, 3 * (double)tensor_bytes(y1)}), I(g.count), T(f), T(y1), T(v), T(x2));
}

void coupling_backward(ops *o, tensor f, tensor x2, tensor v, tensor dy1, tensor dbody, tensor dx2, tensor dv)
{
    const flat_grid g = flat_plan(o, tensor_elements(dy1));
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = flat_push_partials(o, &g, 1);
    kernel *k = kernel_get(o->ctx, "coupling", "coupling_backward", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){5.0 * g.count, 5 * (double)tensor_bytes(dy1)}), I(g.count), T(f), T(x2), T(v), T(dy1), T(dbody), T(dx2),
           T(partials));
    flat_sum(o, partials, 1, dv);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
