#include "ops/conv_gpu.h"

#include "ops/conv_variants.h"
#include <string.h>

enum { TILE_K = 16 };

const gpu_tile conv_gpu_tiles[GPU_TILES] = {{128, 64, 8, 1}, {64, 64, 4, 0.8}, {64, 32, 4, 0.7}, {32, 32, 4, 0.6}};

size_t gpu_tile_items(const gpu_tile *t)
{
    return (size_t)(t->rows / t->item_rows) * (size_t)(t->outputs / GPU_TILE_OUTPUTS);
}

static size_t tile_local_bytes(const gpu_tile *t)
{
    return sizeof(float) * TILE_K * (size_t)(t->rows + 4 + t->outputs);
}

bool gpu_tile_fits(const gpu_tile *t, const device_info *device)
{
    // Intel's registers hold 64 floats of an item, less than 8 rows' sums and operands
    const int item_rows_most = strstr(device->vendor, "Intel") ? 4 : 8;
    return t->item_rows <= item_rows_most && gpu_tile_items(t) <= device->max_work_group && tile_local_bytes(t) <= device->local_memory;
}

double gpu_tile_padding(const gpu_tile *t, size_t rows, size_t outputs)
{
    return tile_padding(rows, (size_t)t->rows) * tile_padding(outputs, (size_t)t->outputs);
}

// The part of the device's work that is useful: the rest is padding at y's edges, and units idle in the last wave of groups.
static double tile_use(const gpu_tile *t, size_t pixels, size_t out, size_t items_at_once)
{
    const size_t groups = ceil_div(pixels, (size_t)t->rows) * ceil_div(out, (size_t)t->outputs);
    const size_t wave = ceil_div(items_at_once, gpu_tile_items(t));
    const double values = (double)(ceil_div(groups, wave) * wave) * t->rows * t->outputs;
    return (double)pixels * (double)out / values;
}

bool gpu_tile_tuned(const tuning_row *row, const device_info *device, gpu_tile *t)
{
    const gpu_tile wanted = {.rows = tuning_value(row, TUNE_TILE_ROWS, 0),
                             .outputs = tuning_value(row, TUNE_TILE_OUTPUTS, 0),
                             .item_rows = tuning_value(row, TUNE_ITEM_ROWS, 0),
                             .speed = 1};
    const int loads = TILE_K / 4; // float4 of a row of x, and as many rows of w for each quad of outputs
    if (!wanted.rows || !wanted.outputs || !wanted.item_rows || wanted.item_rows % 4 || wanted.rows % wanted.item_rows ||
        wanted.outputs % GPU_TILE_OUTPUTS)
        return false;
    const int items = (int)gpu_tile_items(&wanted);
    if (wanted.rows * loads % items || TILE_K * (wanted.outputs / GPU_TILE_OUTPUTS) % items || items % loads) return false;
    if ((size_t)items > device->max_work_group || tile_local_bytes(&wanted) > device->local_memory) return false;
    *t = wanted;
    return true;
}

static gpu_tile choose_tile(const device_info *device, size_t pixels, size_t out)
{
    gpu_tile best = conv_gpu_tiles[GPU_TILES - 1];
    double best_score = 0;
    for (int i = 0; i < GPU_TILES; i++) {
        const gpu_tile *t = &conv_gpu_tiles[i];
        if (!gpu_tile_fits(t, device)) continue;
        const double score = t->speed * tile_use(t, pixels, out, (size_t)device->compute_units * GPU_ITEMS_PER_UNIT);
        if (score > best_score) {
            best = *t;
            best_score = score;
        }
    }
    return best;
}

int conv_gpu_vector(int c, const tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tensor_given(tensors[i]) && tensors[i].offset % (4 * sizeof(float))) return 1;
    return c % 4 ? 1 : 4;
}

void conv_gpu(ops *o, const conv_call *call)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y, outputs[] = {w->plain, y, call->e->bias, call->e->residual, call->e->mix};
    const int in_vec = conv_gpu_vector(w->in, &x, 1), out_vec = conv_gpu_vector(w->out, outputs, sizeof outputs / sizeof *outputs);
    const size_t pixels = (size_t)tensor_rows(y), out = (size_t)w->out;
    const device_info *device = context_device(o->ctx);
    const tuning_row *row = tuning_find(
        o, &(tuning_shape){
               .op = w->taps == 1 ? TUNED_LINEAR : TUNED_CONV, .variant = VARIANT_GPU, .in = w->in, .out = w->out, .pixels = (int)pixels});
    gpu_tile t;
    if (!gpu_tile_tuned(row, device, &t)) t = choose_tile(device, pixels, out);
    const bool twice = tuning_value(row, TUNE_BUFFERS, 1) == 2 && 2 * tile_local_bytes(&t) <= device->local_memory;
    kernel *k =
        kernel_get(o->ctx, "conv_gpu", "conv_gpu", "-DTAPS=%d -DTILE_M=%d -DTILE_N=%d -DITEM_M=%d -DIN_VEC=%d -DOUT_VEC=%d -DBUFFERS=%d",
                   w->taps, t.rows, t.outputs, t.item_rows, in_vec, out_vec, twice ? 2 : 1);
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div(out, (size_t)t.outputs), ceil_div(pixels, (size_t)t.rows)},
                   .local = {(size_t)(t.outputs / GPU_TILE_OUTPUTS), (size_t)(t.rows / t.item_rows)},
                   .padding = gpu_tile_padding(&t, pixels, out)}),
           conv_cost(call), T(x), T(w->plain), EPILOGUE(call->e), T(y), I(w->in), I(w->out), I((int)pixels),
           WINDOW(x, y, call->stride, call->upsample, call->dilate));
}
