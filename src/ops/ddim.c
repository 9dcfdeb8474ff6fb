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

// ---- backward

enum { STEP_SUMS = 4, WIDE = 2 }; // scalar products of a step, floats of a wide sum (cl/ddim_backward.cl, cl/sums.clh)

static int groups_of(const rows_grid *g)
{
    return (int)(g->w.groups[1] * g->w.groups[2]);
}

static void merge(ops *o, const char *name, const rows_grid *g, int t, tensor partials, tensor alpha_bar, tensor dalpha_bar)
{
    kernel *k = kernel_get(o->ctx, "ddim_backward", name, "%s", g->options);
    work w = g->w;
    w.groups[0] = w.groups[1] = w.groups[2] = 1;
    LAUNCH(o->ctx, k, w, ((cost){3 * (double)tensor_elements(partials), (double)tensor_bytes(partials)}), I(groups_of(g)), I(t),
           T(partials), T(alpha_bar), T(dalpha_bar));
}

void ddim_step_backward(ops *o, const sensing *s, tensor x, tensor e, tensor alpha_bar, int t, tensor back_projection, tensor dr, tensor dx,
                        tensor de, tensor dalpha_bar)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const rows_grid g = plan(o, x);
    const tensor shuffled = sensing_push_shuffled(o, s, x.n), z = sensing_push_shuffled(o, s, x.n);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, groups_of(&g), STEP_SUMS * WIDE);
    sensing_shuffle(o, s, dr, shuffled);
    sensing_normal_shuffled(o, s, shuffled, z);

    kernel *k = kernel_get(o->ctx, "ddim_backward", "ddim_step_backward", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){37 * (double)tensor_elements(x), 8 * (double)tensor_bytes(x)}), ROWS(g), I(t), T(x), T(e), T(alpha_bar),
           T(s->inverse), T(back_projection), T(dr), T(z), T(dx), T(de), T(partials));
    merge(o, "ddim_step_merge", &g, t, partials, alpha_bar, dalpha_bar);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void ddim_start_backward(ops *o, tensor dx, tensor back_projection, tensor alpha_bar, int steps, tensor dalpha_bar)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const rows_grid g = plan(o, dx);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, groups_of(&g), WIDE);
    kernel *k = kernel_get(o->ctx, "ddim_backward", "ddim_start_backward", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){8 * (double)tensor_elements(dx), 2 * (double)tensor_bytes(dx)}), ROWS(g), T(dx), T(back_projection),
           T(partials));
    merge(o, "ddim_start_merge", &g, steps, partials, alpha_bar, dalpha_bar);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void alpha_bar_backward(ops *o, tensor alpha, tensor alpha_bar, tensor dalpha_bar, tensor dalpha)
{
    const int steps = (int)tensor_elements(alpha);
    kernel *k = kernel_get(o->ctx, "ddim_backward", "alpha_bar_backward", "-DVEC=1");
    LAUNCH(o->ctx, k, ((work){.groups = {1}}), ((cost){4 * (double)steps, 5 * (double)tensor_bytes(alpha)}), I(steps), T(alpha),
           T(alpha_bar), T(dalpha_bar), T(dalpha));
}
