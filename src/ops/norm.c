#include "ops/norm.h"

#include "ops/flat.h"
#include "ops/rows.h"
#include "ops/storage.h"

static double bytes(tensor t)
{
    return (double)tensor_bytes(t);
}

// How GroupNorm's sums over chunks of pixels are laid out.
typedef struct chunk_grid {
    int pixels, count, chunk, span; // chunks of a sample, pixels in one, vectors per item
    work w;
    char options[160];
} chunk_grid;

static chunk_grid plan_chunks(const ops *o, tensor x, int cpu_span)
{
    const bool cpu = o->table.pointwise == VARIANT_CPU;
    const rows_grid rows = rows_plan(o, x.n, x.h * x.w, x.c, ops_pointwise_width(o, x.c), 2 * x.c);
    chunk_grid g = {.pixels = x.h * x.w, .chunk = cpu ? 64 : 16, .span = cpu ? ops_vector_width(rows.vectors, cpu_span) : 1};
    g.count = (int)ceil_div((size_t)g.pixels, (size_t)g.chunk);
    g.w = rows.w;
    g.w.groups[0] = ceil_div((size_t)rows.vectors, (size_t)g.span * (size_t)rows.lanes);
    g.w.groups[1] = ceil_div((size_t)g.count, (size_t)rows.row_items);
    (void)snprintf(g.options, sizeof g.options, "%s -DCHUNK=%d -DSPAN=%d", rows.options, g.chunk, g.span);
    return g;
}

static int merge_items(const ops *o)
{
    return o->table.pointwise == VARIANT_CPU ? 1 : 64;
}

