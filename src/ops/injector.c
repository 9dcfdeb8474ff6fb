#include "ops/injector.h"

#include "ops/conv_variants.h"
#include "ops/rows.h"

enum { WEIGHT_ROWS = 5 }; // of the expanded weights (cl/injector.cl)

static tensor expand_weights(ops *o, int r, int channels, tensor f2i_weight, tensor i2f_weight, tensor i2f_bias)
{
    const int items = o->table.pointwise == VARIANT_CPU ? 1 : 64;
    const tensor weights = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, WEIGHT_ROWS, channels);
    kernel *k = kernel_get(o->ctx, "injector", "injector_weights", "-DVEC=1 -DR=%d -DITEMS=%d", r, items);
    LAUNCH(o->ctx, k, ((work){.groups = {ceil_div((size_t)channels, (size_t)items)}, .local = {(size_t)items}}),
           ((cost){0, (double)tensor_bytes(weights)}), I(channels), T(f2i_weight), T(i2f_weight), T(i2f_bias), T(weights));
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
