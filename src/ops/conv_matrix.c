// Convolutions and linear layers on the matrix unit (cl/conv_matrix.cl, cl/conv_weight_gradient_matrix.cl).
#include "ops/conv_matrix.h"

#include "ops/matrix.h"
#include "ops/storage.h"

// A work-group's tile of the result, and a team's part of it.
typedef struct tile {
    int rows, outputs, part_rows, part_outputs;
    double speed; // of a full device, against the best tile: products per value read from local memory
} tile;

// From the largest to the smallest. Parts are multiples of a unit's instruction (matrix_shape), as large as registers allow; a group has
// 32 to 256 items.
enum { TILES = 3 };
static const tile tiles_of_8[TILES] = {{128, 128, 16, 32, 1}, {64, 64, 16, 32, 0.8}, {32, 32, 16, 16, 0.5}},
                  tiles_of_16[TILES] = {{128, 128, 32, 32, 1}, {64, 64, 32, 32, 0.8}, {32, 32, 16, 32, 0.5}},
                  tiles_of_32[TILES] = {{128, 128, 64, 32, 1}, {64, 64, 32, 32, 0.8}, {32, 32, 16, 32, 0.5}},
                  tiles_of_64[TILES] = {{128, 128, 64, 64, 1}, {64, 64, 64, 32, 0.8}, {32, 32, 32, 32, 0.5}};

static const tile *tiles_of(matrix_unit unit)
{
    const int team = matrix_shape_of(unit)->team;
    return team == 8 ? tiles_of_8 : team == 16 ? tiles_of_16 : team == 32 ? tiles_of_32 : tiles_of_64;
}

static size_t tile_items(const tile *t, matrix_unit unit)
{
    return (size_t)(t->rows / t->part_rows) * (size_t)(t->outputs / t->part_outputs) * (size_t)matrix_shape_of(unit)->team;
}

// Of the larger of the kernels: both operands as rows of 16 pairs and 4 unused ones, and what the emulation exchanges.
static size_t tile_local_bytes(const tile *t, matrix_unit unit)
{
    enum { ROW_STEP = 20 };
    return (size_t)(t->rows + t->outputs) * ROW_STEP * sizeof(uint32_t) + matrix_scratch_bytes(unit, tile_items(t, unit));
}

static bool tile_fits(const tile *t, const device_info *device, matrix_unit unit)
{
    return tile_items(t, unit) <= device->max_work_group && tile_local_bytes(t, unit) <= device->local_memory;
}

bool conv_matrix_takes(const ops *o, tensor x, tensor y)
{
    return o->matrix != MATRIX_NONE && (x.type != DTYPE_F32 || y.type != DTYPE_F32);
}

bool conv_matrix_fits(const device_info *device, matrix_unit unit)
{
    return tile_fits(&tiles_of(unit)[TILES - 1], device, unit);
}

// What `slices` results of rows x outputs take, in tiles' products of a device whose every unit is busy: whole waves of groups.
static double tile_time(const ops *o, const tile *t, size_t rows, size_t outputs, size_t slices)
{
    const size_t items = (size_t)context_device(o->ctx)->compute_units * (size_t)matrix_shape_of(o->matrix)->items_most;
    const size_t wave = ceil_div(items, tile_items(t, o->matrix));
    const size_t groups = ceil_div(rows, (size_t)t->rows) * ceil_div(outputs, (size_t)t->outputs) * slices;
    return (double)(ceil_div(groups, wave) * wave) * t->rows * t->outputs / t->speed;
}

static const tile *choose_tile(const ops *o, size_t rows, size_t outputs, size_t slices)
{
    const tile *tiles = tiles_of(o->matrix), *best = &tiles[TILES - 1];
    for (int i = 0; i < TILES; i++)
        if (tile_fits(&tiles[i], context_device(o->ctx), o->matrix) &&
            tile_time(o, &tiles[i], rows, outputs, slices) < tile_time(o, best, rows, outputs, slices))
            best = &tiles[i];
    return best;
}

// Whether rows of in values of a and of out values of b are whole eights, aligned to 16 bytes.
static bool eights(tensor a, tensor b, int in, int out)
{
    return in % 8 == 0 && out % 8 == 0 && a.offset % 16 == 0 && b.offset % 16 == 0;
}

// The type of an operand that may be missing: then y's, so that there are fewer kernels.
static const char *epilogue_type(tensor t, tensor y)
{
    return storage_type_name(tensor_given(t) ? t.type : y.type);
}

static dtype narrow_type(tensor x, tensor y)
{
    return x.type != DTYPE_F32 ? x.type : y.type;
}

