#include "ops/conv_weight_gradient.h"

#include "ops/conv_variants.h"
#include "ops/conv_winograd.h"
#include "ops/flat.h"
#include "ops/rows.h"
#include "ops/storage.h"

tensor weight_gradient_partials(ops *o, const weight_gradient_call *call, int slices)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, slices, 1, call->taps * call->x.c, call->dy.c);
}

cost weight_gradient_cost(const weight_gradient_call *call, tensor partials)
{
    return (cost){2.0 * tensor_rows(call->dy) * call->taps * call->x.c * call->dy.c,
                  (double)tensor_bytes(call->x) + (double)tensor_bytes(call->dy) + (double)tensor_bytes(partials)};
}

const tuning_row *weight_gradient_tuned(const ops *o, variant v, const weight_gradient_call *call)
{
    const tuning_shape shape = {.op = call->taps == 1 ? TUNED_LINEAR_WEIGHT_GRADIENT : TUNED_CONV_WEIGHT_GRADIENT,
                                .variant = (int)v,
                                .in = call->x.c,
                                .out = call->dy.c,
                                .pixels = tensor_rows(call->dy)};
    return tuning_find(o, &shape);
}

void weight_gradient_merge(ops *o, tensor partials, int slices, tensor dw)
{
    dw = rows_flat(dw);
    const rows_grid g = rows_plan(o, 1, tensor_rows(dw), dw.c, ops_pointwise_width(o, dw.c), (slices + 2) * dw.c);
    kernel *k = kernel_get(o->ctx, "conv_weight_gradient", "weight_gradient_merge", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){(double)tensor_elements(partials), (double)tensor_bytes(partials) + 2 * (double)tensor_bytes(dw)}),
           ROWS(g), I(slices), T(partials), T(dw));
}

// Slices of the pixels so that there are `wanted` groups, where `groups` do one slice; none below `least` pixels, all multiples of `block`.
static int slice_pixels(int pixels, size_t groups, size_t wanted, int least, int block)
{
    size_t slices = ceil_div(wanted, groups);
    const size_t most = ceil_div((size_t)pixels, (size_t)least);
    if (slices > most) slices = most;
    return (int)(ceil_div(ceil_div((size_t)pixels, slices), (size_t)block) * (size_t)block);
}

// How a CPU's groups share the work: `rows` input channels of one tap and group_panels panels of outputs, over one slice of the pixels in
// blocks. Slices go `at_once` to a launch, so that the caches that cores share hold what a launch reads, and add to the same partial sums.
typedef struct cpu_plan {
    cpu_tile tile;
    size_t row_parts, panel_parts;
    int tiles, rows, group_panels, block, slice, at_once; // tiles: of a panel at most
} cpu_plan;

static cpu_plan plan_cpu(const ops *o, const weight_gradient_call *call, const tuning_row *row)
{
    enum { SLICE_FLOATS = 1 << 20, SLICE_LEAST = 512, SLICE_MOST = 2048, BLOCK = 64 }; // BLOCK as in cl/conv_weight_gradient_cpu.cl
    const device_info *device = context_device(o->ctx);
    const bool wide = device->native_vector >= 16;
    // Where panels are narrow a group takes several, so that its copy of x is worth making; the sums, that copy and what is fetched ahead
    // then take 260 KiB of a second-level cache.
    const size_t rows_most = wide ? 320 : 192, outputs_most = wide ? 80 : 160, groups_wanted = (wide ? 4 : 8) * device->compute_units;
    cpu_plan p = {.tile = conv_cpu_row_tile(o, row, call->dy.c)};
    const size_t in = (size_t)call->x.c, out = (size_t)call->dy.c, pixels = (size_t)tensor_rows(call->dy);
    const size_t tile_rows = (size_t)p.tile.rows, panel = 16 * (size_t)p.tile.vectors;
    const size_t tiles = ceil_div(rows_most, tile_rows), group_panels = outputs_most > panel ? outputs_most / panel : 1;
    const size_t parts = ceil_div(in, tiles * tile_rows), rows = ceil_div(ceil_div(in, parts), tile_rows) * tile_rows; // whole tiles
    const size_t block = (size_t)tuning_value(row, TUNE_BLOCK, BLOCK);
    p.row_parts = (size_t)call->taps * ceil_div(in, rows);
    p.panel_parts = ceil_div(out, group_panels * panel);
    const size_t at_once = ceil_div(groups_wanted, p.row_parts * p.panel_parts);
    size_t slice = SLICE_FLOATS / in;
    if (slice > SLICE_MOST) slice = SLICE_MOST;
    if (slice > ceil_div(pixels, at_once)) slice = ceil_div(pixels, at_once);
    if (slice < SLICE_LEAST) slice = SLICE_LEAST;
    slice = (size_t)tuning_value(row, TUNE_SLICE, (int)(ceil_div(slice, block) * block));
    const size_t slices = ceil_div(pixels, slice);
    p.tiles = (int)tiles;
    p.rows = (int)rows;
    p.group_panels = (int)group_panels;
    p.block = (int)block;
    p.slice = (int)slice;
    p.at_once = (int)(at_once < slices ? at_once : slices);
    return p;
}

