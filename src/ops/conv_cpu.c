#include "ops/conv_cpu.h"

#include "ops/conv_variants.h"

enum {
    PANEL_CACHE_KIB = 640, // of a panel: cores' second-level caches hold this much beside the pixels they work on
    BLOCK_MOST = 240,      // pixels per group
    UNROLL = 4,            // this and the next as in cl/conv_cpu.cl
    SUB_TILES = 16,
};

const tuning_row *conv_cpu_tuned(const ops *o, int taps, int in, int out, int pixels)
{
    const tuning_shape call = {.op = taps == 1 ? TUNED_LINEAR : TUNED_CONV, .variant = VARIANT_CPU, .in = in, .out = out, .pixels = pixels};
    return tuning_find(o, &call);
}

static bool wide_device(const ops *o)
{
    return context_device(o->ctx)->native_vector >= 16;
}

cpu_tile conv_cpu_own_tile(const ops *o, int out)
{
    // speed: of the tile's inner loop against the best one's, from bench; 32 AVX-512 registers hold 24-25 sums, 16 AVX2 registers 12
    // halves, 32 of ARM's 24 quarters
    static const struct {
        cpu_tile tile;
        double speed;
    } wide[] = {{{5, 5}, 1}, {{6, 4}, 1}, {{8, 3}, 0.98}, {{8, 2}, 0.8}, {{8, 1}, 0.5}}, narrow[] = {{{6, 1}, 1}};
    const bool is_wide = wide_device(o);
    const size_t count = is_wide ? sizeof wide / sizeof *wide : sizeof narrow / sizeof *narrow;
    cpu_tile best = {0, 0};
    double best_score = 0;
    for (size_t i = 0; i < count; i++) {
        const cpu_tile tile = is_wide ? wide[i].tile : narrow[i].tile;
        const size_t panel = (size_t)tile.vectors * 16;
        const double score = (is_wide ? wide[i].speed : narrow[i].speed) * out / (double)(ceil_div((size_t)out, panel) * panel);
        if (score > best_score) {
            best = tile;
            best_score = score;
        }
    }
    return best;
}

cpu_tile conv_cpu_row_tile(const ops *o, const tuning_row *row, int out)
{
    const cpu_tile tile = {tuning_value(row, TUNE_TILE_ROWS, 0), tuning_value(row, TUNE_TILE_VECTORS, 0)};
    return tile.rows && tile.vectors ? tile : conv_cpu_own_tile(o, out);
}

cpu_tile conv_cpu_tile(const ops *o, int taps, int in, int out)
{
    return conv_cpu_row_tile(o, conv_cpu_tuned(o, taps, in, out, 0), out);
}

// Pixels per group at most. Where panels are narrow there are many, and each one's group reads the pixels again: then half a second-level
// cache of 512 KiB holds them, and the panels come from farther away.
static int block_most(const ops *o, int in)
{
    enum { NARROW_LEAST = 48, NARROW_FLOATS = 1 << 16 };
    const int cached = NARROW_FLOATS / in;
    if (wide_device(o) || cached > BLOCK_MOST) return BLOCK_MOST;
    return cached > NARROW_LEAST ? cached : NARROW_LEAST;
}

// Pixels per group: whole tiles, large enough that a panel is read seldom, small enough that all cores have work, and alike, since drivers
// deal out groups by number.
static int block_size(int pixels, size_t panels, int tile_rows, int most)
{
    enum { GROUPS_WANTED = 32 };
    const size_t wanted = ceil_div(GROUPS_WANTED, panels), least = ceil_div((size_t)pixels, (size_t)most);
    const size_t block = ceil_div((size_t)pixels, wanted > least ? wanted : least);
    return (int)ceil_div(block, (size_t)tile_rows) * tile_rows;
}

void conv_cpu(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    const int pixels = tensor_rows(y);
    const tuning_row *row = conv_cpu_tuned(o, w->taps, w->in, w->out, pixels);
    const cpu_tile tile = conv_cpu_row_tile(o, row, w->out);
    const int panel = 16 * tile.vectors;
    const size_t panels = ceil_div((size_t)w->out, (size_t)panel);
    const int block = block_size(pixels, panels, tile.rows, tuning_value(row, TUNE_BLOCK, block_most(o, w->in)));
    const size_t tap_bytes = (size_t)w->in * (size_t)panel * sizeof(float);
    const size_t cache_bytes = (size_t)tuning_value(row, TUNE_PANEL_KIB, PANEL_CACHE_KIB) << 10;
    const int taps_per_pass = w->taps == 1 || 9 * tap_bytes <= cache_bytes ? w->taps : 3 * tap_bytes <= cache_bytes ? 3 : 1;

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor packed = weight_panels(o, w, WEIGHT_TAPS);
    kernel *k = kernel_get(o->ctx, "conv_cpu", "conv_cpu", "-DTAPS=%d -DTILE_ROWS=%d -DTILE_VECS=%d -DUNROLL=%d -DSUB_TILES=%d", w->taps,
                           tile.rows, tile.vectors, tuning_value(row, TUNE_UNROLL, UNROLL), tuning_value(row, TUNE_SUB_TILES, SUB_TILES));
    LAUNCH(o->ctx, k, ((work){.groups = {panels, ceil_div((size_t)pixels, (size_t)block)}}), conv_cost(call), T(x), T(packed), T(o->zeros),
           EPILOGUE(call->e), T(y), I(w->in), I(w->out), I(pixels), I(block), WINDOW(x, y, call->stride, call->upsample, call->dilate),
           I(taps_per_pass));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
