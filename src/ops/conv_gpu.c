#include "ops/conv_variants.h"

#include <string.h>

// A work-group's tile of y, and an item's part of it (pixels x 4 outputs); cl/conv_gpu.cl.
typedef struct gpu_tile {
    int pixels, outputs, item_pixels;
    double speed; // of a full device, against the best tile: FMAs per value read from local memory
} gpu_tile;

enum { TILE_K = 16, ITEM_OUTPUTS = 4 };

static size_t tile_items(const gpu_tile *t)
{
    return (size_t)(t->pixels / t->item_pixels) * (size_t)(t->outputs / ITEM_OUTPUTS);
}

static size_t tile_local_bytes(const gpu_tile *t)
{
    return sizeof(float) * TILE_K * (size_t)(t->pixels + 4 + t->outputs);
}

// The part of the device's work that is useful: the rest is padding at y's edges, and units idle in the last wave of groups.
static double tile_use(const gpu_tile *t, size_t pixels, size_t out, size_t items_at_once)
{
    const size_t groups = ceil_div(pixels, (size_t)t->pixels) * ceil_div(out, (size_t)t->outputs);
    const size_t wave = ceil_div(items_at_once, tile_items(t));
    const double values = (double)(ceil_div(groups, wave) * wave) * t->pixels * t->outputs;
    return (double)pixels * (double)out / values;
}

static gpu_tile choose_tile(const device_info *device, size_t pixels, size_t out)
{
    static const gpu_tile tiles[] = {{128, 64, 8, 1}, {64, 64, 4, 0.8}, {64, 32, 4, 0.7}, {32, 32, 4, 0.6}};
    // Intel's registers hold 64 floats of an item, less than 8 pixels' sums and operands
    const int item_pixels_most = strstr(device->vendor, "Intel") ? 4 : 8;
    enum { COUNT = sizeof tiles / sizeof *tiles, ITEMS_PER_UNIT = 512 };
    gpu_tile best = tiles[COUNT - 1]; // the smallest: 64 items, 4.25 KiB
    double best_score = 0;
    for (int i = 0; i < COUNT; i++) {
        const gpu_tile *t = &tiles[i];
        if (t->item_pixels > item_pixels_most || tile_items(t) > device->max_work_group || tile_local_bytes(t) > device->local_memory)
            continue;
        const double score = t->speed * tile_use(t, pixels, out, (size_t)device->compute_units * ITEMS_PER_UNIT);
        if (score > best_score) {
            best = *t;
            best_score = score;
        }
    }
    return best;
}

// 4 if rows of c floats of all these tensors are aligned float4, else 1.
static int row_vector(int c, const tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tensor_given(tensors[i]) && tensors[i].offset % (4 * sizeof(float))) return 1;
    return c % 4 ? 1 : 4;
}

void conv_gpu(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y, outputs[] = {w->plain, y, call->e->bias, call->e->residual, call->e->mix};
    const int in_vec = row_vector(w->in, &x, 1), out_vec = row_vector(w->out, outputs, sizeof outputs / sizeof *outputs);
    const size_t pixels = (size_t)tensor_rows(y), out = (size_t)w->out;
    const gpu_tile t = choose_tile(context_device(o->ctx), pixels, out);
    kernel *k = kernel_get(o->ctx, "conv_gpu", "conv_gpu", "-DTAPS=%d -DTILE_M=%d -DTILE_N=%d -DITEM_M=%d -DIN_VEC=%d -DOUT_VEC=%d",
                           w->taps, t.pixels, t.outputs, t.item_pixels, in_vec, out_vec);
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div(out, (size_t)t.outputs), ceil_div(pixels, (size_t)t.pixels)},
                   .local = {(size_t)(t.outputs / ITEM_OUTPUTS), (size_t)(t.pixels / t.item_pixels)}}),
           conv_cost(call), T(x), T(w->plain), EPILOGUE(call->e), T(y), I(w->in), I(w->out), I((int)pixels), I(x.h), I(x.w), I(y.h), I(y.w),
           I(call->stride), I(call->upsample));
}
