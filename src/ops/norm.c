#include "ops/norm.h"

#include "ops/rows.h"

static double bytes(tensor t)
{
    return (double)tensor_bytes(t);
}

void group_norm_forward(ops *o, tensor x, tensor gamma, tensor beta, int groups, float eps, bool silu, tensor y)
{
    const bool cpu = o->table.pointwise == VARIANT_CPU;
    const int pixels = x.h * x.w, vec = ops_pointwise_width(o, x.c);
    const rows_grid apply = rows_plan(o, x.n, pixels, x.c, vec, 2 * x.c);
    const int chunk = cpu ? 64 : 16, span = cpu ? ops_vector_width(apply.vectors, 4) : 1, items = cpu ? 1 : 64;
    const int chunks = (int)ceil_div((size_t)pixels, (size_t)chunk), group_channels = x.c / groups;

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, chunks, 2, x.c);
    const tensor affine = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, 1, 2, x.c);

    kernel *k = kernel_get(o->ctx, "norm", "group_norm_chunks", "%s -DCHUNK=%d -DSPAN=%d", apply.options, chunk, span);
    work w = apply.w;
    w.groups[0] = ceil_div((size_t)apply.vectors, (size_t)span * (size_t)apply.lanes);
    w.groups[1] = ceil_div((size_t)chunks, (size_t)apply.row_items);
    LAUNCH(o->ctx, k, w, ((cost){4 * (double)tensor_elements(x), bytes(x) + bytes(partials)}), I(pixels), I(x.c), I(chunks), T(x),
           T(partials));

    k = kernel_get(o->ctx, "norm", "group_norm_merge", "-DVEC=1 -DCHUNK=%d -DMERGE_ITEMS=%d", chunk, items);
    w = (work){.groups = {(size_t)groups, (size_t)x.n}, .local = {(size_t)items}};
    LAUNCH(o->ctx, k, w, ((cost){4 * (double)tensor_elements(partials), bytes(partials)}), I(pixels), I(x.c), I(chunks), I(group_channels),
           F(eps), T(partials), T(gamma), T(beta), T(affine));

    k = kernel_get(o->ctx, "norm", "group_norm_apply", "%s -DSILU=%d -DEXACT=%d", apply.options, silu, o->exact);
    LAUNCH(o->ctx, k, apply.w, ((cost){(silu ? 6 : 2) * (double)tensor_elements(x), bytes(x) + bytes(y)}), ROWS(apply), T(x), T(affine),
           T(y));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void layer_norm_forward(ops *o, tensor x, tensor gamma, tensor beta, float eps, tensor y)
{
    const rows_grid g = rows_plan(o, 1, tensor_rows(x), x.c, ops_pointwise_width(o, x.c), 2 * x.c);
    kernel *k = kernel_get(o->ctx, "norm", "layer_norm", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){8 * (double)tensor_elements(x), bytes(x) + bytes(y)}), ROWS(g), F(eps), T(x), T(gamma), T(beta), T(y));
}
