#include "ops/flat.h"

#include <stdio.h>

enum {
    GPU_ITEMS = 64, // per group: what every device allows
    GPU_BLOCK = 4096,
    CPU_BLOCK = 8192, // long enough to hide a group's start, short enough to share out evenly
    COLUMN_LANES = 4, // of GPUs: neighbouring columns in a group; few, so that there are many groups
};

static int vector_width(const ops *o)
{
    return o->table.pointwise == VARIANT_CPU ? 16 : o->table.pointwise == VARIANT_GPU ? 4 : 1;
}

static int group_items(const ops *o)
{
    return o->table.pointwise == VARIANT_CPU ? 1 : GPU_ITEMS;
}

flat_grid flat_plan(const ops *o, size_t count)
{
    const int block = o->table.pointwise == VARIANT_CPU ? CPU_BLOCK : GPU_BLOCK, items = group_items(o);
    flat_grid g = {.count = (int)count, .blocks = (int)ceil_div(count, (size_t)block)};
    g.w = (work){.groups = {(size_t)g.blocks}, .local = {(size_t)items}};
    (void)snprintf(g.options, sizeof g.options, "-DVEC=%d -DITEMS=%d -DBLOCK=%d", vector_width(o), items, block);
    return g;
}

tensor flat_push_partials(ops *o, const flat_grid *g, int parts)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, parts, g->blocks);
}

void flat_sum(ops *o, tensor partials, float factor, tensor a)
{
    const int count = (int)tensor_elements(partials), items = group_items(o);
    kernel *k = kernel_get(o->ctx, "reduce", "sum_blocks", "-DVEC=1 -DITEMS=%d", items);
    LAUNCH(o->ctx, k, ((work){.groups = {1}, .local = {(size_t)items}}), ((cost){6.0 * count, (double)tensor_bytes(partials)}), I(count),
           F(factor), T(partials), T(a));
}

void sum_columns(ops *o, tensor x, int n, int rows, int stride, bool add, tensor y)
{
    const bool cpu = o->table.pointwise == VARIANT_CPU;
    const int vec = ops_pointwise_width(o, y.c), lanes = cpu ? 1 : COLUMN_LANES, row_items = group_items(o) / lanes;
    const double elements = (double)n * rows * y.c;
    kernel *k = kernel_get(o->ctx, "reduce", "sum_columns", "-DVEC=%d -DITEMS=%d -DLANES=%d -DROW_ITEMS=%d -DADD=%d", vec, group_items(o),
                           lanes, row_items, add);
    const work w = {.groups = {ceil_div((size_t)y.c, (size_t)vec * (size_t)lanes), (size_t)n}, .local = {(size_t)lanes, (size_t)row_items}};
    LAUNCH(o->ctx, k, w, ((cost){6 * elements, 4 * elements}), I(rows), I(y.c), I(stride), T(x), T(y));
}