static void weight_gradient_cpu(ops *o, const weight_gradient_call *call)
{
    enum { UNROLL = 4 }; // as in cl/conv_weight_gradient_cpu.cl
    const tensor x = call->x, dy = call->dy;
    const tuning_row *row = weight_gradient_tuned(o, VARIANT_CPU, call);
    if (call->taps == 9 && conv_form(o, x.c, dy.c, call->stride, dy.h, dy.w) == WEIGHT_WINOGRAD && tuning_value(row, TUNE_WINOGRAD, 1)) {
        conv_weight_gradient_winograd(o, call, conv_cpu_row_tile(o, row, dy.c));
        return;
    }
    const cpu_plan p = plan_cpu(o, call, row);
    const int pixels = tensor_rows(dy), step = p.at_once * p.slice;

    const tensor partials = weight_gradient_partials(o, call, p.at_once);
    kernel *k = kernel_get(o->ctx, "conv_weight_gradient_cpu", "conv_weight_gradient_cpu",
                           "-DTAPS=%d -DTILE_ROWS=%d -DTILE_VECS=%d -DTILES=%d -DPANELS=%d -DBLOCK=%d -DUNROLL=%d", call->taps, p.tile.rows,
                           p.tile.vectors, p.tiles, p.group_panels, p.block, tuning_value(row, TUNE_UNROLL, UNROLL));
    for (int first = 0; first < pixels; first += step) {
        const int count = pixels - first < step ? pixels - first : step;
        cost c = weight_gradient_cost(call, partials);
        c.flops *= (double)count / pixels;
        c.bytes *= (double)count / pixels;
        LAUNCH(o->ctx, k, ((work){.groups = {p.row_parts, p.panel_parts, ceil_div((size_t)count, (size_t)p.slice)}}), c, T(x), T(dy),
               T(o->zeros), T(partials), I(x.c), I(dy.c), I(pixels), I(first), I(p.slice), I(first > 0), I(p.rows),
               WINDOW(x, dy, call->stride, call->upsample, false));
    }
    weight_gradient_merge(o, partials, p.at_once, call->dw);
}

static void weight_gradient_generic(ops *o, const weight_gradient_call *call)
{
    enum { ROWS = 2, BLOCK = 128 }; // as in cl/conv_weight_gradient_generic.cl
    enum { ITEMS_MOST = 64, GROUPS_WANTED = 512, SLICE_LEAST = 1024 };
    const tensor x = call->x, dy = call->dy;
    const size_t most = context_device(o->ctx)->max_work_group, items = most < ITEMS_MOST ? most : ITEMS_MOST;
    const size_t slice_items = (size_t)dy.c * (size_t)call->taps * ceil_div((size_t)x.c, ROWS);
    const int pixels = tensor_rows(dy), slice = slice_pixels(pixels, ceil_div(slice_items, items), GROUPS_WANTED, SLICE_LEAST, BLOCK);
    const int slices = (int)ceil_div((size_t)pixels, (size_t)slice);

    const tensor partials = weight_gradient_partials(o, call, slices);
    kernel *k =
        kernel_get(o->ctx, "conv_weight_gradient_generic", "conv_weight_gradient_generic", "-DTAPS=%d -DITEMS=%d", call->taps, (int)items);
    LAUNCH(o->ctx, k, ((work){.groups = {ceil_div(slice_items * (size_t)slices, items)}, .local = {items}}),
           weight_gradient_cost(call, partials), T(x), T(dy), T(partials), I(x.c), I(dy.c), I(pixels), I(slice),
           WINDOW(x, dy, call->stride, call->upsample, false));
    weight_gradient_merge(o, partials, slices, call->dw);
}

void conv_weight_gradient(ops *o, variant v, const weight_gradient_call *call)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    switch (v) {
    case VARIANT_CPU:
        weight_gradient_cpu(o, call);
        break;
    case VARIANT_GPU:
        conv_weight_gradient_gpu(o, call);
        break;
    default:
        weight_gradient_generic(o, call);
        break;
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// ---- bias

enum {
    CHUNK = 64,     // rows per sum, on every device
    SPAN_MOST = 12, // vectors that a CPU's item sums in registers
};

void bias_gradient(ops *o, tensor dy, tensor dbias)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    dy = storage_widen(o, dy);
    const int rows = tensor_rows(dy), channels = dy.c, chunks = (int)ceil_div((size_t)rows, CHUNK);
    const tensor sums = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, chunks, channels);
    rows_grid g = rows_plan(o, 1, rows, channels, ops_pointwise_width(o, channels), channels);
    int span = o->table.pointwise == VARIANT_CPU ? SPAN_MOST : 1;
    while (g.vectors % span != 0) span--;
    g.w.groups[0] = ceil_div((size_t)g.vectors, (size_t)span * (size_t)g.lanes);
    g.w.groups[1] = ceil_div((size_t)chunks, (size_t)g.row_items);
    kernel *k = kernel_get(o->ctx, "conv_weight_gradient", "bias_partials", "%s -DCHUNK=%d -DSPAN=%d", g.options, CHUNK, span);
    LAUNCH(o->ctx, k, g.w, ((cost){(double)tensor_elements(dy), (double)tensor_bytes(dy) + (double)tensor_bytes(sums)}), I(rows),
           I(channels), T(dy), T(sums));
    sum_columns(o, sums, 1, chunks, channels, true, dbias);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
