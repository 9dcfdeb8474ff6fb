#include "ops/loss.h"

#include "ops/flat.h"

void l1_loss(ops *o, tensor out, tensor x, float weight, tensor scale, tensor loss, tensor dout)
{
    const flat_grid g = flat_plan(o, tensor_elements(out));
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = flat_push_partials(o, &g, 1);
    kernel *k = kernel_get(o->ctx, "loss", "l1_loss", "%s -DSCALED=%d", g.options, tensor_given(scale));
    LAUNCH(o->ctx, k, g.w, ((cost){4.0 * g.count, 3 * (double)tensor_bytes(out)}), I(g.count), F(weight), T(out), T(x), T(scale), T(dout),
           T(partials));
    flat_sum(o, partials, weight, loss);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
