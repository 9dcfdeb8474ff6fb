#include "ops/conv_winograd.h"

#include "ops/conv_cpu.h"
#include "ops/conv_variants.h"
#include <math.h>

enum {
    SIDE = 4,                       // of a tile of y; as in cl/winograd.clh
    POSITIONS = 36,                 // values of a transformed tile
    PIXELS_LEAST = 256,             // of a picture, and
    CHANNELS_LEAST = 16,            // below which the direct variant is faster or as fast
    PIXELS_LEAST_TUNED = 64,        // where the tuning says that it is faster
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
    const size_t panel = 16 * (size_t)conv_cpu_tile(o, 9, in, out).vectors, most = context_device(o->ctx)->max_allocation;
    const bool fits = product_bytes(out, panel) * (size_t)in <= most && BLOCK_LIMIT * input_bytes(in) <= most &&
                      BLOCK_LIMIT * product_bytes(out, panel) <= most;
    const tuning_row *row = conv_cpu_tuned(o, 9, in, out, 0);
    if (!tuning_value(row, TUNE_WINOGRAD, 1)) return WEIGHT_TAPS;
    const int least = tuning_value(row, TUNE_WINOGRAD, 0) ? PIXELS_LEAST_TUNED : PIXELS_LEAST;
    return fits && (double)oh * ow >= least ? WEIGHT_WINOGRAD : WEIGHT_TAPS;
}

// How the tiles are gone through: `blocks` of `block` tiles, one per group and panel, at a time.
typedef struct slices {
    int block, blocks;
} slices;

// Blocks are whole register tiles, large enough that a panel is read seldom, small enough that all cores have work.
static slices slice(const ops *o, int tiles, size_t panels, size_t bytes_per_tile, int tile_rows)
{
    enum { GROUPS_PER_CORE = 4 };
    const size_t cached = SCRATCH_MOST / bytes_per_tile, at_once = (size_t)tiles < cached ? (size_t)tiles : cached > 0 ? cached : 1;
    size_t block = ceil_div(at_once, ceil_div((size_t)GROUPS_PER_CORE * context_device(o->ctx)->compute_units, panels));
    if (block > BLOCK_MOST) block = BLOCK_MOST;
    block = rounded(block, (size_t)tile_rows);
    const size_t blocks = at_once >= (size_t)tiles ? ceil_div(at_once, block) : at_once / block;
    return (slices){(int)block, blocks > 0 ? (int)blocks : 1};
}

// The part of the whole cost that the tiles before `tile` have; sums of its differences are exact.
static cost share(cost whole, int tile, int tiles)
{
    if (tile == tiles) return whole;
    return (cost){floor(whole.flops * tile / tiles), floor(whole.bytes * tile / tiles)};
}

void conv_winograd(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    if (o->seen) (void)conv_cpu_tuned(o, 9, w->in, w->out, tensor_rows(y));
    const cpu_tile tile = conv_cpu_tile(o, 9, w->in, w->out);
    const int panel = 16 * tile.vectors, tiles = y.n * (int)ceil_div((size_t)y.h, SIDE) * (int)ceil_div((size_t)y.w, SIDE);
    const size_t panels = ceil_div((size_t)w->out, (size_t)panel), per_tile = input_bytes(w->in) + product_bytes(w->out, (size_t)panel);
    const slices s = slice(o, tiles, panels, per_tile, tile.rows);
    const int at_once = s.block * s.blocks;

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor operand = weight_panels(o, w, WEIGHT_WINOGRAD);
    const tensor inputs = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, s.blocks, POSITIONS, s.block, (int)rounded((size_t)w->in, 16));
    const tensor products = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, s.blocks, POSITIONS, s.block, (int)panels * panel);
    kernel *transform = kernel_get(o->ctx, "conv_winograd", "winograd_input", "-DTILE_ROWS=%d -DTILE_VECS=%d", tile.rows, tile.vectors);
    kernel *multiply = kernel_get(o->ctx, "conv_winograd", "conv_winograd", "-DTILE_ROWS=%d -DTILE_VECS=%d", tile.rows, tile.vectors);
    const cost whole = conv_cost(call);
    for (int first = 0; first < tiles; first += at_once) {
        const int count = tiles - first < at_once ? tiles - first : at_once;
        const cost before = share(whole, first, tiles), after = share(whole, first + count, tiles);
        LAUNCH(o->ctx, transform, ((work){.groups = {(size_t)count}}), ((cost){0, 2.0 * count * (double)input_bytes(w->in)}), T(x),
               T(o->zeros), T(inputs), I(w->in), I(first), I(s.block), WINDOW(x, y, 1, call->upsample, call->dilate));
        LAUNCH(o->ctx, multiply, ((work){.groups = {panels, ceil_div((size_t)count, (size_t)s.block)}}),
               ((cost){after.flops - before.flops, after.bytes - before.bytes}), T(inputs), T(operand), T(products), EPILOGUE(call->e),
               T(y), I(w->in), I(w->out), I(first), I(count), I(s.block), I(y.h), I(y.w));
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
