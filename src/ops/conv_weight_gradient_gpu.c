#include "ops/conv_gpu.h"
#include "ops/conv_variants.h"
#include "ops/conv_weight_gradient.h"

enum { SLICE_LEAST = 256, SLICE_STEP = 16 }; // pixels

typedef struct plan {
    gpu_tile tile;
    size_t quads; // of four input channels: the rows in units of four
    int slice, slices;
} plan;

// What a plan takes, in FMAs of a device whose every unit is busy: waves of groups, a group doing its tile for all of a slice, and the
// partial sums, written once and read once.
static double plan_time(const plan *p, const weight_gradient_call *call, size_t items_at_once)
{
    const double FMAS_PER_BYTE = 10; // a GPU does this many while it moves a byte
    const size_t out = (size_t)call->dy.c, rows = (size_t)call->taps * (size_t)call->x.c;
    const size_t groups = ceil_div(4 * p->quads, (size_t)p->tile.rows) * ceil_div(out, (size_t)p->tile.outputs) * (size_t)p->slices;
    const size_t wave = ceil_div(items_at_once, gpu_tile_items(&p->tile));
    return (double)(ceil_div(groups, wave) * wave) * p->tile.rows * p->tile.outputs * p->slice / p->tile.speed +
           8.0 * FMAS_PER_BYTE * (double)rows * (double)out * p->slices;
}

// The best tile, of all or the tuned one, and number of slices for the device.
static plan choose_plan(const device_info *device, const weight_gradient_call *call, const gpu_tile *tuned)
{
    enum { SLICES_MOST = 256 };
    const size_t pixels = (size_t)tensor_rows(call->dy), quads = (size_t)call->taps * ceil_div((size_t)call->x.c, 4);
    const size_t most = ceil_div(pixels, SLICE_LEAST) < SLICES_MOST ? ceil_div(pixels, SLICE_LEAST) : SLICES_MOST;
    plan best = {0};
    double best_time = 0;
    for (int i = 0; i < (tuned ? 1 : GPU_TILES); i++) {
        const gpu_tile *tile = tuned ? tuned : &conv_gpu_tiles[i];
        if (!tuned && !gpu_tile_fits(tile, device) && i + 1 < GPU_TILES) continue;
        for (size_t wanted = 1; wanted <= most; wanted++) {
            const size_t slice = ceil_div(ceil_div(pixels, wanted), SLICE_STEP) * SLICE_STEP, slices = ceil_div(pixels, slice);
            const plan p = {*tile, quads, (int)slice, (int)slices};
            const double time = plan_time(&p, call, (size_t)device->compute_units * GPU_ITEMS_PER_UNIT);
            if (best_time > 0 && time >= best_time) continue;
            best = p;
            best_time = time;
        }
    }
    return best;
}

void conv_weight_gradient_gpu(ops *o, const weight_gradient_call *call)
{
    const tensor x = call->x, dy = call->dy;
    const device_info *device = context_device(o->ctx);
    gpu_tile tuned;
    const bool is_tuned = gpu_tile_tuned(weight_gradient_tuned(o, VARIANT_GPU, call), device, &tuned);
    const plan p = choose_plan(device, call, is_tuned ? &tuned : NULL);
    const gpu_tile *t = &p.tile;
    const tensor partials = weight_gradient_partials(o, call, p.slices), by_output[] = {dy, partials};
    kernel *k = kernel_get(o->ctx, "conv_weight_gradient_gpu", "conv_weight_gradient_gpu",
                           "-DTAPS=%d -DTILE_M=%d -DTILE_N=%d -DITEM_M=%d -DIN_VEC=%d -DOUT_VEC=%d", call->taps, t->rows, t->outputs,
                           t->item_rows, conv_gpu_vector(x.c, &x, 1), conv_gpu_vector(dy.c, by_output, 2));
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div((size_t)dy.c, (size_t)t->outputs), ceil_div(4 * p.quads, (size_t)t->rows), (size_t)p.slices},
                   .local = {(size_t)(t->outputs / GPU_TILE_OUTPUTS), (size_t)(t->rows / t->item_rows)},
                   .padding = gpu_tile_padding(t, 4 * p.quads, (size_t)dy.c)}),
           weight_gradient_cost(call, partials), T(x), T(dy), T(partials), I(x.c), I(dy.c), I(tensor_rows(dy)), I(p.slice),
           WINDOW(x, dy, call->stride, call->upsample, false));
    weight_gradient_merge(o, partials, p.slices, call->dw);
}
