#include "ops/adam.h"

#include "ops/flat.h"

adam_settings adam_defaults(void)
{
    return (adam_settings){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.999, .growth = 2, .backoff = 0.5, .growth_interval = 2000};
}

adam_state adam_initial_state(bool scaling)
{
    return (adam_state){.scale = scaling ? 65536.0f : 1.0f};
}

tensor adam_push_state(ops *o, pool p)
{
    return arena_push(o->ctx, p, DTYPE_F32, 1, 1, 1, ADAM_STATE_WORDS);
}

tensor adam_scale(tensor state)
{
    return tensor_shaped(state, 1, 1, 1, 1); // the first word
}

// What float leaves of a double.
static argument rest(double d)
{
    return F((float)(d - (float)d));
}

void adam_begin(ops *o, tensor g, tensor state)
{
    const flat_grid grid = flat_plan(o, tensor_elements(g));
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = flat_push_partials(o, &grid, 2);
    kernel *k = kernel_get(o->ctx, "adam", "adam_inspect", "%s", grid.options);
    LAUNCH(o->ctx, k, grid.w, ((cost){4.0 * grid.count, (double)tensor_bytes(g)}), I(grid.count), I(grid.blocks), T(g), T(state),
           T(partials));

    const size_t items = grid.w.local[0];
    k = kernel_get(o->ctx, "adam", "adam_gather", "-DVEC=1 -DITEMS=%zu", items);
    LAUNCH(o->ctx, k, ((work){.groups = {1}, .local = {items}}), ((cost){7.0 * grid.blocks, (double)tensor_bytes(partials)}),
           I(grid.blocks), T(partials), T(state));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void adam_prepare(ops *o, const adam_settings *s, double learning_rate, tensor state)
{
    const double rate1 = 1 - s->beta1, rate2 = 1 - s->beta2;
    kernel *k = kernel_get(o->ctx, "adam", "adam_prepare", "-DVEC=1");
    LAUNCH(o->ctx, k, ((work){.groups = {1}}), ((cost){2000, (double)tensor_bytes(state)}), F((float)learning_rate), rest(learning_rate),
           F((float)rate1), rest(rate1), F((float)rate2), rest(rate2), F((float)s->clip), T(state));
}

void adam_update(ops *o, const adam_settings *s, tensor state, tensor g, tensor w, tensor m, tensor v, tensor average)
{
    const bool averaged = tensor_given(average);
    const flat_grid grid = flat_plan(o, tensor_elements(w));
    kernel *k = kernel_get(o->ctx, "adam", "adam_update", "%s -DAVERAGE=%d", grid.options, averaged);
    LAUNCH(o->ctx, k, grid.w, ((cost){(averaged ? 16.0 : 13.0) * grid.count, (averaged ? 9 : 7) * (double)tensor_bytes(w)}), I(grid.count),
           F((float)(1 - s->beta1)), F((float)s->beta2), F((float)(1 - s->beta2)), F((float)s->eps), F((float)(1 - s->decay)), T(state),
           T(g), T(w), T(m), T(v), T(average));
}

void adam_end(ops *o, const adam_settings *s, tensor state)
{
    kernel *k = kernel_get(o->ctx, "adam", "adam_finish", "-DVEC=1");
    LAUNCH(o->ctx, k, ((work){.groups = {1}}), ((cost){4, (double)tensor_bytes(state)}), F((float)s->growth), F((float)s->backoff),
           I(s->scaling ? s->growth_interval : 0), T(state));
}
