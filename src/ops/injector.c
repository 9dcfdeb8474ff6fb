#include "ops/injector.h"

#include "ops/conv_variants.h"
#include "ops/rows.h"

enum { WEIGHT_ROWS = 5 }; // of the expanded weights (cl/injector.clh)

// i2f_bias: or NO_TENSOR, then zero.
static tensor expand_weights(ops *o, int r, int channels, tensor f2i_weight, tensor i2f_weight, tensor i2f_bias)
{
    const int items = o->table.pointwise == VARIANT_CPU ? 1 : 64;
    const tensor weights = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, WEIGHT_ROWS, channels);
    kernel *k = kernel_get(o->ctx, "injector", "injector_weights", "-DVEC=1 -DR=%d -DITEMS=%d", r, items);
    LAUNCH(o->ctx, k, ((work){.groups = {ceil_div((size_t)channels, (size_t)items)}, .local = {(size_t)items}}),
           ((cost){0, (double)tensor_bytes(weights)}), I(channels), T(f2i_weight), T(i2f_weight), I(tensor_given(i2f_bias)), T(i2f_bias),
           T(weights));
    return weights;
}

void injector_forward(ops *o, const sensing *s, tensor x, int r, tensor f2i_weight, tensor f2i_bias, tensor i2f_weight, tensor i2f_bias,
                      tensor back_projection, const epilogue *e, tensor y)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor weights = expand_weights(o, r, x.c, f2i_weight, i2f_weight, i2f_bias);
    const tensor p = sensing_push_shuffled(o, s, x.n), z = sensing_push_shuffled(o, s, x.n);
    const int vec = ops_pointwise_width(o, x.c);
    const double elements = (double)tensor_elements(x), bytes = (double)tensor_bytes(x), plane = (double)tensor_bytes(p);

    rows_grid g = rows_plan(o, x.n, x.h * x.w, x.c, vec, x.c);
    kernel *k = kernel_get(o->ctx, "injector", "injector_plane", "%s -DR=%d", g.options, r);
    LAUNCH(o->ctx, k, g.w, ((cost){2 * elements, bytes + plane}), ROWS(g), I(x.w), T(x), T(weights), T(f2i_bias), T(s->inverse), T(p));

    sensing_normal_shuffled(o, s, p, z);

    const epilogue coupling = {.v = e->v, .mix = e->mix};
    g = rows_plan(o, x.n, x.h * x.w, x.c, vec, 3 * x.c);
    k = kernel_get(o->ctx, "injector", "injector_apply", "%s -DR=%d", g.options, r);
    LAUNCH(o->ctx, k, g.w, ((cost){10 * elements, (tensor_given(e->v) ? 3 : 2) * bytes + 3 * plane}), ROWS(g), I(x.w), T(x), T(weights),
           T(p), T(z), T(back_projection), T(s->inverse), EPILOGUE(&coupling), T(y));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// ---- backward

enum { PLANES = 4, SUMS = 6 }; // gathered planes, partial sums (cl/injector_backward.cl)

// Planes of r x r pixels for each feature pixel.
static rows_grid plan_planes(const ops *o, tensor x, int r)
{
    return rows_plan(o, x.n, x.h * x.w, r * r, 1, 2 * PLANES * r * r);
}