void conv_matrix(ops *o, const conv_call *call, bool transposed)
{
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    const int in = x.c, out = y.c, pixels = tensor_rows(y);
    const tile *t = choose_tile(o, (size_t)pixels, (size_t)out, 1);
    char options[MATRIX_OPTIONS_SIZE];
    kernel *k = kernel_get(o->ctx, "conv_matrix", "conv_matrix",
                           "%s -DTAPS=%d -DTRANSPOSED=%d -DTILE_M=%d -DTILE_N=%d -DPART_M=%d -DPART_N=%d "
                           "-DX_TYPE=%s -DY_TYPE=%s -DRESIDUAL_TYPE=%s -DMIX_TYPE=%s -DEIGHTS=%d",
                           matrix_options(o->matrix, narrow_type(x, y), options), w->taps, transposed, t->rows, t->outputs, t->part_rows,
                           t->part_outputs, storage_type_name(x.type), storage_type_name(y.type), epilogue_type(call->e->residual, y),
                           epilogue_type(call->e->mix, y), eights(x, w->plain, in, out));
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div((size_t)out, (size_t)t->outputs), ceil_div((size_t)pixels, (size_t)t->rows)},
                   .local = {tile_items(t, o->matrix)},
                   .padding = tile_padding((size_t)pixels, (size_t)t->rows) * tile_padding((size_t)out, (size_t)t->outputs)}),
           conv_cost(call), T(x), T(w->plain), EPILOGUE(call->e), T(y), I(in), I(out), I(pixels),
           WINDOW(x, y, call->stride, call->upsample, call->dilate));
}

typedef struct plan {
    const tile *tile;
    size_t slice, slices; // pixels of one, and how many
} plan;

// The tile and the number of slices of the pixels that take the least time, the partial sums' memory traffic counted.
static plan choose_plan(const ops *o, size_t pixels, size_t rows, size_t out)
{
    enum { SLICE_LEAST = 256, SLICE_STEP = 32, SLICES_MOST = 256 };
    const double PRODUCTS_PER_BYTE = 80; // a GPU does this many while it moves a byte
    const size_t most = ceil_div(pixels, SLICE_LEAST) < SLICES_MOST ? ceil_div(pixels, SLICE_LEAST) : SLICES_MOST;
    plan best = {.tile = tiles_of(o->matrix)}; // the first below takes its place
    double best_time = 0;
    for (size_t wanted = 1; wanted <= most; wanted++) {
        const size_t slice = ceil_div(ceil_div(pixels, wanted), SLICE_STEP) * SLICE_STEP, slices = ceil_div(pixels, slice);
        const tile *t = choose_tile(o, rows, out, slices);
        const double time =
            tile_time(o, t, rows, out, slices) * (double)slice + 8.0 * PRODUCTS_PER_BYTE * (double)rows * (double)out * (double)slices;
        if (best_time > 0 && time >= best_time) continue;
        best = (plan){t, slice, slices};
        best_time = time;
    }
    return best;
}

void conv_weight_gradient_matrix(ops *o, const weight_gradient_call *call)
{
    const tensor x = call->x, dy = call->dy;
    const size_t row_eights = (size_t)call->taps * ceil_div((size_t)x.c, 8);
    const plan p = choose_plan(o, (size_t)tensor_rows(dy), 8 * row_eights, (size_t)dy.c);
    const tile *t = p.tile;
    char options[MATRIX_OPTIONS_SIZE];
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor partials = weight_gradient_partials(o, call, (int)p.slices);
    kernel *k = kernel_get(o->ctx, "conv_weight_gradient_matrix", "conv_weight_gradient_matrix",
                           "%s -DTAPS=%d -DTILE_M=%d -DTILE_N=%d -DPART_M=%d -DPART_N=%d -DX_TYPE=%s "
                           "-DY_TYPE=%s -DEIGHTS=%d",
                           matrix_options(o->matrix, narrow_type(x, dy), options), call->taps, t->rows, t->outputs, t->part_rows,
                           t->part_outputs, storage_type_name(x.type), storage_type_name(dy.type), eights(x, dy, x.c, dy.c));
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div((size_t)dy.c, (size_t)t->outputs), ceil_div(8 * row_eights, (size_t)t->rows), p.slices},
                   .local = {tile_items(t, o->matrix)},
                   .padding = tile_padding(8 * row_eights, (size_t)t->rows) * tile_padding((size_t)dy.c, (size_t)t->outputs)}),
           weight_gradient_cost(call, partials), T(x), T(dy), T(partials), I(x.c), I(dy.c), I(tensor_rows(dy)), I((int)p.slice),
           WINDOW(x, dy, call->stride, call->upsample, false));
    weight_gradient_merge(o, partials, (int)p.slices, call->dw);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