// Fills `result` (n, 1, 2, c): each channel's scale and shift, or, for `moments`, its mean and 1 / sqrt(var + eps).
static void group_statistics(ops *o, tensor x, tensor gamma, tensor beta, int groups, float eps, bool moments, tensor result)
{
    const chunk_grid g = plan_chunks(o, x, 4);
    const int items = merge_items(o);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, g.count, 2, x.c);

    kernel *k = kernel_get(o->ctx, "norm", "group_norm_chunks", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){4 * (double)tensor_elements(x), bytes(x) + bytes(partials)}), I(g.pixels), I(x.c), I(g.count), T(x),
           T(partials));

    k = kernel_get(o->ctx, "norm", "group_norm_merge", "-DVEC=1 -DCHUNK=%d -DITEMS=%d -DMOMENTS=%d", g.chunk, items, moments);
    const work w = {.groups = {(size_t)groups, (size_t)x.n}, .local = {(size_t)items}};
    LAUNCH(o->ctx, k, w, ((cost){4 * (double)tensor_elements(partials), bytes(partials)}), I(g.pixels), I(x.c), I(g.count), I(x.c / groups),
           F(eps), T(partials), T(gamma), T(beta), T(result));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void group_norm_forward(ops *o, tensor x, tensor gamma, tensor beta, int groups, float eps, bool silu, tensor y)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor affine = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, 1, 2, x.c), place = storage_place(o, y);
    x = storage_widen(o, x);
    group_statistics(o, x, gamma, beta, groups, eps, false, affine);

    const rows_grid g = rows_plan(o, x.n, x.h * x.w, x.c, ops_pointwise_width(o, x.c), 2 * x.c);
    kernel *k = kernel_get(o->ctx, "norm", "group_norm_apply", "%s -DSILU=%d -DEXACT=%d", g.options, silu, o->exact);
    LAUNCH(o->ctx, k, g.w, ((cost){(silu ? 6 : 2) * (double)tensor_elements(x), bytes(x) + bytes(y)}), ROWS(g), T(x), T(affine), T(place));
    storage_narrow(o, place, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void layer_norm_forward(ops *o, tensor x, tensor gamma, tensor beta, float eps, tensor y)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor place = storage_place(o, y);
    const rows_grid g = rows_plan(o, 1, tensor_rows(x), x.c, ops_pointwise_width(o, x.c), 2 * x.c);
    kernel *k = kernel_get(o->ctx, "norm", "layer_norm", "%s", g.options);
    x = storage_widen(o, x);
    LAUNCH(o->ctx, k, g.w, ((cost){8 * (double)tensor_elements(x), bytes(x) + bytes(y)}), ROWS(g), F(eps), T(x), T(gamma), T(beta),
           T(place));
    storage_narrow(o, place, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// Per sample and channel: the sums of d and d h (cl/norm_backward.cl) over the pixels.
static void group_sums(ops *o, tensor x, tensor moments, tensor gamma, tensor beta, bool silu, tensor dy, tensor sums)
{
    const chunk_grid g = plan_chunks(o, x, 4);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, g.count, 2, x.c);
    kernel *k = kernel_get(o->ctx, "norm_backward", "group_norm_sums", "%s -DSILU=%d -DEXACT=%d", g.options, silu, o->exact);
    LAUNCH(o->ctx, k, g.w, ((cost){(silu ? 13 : 5) * (double)tensor_elements(x), 2 * bytes(x) + bytes(partials)}), I(g.pixels), I(x.c),
           I(g.count), T(x), T(moments), T(gamma), T(beta), T(dy), T(partials));
    sum_columns(o, partials, x.n, g.count, 2 * x.c, false, tensor_shaped(sums, x.n, 1, 1, 2 * x.c));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void group_norm_backward(ops *o, tensor x, tensor gamma, tensor beta, int groups, float eps, bool silu, tensor dy, tensor residual,
                         tensor dx, tensor dgamma, tensor dbeta)
{
    const int pixels = x.h * x.w, items = merge_items(o);
    const bool added = tensor_given(residual);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor moments = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, 1, 2, x.c);
    const tensor sums = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, 1, 2, x.c);
    const tensor coefficients = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, 1, 2, x.c), place = storage_place(o, dx);
    x = storage_widen(o, x);
    dy = storage_widen(o, dy);
    residual = storage_widen(o, residual);
    group_statistics(o, x, gamma, beta, groups, eps, true, moments);
    group_sums(o, x, moments, gamma, beta, silu, dy, sums);

    kernel *k = kernel_get(o->ctx, "norm_backward", "group_norm_coefficients", "-DVEC=1 -DITEMS=%d", items);
    const work w = {.groups = {(size_t)groups, (size_t)x.n}, .local = {(size_t)items}};
    LAUNCH(o->ctx, k, w, ((cost){3 * (double)tensor_elements(sums), 3 * bytes(sums)}), I(x.n), I(pixels), I(x.c), I(x.c / groups), T(sums),
           T(gamma), T(coefficients), T(dgamma), T(dbeta));

    const rows_grid g = rows_plan(o, x.n, pixels, x.c, ops_pointwise_width(o, x.c), 3 * x.c);
    k = kernel_get(o->ctx, "norm_backward", "group_norm_gradient", "%s -DSILU=%d -DEXACT=%d -DRESIDUAL=%d", g.options, silu, o->exact,
                   added);
    LAUNCH(o->ctx, k, g.w, ((cost){((silu ? 15 : 7) + added) * (double)tensor_elements(x), (added ? 4 : 3) * bytes(x)}), ROWS(g), T(x),
           T(moments), T(gamma), T(beta), T(coefficients), T(dy), T(residual), T(place));
    storage_narrow(o, place, dx);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void layer_norm_backward(ops *o, tensor x, tensor gamma, float eps, tensor dy, tensor residual, tensor dx, tensor dgamma, tensor dbeta)
{
    const int rows = tensor_rows(x), chunk = o->table.pointwise == VARIANT_CPU ? 64 : 32; // few enough rows to stay in cache
    const bool added = tensor_given(residual);
    rows_grid g = rows_plan(o, 1, rows, x.c, ops_pointwise_width(o, x.c), 3 * x.c);
    g.w.groups[1] = ceil_div((size_t)rows, (size_t)chunk);
    const int partial_rows = (int)g.w.groups[1] * g.row_items;

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, partial_rows, 2, x.c);
    const tensor place = storage_place(o, dx);
    x = storage_widen(o, x);
    dy = storage_widen(o, dy);
    residual = storage_widen(o, residual);
    kernel *k = kernel_get(o->ctx, "norm_backward", "layer_norm_backward", "%s -DCHUNK=%d -DRESIDUAL=%d", g.options, chunk, added);
    LAUNCH(o->ctx, k, g.w, ((cost){(18 + added) * (double)tensor_elements(x), (added ? 4 : 3) * bytes(x) + bytes(partials)}), I(g.rows),
           I(g.vectors), F(eps), T(x), T(gamma), T(dy), T(residual), T(place), T(partials));
    storage_narrow(o, place, dx);
    tensor gamma_partials = partials;
    gamma_partials.offset += (size_t)x.c * sizeof(float);
    sum_columns(o, partials, 1, partial_rows, 2 * x.c, true, tensor_shaped(dbeta, 1, 1, 1, x.c));
    sum_columns(o, gamma_partials, 1, partial_rows, 2 * x.c, true, tensor_shaped(dgamma, 1, 1, 1, x.c));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