// p, and what i2f's gradient says of p and of z, to feature order: the planes that injector_chunks reads.
static tensor backward_planes(ops *o, const sensing *s, tensor x, int r, tensor weights, tensor f2i_bias, tensor back_projection, tensor dy)
{
    const tensor planes = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, x.n, x.h, x.w, PLANES * r * r);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor through_p = sensing_push_shuffled(o, s, x.n);
    // p and dz one behind the other, so that one product serves both
    const tensor pair = sensing_push_shuffled(o, s, 2 * x.n), normal = sensing_push_shuffled(o, s, 2 * x.n);
    const int half = tensor_rows(through_p);
    const double elements = (double)tensor_elements(x), bytes = (double)tensor_bytes(x), plane = (double)tensor_bytes(through_p);

    const rows_grid f = rows_plan(o, x.n, x.h * x.w, x.c, ops_pointwise_width(o, x.c), 2 * x.c);
    kernel *k = kernel_get(o->ctx, "injector_backward", "injector_planes_backward", "%s -DR=%d", f.options, r);
    LAUNCH(o->ctx, k, f.w, ((cost){6 * elements, 2 * bytes + 3 * plane}), ROWS(f), I(x.w), T(x), T(dy), T(weights), T(f2i_bias),
           T(s->inverse), T(tensor_row_range(pair, 0, half)), T(through_p), T(tensor_row_range(pair, half, half)));

    sensing_normal_shuffled(o, s, pair, normal);

    const rows_grid g = plan_planes(o, x, r);
    k = kernel_get(o->ctx, "injector_backward", "injector_gather", "%s -DR=%d", g.options, r);
    LAUNCH(o->ctx, k, g.w, ((cost){plane / sizeof(float), 10 * plane}), ROWS(g), I(x.w), T(through_p),
           T(tensor_row_range(normal, half, half)), T(tensor_row_range(pair, 0, half)), T(tensor_row_range(normal, 0, half)),
           T(back_projection), T(s->inverse), T(planes));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return planes;
}

// Pixels per partial sum, so that there are as many chunks as keep a device busy; float32 sums of so few pixels keep their precision.
static int chunk_length(const ops *o, int rows)
{
    const bool cpu = o->table.pointwise == VARIANT_CPU;
    const int least = cpu ? 64 : 16, most = 256, wanted = rows / (cpu ? 128 : 1024);
    return wanted < least ? least : wanted > most ? most : wanted;
}

void injector_backward(ops *o, const sensing *s, tensor x, int r, tensor f2i_weight, tensor f2i_bias, tensor i2f_weight,
                       tensor back_projection, tensor dy, tensor dx, tensor df2i_weight, tensor df2i_bias, tensor di2f_weight,
                       tensor di2f_bias)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const int rows = tensor_rows(x), chunk = chunk_length(o, rows), chunks = (int)ceil_div((size_t)rows, (size_t)chunk);
    const tensor weights = expand_weights(o, r, x.c, f2i_weight, i2f_weight, NO_TENSOR);
    const tensor planes = backward_planes(o, s, x, r, weights, f2i_bias, back_projection, dy);
    const tensor partials = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, chunks, SUMS, x.c);
    const double elements = (double)tensor_elements(x), bytes = (double)tensor_bytes(x);

    const rows_grid f = rows_plan(o, 1, rows, x.c, ops_pointwise_width(o, x.c), 3 * x.c);
    work w = f.w;
    w.groups[0] = ceil_div((size_t)f.vectors, (size_t)f.lanes);
    w.groups[1] = ceil_div((size_t)chunks, (size_t)f.row_items);
    kernel *k = kernel_get(o->ctx, "injector_backward", "injector_chunks", "%s -DR=%d", f.options, r);
    LAUNCH(o->ctx, k, w, ((cost){12 * elements, 3 * bytes + (double)tensor_bytes(planes) + (double)tensor_bytes(partials)}), I(rows),
           I(x.c), I(chunk), T(x), T(dy), T(weights), T(planes), T(dx), T(partials));

    const rows_grid g = plan_planes(o, x, r);
    k = kernel_get(o->ctx, "injector_backward", "injector_merge", "%s -DR=%d", g.options, r);
    w = g.w;
    w.groups[0] = (size_t)(x.c / (r * r));
    w.groups[1] = SUMS;
    w.groups[2] = 1;
    LAUNCH(o->ctx, k, w, ((cost){6 * (double)tensor_elements(partials), (double)tensor_bytes(partials)}), I(chunks), I(x.c), T(partials),
           T(df2i_weight), T(df2i_bias), T(di2f_weight), T(di2f_bias));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
