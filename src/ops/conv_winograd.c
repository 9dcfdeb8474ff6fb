#include "ops/conv_winograd.h"

#include "ops/conv_cpu.h"
#include "ops/conv_variants.h"
#include <math.h>

enum {
    SIDE = 4,                       // of a tile of y; as in cl/winograd.clh
    POSITIONS = 36,                 // values of a transformed tile
    PIXELS_LEAST = 256,             // of a picture, and
    CHANNELS_LEAST = 16,            // below which the direct variant is faster or as fast
    BLOCK_MOST = 64,                // tiles per group, before rounding up to rows of register tiles
    BLOCK_LIMIT = 72,               // after it
    SCRATCH_MOST = 24 * 1024 * 1024 // bytes that lie between the kernels, unless a single block takes more
};

static size_t rounded(size_t value, size_t multiple)
{
    return ceil_div(value, multiple) * multiple;
}

// Scratch bytes per tile: its transformed inputs and its products.
static size_t input_bytes(int in)
{
    return POSITIONS * sizeof(float) * rounded((size_t)in, 16);
}

static size_t product_bytes(int out, size_t panel)
{
    return POSITIONS * sizeof(float) * rounded((size_t)out, panel);
}

weight_form conv_form(const ops *o, int in, int out, int stride, int oh, int ow)
{
    if (o->table.conv != VARIANT_CPU || o->exact || stride != 1 || in < CHANNELS_LEAST || out < CHANNELS_LEAST) return WEIGHT_TAPS;
    const size_t panel = 16 * (size_t)conv_cpu_tile(o, out).vectors, most = context_device(o->ctx)->max_allocation;
    const bool fits = product_bytes(out, panel) * (size_t)in <= most && BLOCK_LIMIT * input_bytes(in) <= most &&
                      BLOCK_LIMIT * product_bytes(out, panel) <= most;
    return fits && (double)oh * ow >= PIXELS_LEAST ? WEIGHT_WINOGRAD : WEIGHT_TAPS;
}

// Tiles per group: whole register tiles, large enough that a panel is read seldom, small enough that all cores have work.
static int block_size(int tiles, size_t panels, int tile_rows)
{
    enum { GROUPS_WANTED = 32 };
    size_t block = ceil_div((size_t)tiles, ceil_div(GROUPS_WANTED, panels));
    if (block > BLOCK_MOST) block = BLOCK_MOST;
    return (int)rounded(block, (size_t)tile_rows);
}

// The part of the whole cost that the tiles before `tile` have; sums of its differences are exact.
static cost share(cost whole, int tile, int tiles)
{
    return (cost){floor(whole.flops * tile / tiles), floor(whole.bytes * tile / tiles)};
}

void conv_winograd(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    const cpu_tile tile = conv_cpu_tile(o, w->out);
    const int panel = 16 * tile.vectors, tiles = y.n * (int)ceil_div((size_t)y.h, SIDE) * (int)ceil_div((size_t)y.w, SIDE);
    const size_t panels = ceil_div((size_t)w->out, (size_t)panel), per_tile = input_bytes(w->in) + product_bytes(w->out, (size_t)panel);
    const int block = block_size(tiles, panels, tile.rows);
    int blocks = (int)(SCRATCH_MOST / per_tile / (size_t)block);
    if (blocks < 1) blocks = 1;
    if ((size_t)blocks > ceil_div((size_t)tiles, (size_t)block)) blocks = (int)ceil_div((size_t)tiles, (size_t)block);

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor operand = weight_panels(o, w, WEIGHT_WINOGRAD);
    const tensor inputs = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, blocks, POSITIONS, block, (int)rounded((size_t)w->in, 16));
    const tensor products = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, blocks, POSITIONS, block, (int)panels * panel);
    kernel *transform = kernel_get(o->ctx, "conv_winograd", "winograd_input", "-DTILE_ROWS=%d -DTILE_VECS=%d", tile.rows, tile.vectors);
    kernel *multiply = kernel_get(o->ctx, "conv_winograd", "conv_winograd", "-DTILE_ROWS=%d -DTILE_VECS=%d", tile.rows, tile.vectors);
    const cost whole = conv_cost(call);
    for (int first = 0; first < tiles; first += blocks * block) {
        const int count = tiles - first < blocks * block ? tiles - first : blocks * block;
        const cost before = share(whole, first, tiles), after = share(whole, first + count, tiles);
        LAUNCH(o->ctx, transform, ((work){.groups = {(size_t)count}}), ((cost){0, 2.0 * count * (double)input_bytes(w->in)}), T(x),
               T(o->zeros), T(inputs), I(w->in), I(first), I(block), WINDOW(x, y, 1, call->upsample, call->dilate));
        LAUNCH(o->ctx, multiply, ((work){.groups = {panels, ceil_div((size_t)count, (size_t)block)}}),
               ((cost){after.flops - before.flops, after.bytes - before.bytes}), T(inputs), T(operand), T(products), EPILOGUE(call->e),
               T(y), I(w->in), I(w->out), I(first), I(count), I(block), I(y.h), I(y.w));
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
