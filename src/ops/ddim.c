#include "ops/ddim.h"

#include "ops/conv_variants.h"
#include "ops/rows.h"

static rows_grid plan(const ops *o, tensor plane)
{
    return rows_plan(o, plane.n, plane.h, plane.w, 1, 4 * plane.w);
}

void alpha_bar_forward(ops *o, tensor alpha, tensor alpha_bar)
{
    const int steps = (int)tensor_elements(alpha);
    kernel *k = kernel_get(o->ctx, "ddim", "alpha_bar_forward", "-DVEC=1");
    LAUNCH(o->ctx, k, ((work){.groups = {1}}), ((cost){steps, (double)tensor_bytes(alpha) + (double)tensor_bytes(alpha_bar)}), I(steps),
           T(alpha), T(alpha_bar));
}

void ddim_start(ops *o, tensor back_projection, tensor alpha_bar, int steps, tensor x)
{
    const rows_grid g = plan(o, x);
    kernel *k = kernel_get(o->ctx, "ddim", "ddim_start", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){(double)tensor_elements(x), 2 * (double)tensor_bytes(x)}), ROWS(g), I(steps), T(back_projection),
           T(alpha_bar), T(x));
}

void ddim_step_forward(ops *o, const sensing *s, tensor x, tensor e, tensor alpha_bar, int t, tensor back_projection, const epilogue *c,
                       tensor result)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor x0 = sensing_push_shuffled(o, s, x.n), z = sensing_push_shuffled(o, s, x.n);
    const double elements = (double)tensor_elements(x), bytes = (double)tensor_bytes(x);
    const rows_grid g = plan(o, x);
    kernel *k = kernel_get(o->ctx, "ddim", "ddim_estimate", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){3 * elements, 4 * bytes}), ROWS(g), I(t), T(x), T(e), T(alpha_bar), T(s->inverse), T(x0));

    sensing_normal_shuffled(o, s, x0, z);

    const epilogue coupling = {.v = c->v, .mix = c->mix};
    k = kernel_get(o->ctx, "ddim", "ddim_update", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){8 * elements, 7 * bytes}), ROWS(g), I(t), T(x0), T(z), T(back_projection), T(e), T(alpha_bar),
           T(s->inverse), EPILOGUE(&coupling), T(result));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
