#include "ops/conv_winograd.h"

#include "ops/conv_cpu.h"
#include "ops/conv_variants.h"
#include "ops/conv_weight_gradient.h"
#include <math.h>

enum {
    SIDE = 4,                       // of a tile of y; as in cl/winograd.clh
    POSITIONS = 36,                 // values of a transformed tile
    PIXELS_LEAST = 256,             // of a picture, and
    CHANNELS_LEAST = 16,            // below which the direct variant is faster or as fast
    PIXELS_LEAST_TUNED = 64,        // where the tuning says that it is faster
    BLOCK_MOST = 64,                // tiles per group, before rounding up to rows of register tiles
    BLOCK_LIMIT = 72,               // after it
    GRADIENT_TILES = 16,            // register tiles side by side, as in cl/conv_weight_gradient_winograd.cl
    GRADIENT_SLICE_MOST = 256,      // tiles of pixels whose products a register sums
    SCRATCH_MOST = 24 * 1024 * 1024 // bytes that lie between the kernels, unless a single block takes more
};

static size_t rounded(size_t value, size_t multiple)
{
    return ceil_div(value, multiple) * multiple;
}

// Scratch bytes per tile: its transformed inputs; its products, or transformed gradients.
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

static cost part(cost whole, int first, int count, int tiles)
{
    const cost before = share(whole, first, tiles), after = share(whole, first + count, tiles);
    return (cost){after.flops - before.flops, after.bytes - before.bytes};
}

static int tiles_of(tensor y)
{
    return y.n * (int)ceil_div((size_t)y.h, SIDE) * (int)ceil_div((size_t)y.w, SIDE);
}

static kernel *kernel_of(const ops *o, const char *file, const char *name, cpu_tile tile)
{
    return kernel_get(o->ctx, file, name, "-DTILE_ROWS=%d -DTILE_VECS=%d", tile.rows, tile.vectors);
}

// inputs: of tiles [first, first + count), in blocks of `block` and panels of `width` channels (cl/conv_winograd.cl).
static void transform_inputs(ops *o, tensor x, tensor y, bool upsample, bool dilate, cpu_tile tile, int width, int first, int count,
                             int block, tensor inputs)
{
    LAUNCH(o->ctx, kernel_of(o, "conv_winograd", "winograd_input", tile), ((work){.groups = {(size_t)count}}),
           ((cost){0, 2.0 * count * (double)input_bytes(x.c)}), T(x), T(o->zeros), T(inputs), I(x.c), I(width), I(first), I(block),
           WINDOW(x, y, 1, upsample, dilate));
}

void conv_winograd(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    if (o->seen) (void)conv_cpu_tuned(o, 9, w->in, w->out, tensor_rows(y));
    const cpu_tile tile = conv_cpu_tile(o, 9, w->in, w->out);
    const int panel = 16 * tile.vectors, tiles = tiles_of(y), width = (int)rounded((size_t)w->in, 16);
    const size_t panels = ceil_div((size_t)w->out, (size_t)panel), per_tile = input_bytes(w->in) + product_bytes(w->out, (size_t)panel);
    const slices s = slice(o, tiles, panels, per_tile, tile.rows);
    const int at_once = s.block * s.blocks;

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor operand = weight_panels(o, w, WEIGHT_WINOGRAD);
    const tensor inputs = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, s.blocks, POSITIONS, s.block, width);
    const tensor products = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, s.blocks, POSITIONS, s.block, (int)panels * panel);
    const cost whole = conv_cost(call);
    for (int first = 0; first < tiles; first += at_once) {
        const int count = tiles - first < at_once ? tiles - first : at_once;
        transform_inputs(o, x, y, call->upsample, call->dilate, tile, width, first, count, s.block, inputs);
        LAUNCH(o->ctx, kernel_of(o, "conv_winograd", "conv_winograd", tile),
               ((work){.groups = {panels, ceil_div((size_t)count, (size_t)s.block)}}), part(whole, first, count, tiles), T(inputs),
               T(operand), T(products), EPILOGUE(call->e), T(y), I(w->in), I(w->out), I(first), I(count), I(s.block), I(y.h), I(y.w));
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// Input channels that lie in a row of a panel: of all its register tiles, or of as many as there are.
static int gradient_width(int in, int tile_rows)
{
    const int most = GRADIENT_TILES * tile_rows, tiled = (int)rounded(rounded((size_t)in, (size_t)tile_rows), 16);
    return tiled < most ? tiled : most;
}

// Register tiles per group: as many as a panel of inputs has, fewer where cores would have nothing to do.
static int gradient_share(const ops *o, size_t in, size_t panels, size_t tile_rows)
{
    enum { GROUPS_PER_CORE = 4 };
    const size_t wanted = GROUPS_PER_CORE * (size_t)context_device(o->ctx)->compute_units;
    size_t share_of = GRADIENT_TILES;
    while (share_of > 1 && ceil_div(in, share_of * tile_rows) * panels < wanted) share_of /= 2;
    return (int)share_of;
}

void conv_weight_gradient_winograd(ops *o, const weight_gradient_call *call, cpu_tile tile)
{
    const tensor x = call->x, dy = call->dy;
    const int panel = 16 * tile.vectors, tiles = tiles_of(dy), width = gradient_width(x.c, tile.rows);
    const size_t panels = ceil_div((size_t)dy.c, (size_t)panel);
    const size_t per_tile = POSITIONS * sizeof(float) * rounded((size_t)x.c, (size_t)width) + product_bytes(dy.c, (size_t)panel);
    const size_t allocation = context_device(o->ctx)->max_allocation;
    const size_t cached = (allocation < SCRATCH_MOST ? allocation : SCRATCH_MOST) / per_tile;
    const size_t most = cached < 1 ? 1 : cached < GRADIENT_SLICE_MOST ? cached : GRADIENT_SLICE_MOST;
    const int step = (int)ceil_div((size_t)tiles, ceil_div((size_t)tiles, most));
    const int share_of = gradient_share(o, (size_t)x.c, panels, (size_t)tile.rows);

    const tensor inputs =
        arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, (int)ceil_div((size_t)x.c, (size_t)width), POSITIONS, step, width);
    const tensor gradients = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, (int)panels, POSITIONS, step, panel);
    const cost whole = weight_gradient_cost(call, call->dw);
    for (int first = 0; first < tiles; first += step) {
        const int count = tiles - first < step ? tiles - first : step;
        transform_inputs(o, x, dy, call->upsample, false, tile, width, first, count, count, inputs);
        LAUNCH(o->ctx, kernel_of(o, "conv_weight_gradient_winograd", "winograd_gradient", tile), ((work){.groups = {(size_t)count}}),
               ((cost){0, 2.0 * count * (double)product_bytes(dy.c, (size_t)panel)}), T(dy), T(o->zeros), T(gradients), I(dy.c), I(first),
               I(count), I(dy.h), I(dy.w));
        LAUNCH(o->ctx, kernel_of(o, "conv_weight_gradient_winograd", "conv_weight_gradient_winograd", tile),
               ((work){.groups = {ceil_div((size_t)x.c, (size_t)(share_of * tile.rows)), panels}}), part(whole, first, count, tiles),
               T(inputs), T(gradients), T(call->dw), I(x.c), I(dy.c), I(width), I(count), I(share_of));
    }
}
