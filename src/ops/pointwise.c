#include "ops/pointwise.h"

#include "ops/conv_variants.h"
#include "ops/flat.h"
#include "ops/rows.h"
#include "ops/storage.h"

static double bytes(tensor t)
{
    return (double)tensor_bytes(t);
}

// `streams` tensors as large as t are read or written.
static rows_grid plan(const ops *o, tensor t, int streams)
{
    return rows_plan(o, 1, tensor_rows(t), t.c, ops_pointwise_width(o, t.c), streams * t.c);
}

void silu_forward(ops *o, tensor x, tensor y)
{
    x = rows_flat(x);
    const rows_grid g = plan(o, x, 2);
    kernel *k = kernel_get(o->ctx, "pointwise", "silu_forward", "%s -DEXACT=%d", g.options, o->exact);
    LAUNCH(o->ctx, k, g.w, ((cost){4 * (double)tensor_elements(x), bytes(x) + bytes(y)}), ROWS(g), T(x), T(y));
}

void geglu_forward(ops *o, tensor x, tensor y)
{
    const rows_grid g = plan(o, y, 3);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor wide = storage_widen(o, x), place = storage_place(o, y);
    kernel *k = kernel_get(o->ctx, "pointwise", "geglu_forward", "%s -DEXACT=%d", g.options, o->exact);
    LAUNCH(o->ctx, k, g.w, ((cost){8 * (double)tensor_elements(y), bytes(wide) + bytes(place)}), ROWS(g), T(wide), T(place));
    storage_narrow(o, place, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void geglu_backward(ops *o, tensor x, tensor dy, tensor dx)
{
    const rows_grid g = plan(o, dy, 5);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor place = storage_place(o, dx);
    x = storage_widen(o, x);
    dy = storage_widen(o, dy);
    kernel *k = kernel_get(o->ctx, "pointwise", "geglu_backward", "%s -DEXACT=%d", g.options, o->exact);
    LAUNCH(o->ctx, k, g.w, ((cost){12 * (double)tensor_elements(dy), bytes(x) + bytes(dy) + bytes(place)}), ROWS(g), T(x), T(dy), T(place));
    storage_narrow(o, place, dx);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void channels_copy(ops *o, tensor x, tensor y, int first)
{
    const rows_grid g = plan(o, x, 2);
    kernel *k = kernel_get(o->ctx, "pointwise", "channels_copy", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){0, 2 * bytes(x)}), ROWS(g), I(y.c), I(first), T(x), T(y));
}

void channels_slice(ops *o, tensor x, int first, bool add_to, tensor y)
{
    const rows_grid g = plan(o, y, 3);
    kernel *k = kernel_get(o->ctx, "pointwise", "channels_slice", "%s -DADD=%d", g.options, add_to);
    LAUNCH(o->ctx, k, g.w, ((cost){add_to ? (double)tensor_elements(y) : 0, (add_to ? 3 : 2) * bytes(y)}), ROWS(g), I(x.c), I(first), T(x),
           T(y));
}

void upsample_nearest(ops *o, tensor x, tensor y)
{
    const rows_grid g = plan(o, y, 2);
    kernel *k = kernel_get(o->ctx, "pointwise", "upsample_nearest", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){0, bytes(x) + bytes(y)}), ROWS(g), I(y.w), T(x), T(y));
}

void upsample_nearest_backward(ops *o, tensor dy, const epilogue *e, tensor dx)
{
    const rows_grid g = plan(o, dx, 5);
    kernel *k = kernel_get(o->ctx, "pointwise", "upsample_nearest_backward", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){3 * (double)tensor_elements(dx), bytes(dy) + 2 * bytes(dx)}), ROWS(g), I(dx.w), T(dy), EPILOGUE(e),
           T(dx));
}

void add(ops *o, tensor x, tensor z, tensor y)
{
    x = rows_flat(x);
    const rows_grid g = plan(o, x, 3);
    kernel *k = kernel_get(o->ctx, "pointwise", "add", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){(double)tensor_elements(x), 3 * bytes(x)}), ROWS(g), T(x), T(z), T(y));
}

void dot_add(ops *o, tensor x, tensor z, tensor a)
{
    const flat_grid g = flat_plan(o, tensor_elements(x));
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = flat_push_partials(o, &g, 1);
    kernel *k = kernel_get(o->ctx, "reduce", "dot_blocks", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){2.0 * g.count, 2 * bytes(x)}), I(g.count), T(x), T(z), T(partials));
    flat_sum(o, partials, 1, a);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void scale(ops *o, tensor x, tensor a, tensor y)
{
    x = rows_flat(x);
    const rows_grid g = plan(o, x, 2);
    kernel *k = kernel_get(o->ctx, "pointwise", "scale", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){(double)tensor_elements(x), bytes(x) + bytes(y)}), ROWS(g), T(x), T(a), T(y));
}

void add_scaled(ops *o, tensor x, tensor z, tensor a, tensor y)
{
    x = rows_flat(x);
    const rows_grid g = plan(o, x, 3);
    kernel *k = kernel_get(o->ctx, "pointwise", "add_scaled", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){2 * (double)tensor_elements(x), 3 * bytes(x)}), ROWS(g), T(x), T(z), T(a), T(y));
}

void epilogue_forward(ops *o, tensor x, const epilogue *e, tensor y)
{
    const rows_grid g = plan(o, x, 4);
    const int operands = 2 + tensor_given(e->residual) + tensor_given(e->v);
    kernel *k = kernel_get(o->ctx, "pointwise", "epilogue_forward", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){5 * (double)tensor_elements(x), operands * bytes(x)}), ROWS(g), T(x), EPILOGUE(e), T(y));
}

static void shuffle(ops *o, tensor feature, tensor x, int r, tensor y, bool to_feature)
{
    const rows_grid g = rows_plan(o, 1, tensor_rows(feature), feature.c, 1, 2 * feature.c);
    kernel *k = kernel_get(o->ctx, "pointwise", "pixel_shuffle", "%s -DTO_FEATURE=%d", g.options, to_feature);
    LAUNCH(o->ctx, k, g.w, ((cost){0, bytes(x) + bytes(y)}), ROWS(g), I(feature.w), I(r), T(x), T(y));
}

void pixel_shuffle(ops *o, tensor x, int r, tensor y)
{
    shuffle(o, x, x, r, y, false);
}

void pixel_unshuffle(ops *o, tensor x, int r, tensor y)
{
    shuffle(o, y, x, r, y, true);
}
