#include "ops/conv_cpu.h"

#include "ops/conv_variants.h"

// Cores' second-level caches hold this much of a panel beside the pixels they work on.
static const size_t PANEL_CACHE_BYTES = (size_t)640 << 10;

cpu_tile conv_cpu_tile(const ops *o, int out)
{
    // speed: of the tile's inner loop against the best one's, from bench; 32 AVX-512 registers hold 24-25 sums, 16 AVX2 registers 12 halves
    static const struct {
        cpu_tile tile;
        double speed;
    } wide[] = {{{5, 5}, 1}, {{6, 4}, 1}, {{8, 3}, 0.98}, {{8, 2}, 0.8}, {{8, 1}, 0.5}}, narrow[] = {{{6, 1}, 1}};
    const bool is_wide = context_device(o->ctx)->native_vector >= 16;
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

// Pixels per group: whole tiles, large enough that a panel is read seldom, small enough that all cores have work, and alike, since drivers
// deal out groups by number.
static int block_size(int pixels, size_t panels, int tile_rows)
{
    enum { MOST = 240, GROUPS_WANTED = 32 };
    const size_t wanted = ceil_div(GROUPS_WANTED, panels), least = ceil_div((size_t)pixels, MOST);
    const size_t block = ceil_div((size_t)pixels, wanted > least ? wanted : least);
    return (int)ceil_div(block, (size_t)tile_rows) * tile_rows;
}

void conv_cpu(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    const cpu_tile tile = conv_cpu_tile(o, w->out);
    const int panel = 16 * tile.vectors, pixels = tensor_rows(y);
    const size_t panels = ceil_div((size_t)w->out, (size_t)panel);
    const int block = block_size(pixels, panels, tile.rows);
    const size_t tap_bytes = (size_t)w->in * (size_t)panel * sizeof(float);
    const int taps_per_pass = w->taps == 1 || 9 * tap_bytes <= PANEL_CACHE_BYTES ? w->taps : 3 * tap_bytes <= PANEL_CACHE_BYTES ? 3 : 1;

    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor packed = weight_panels(o, w, WEIGHT_TAPS);
    kernel *k = kernel_get(o->ctx, "conv_cpu", "conv_cpu", "-DTAPS=%d -DTILE_ROWS=%d -DTILE_VECS=%d", w->taps, tile.rows, tile.vectors);
    LAUNCH(o->ctx, k, ((work){.groups = {panels, ceil_div((size_t)pixels, (size_t)block)}}), conv_cost(call), T(x), T(packed), T(o->zeros),
           EPILOGUE(call->e), T(y), I(w->in), I(w->out), I(pixels), I(block), WINDOW(x, y, call->stride, call->upsample, call->dilate),
           I(taps_per_pass));
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
