#include "ops/attention.h"

#include "ops/attention_matrix.h"
#include "ops/rows.h"
#include "ops/storage.h"
#include <string.h>

enum { HEAD_SIZE_MOST = 128 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

// queries: of one head, by each work-group.
static void launch_attention(ops *o, const attention_call *a, kernel *k, size_t queries, size_t local_0, size_t local_1)
{
    const double tokens = a->tokens, values = (double)tensor_elements(a->out);
    const cost c = {.flops = 4 * tokens * values, .bytes = 4 * values * sizeof(float)};
    const work w = {.groups = {ceil_div((size_t)a->tokens, queries), (size_t)a->heads, (size_t)a->out.n}, .local = {local_0, local_1}};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->out), T(a->lse), I(a->tokens), I(a->stride), I(a->heads),
           F(attention_scale(a->head_size)), I(tensor_given(a->lse)));
}

static const tuning_row *tuned(const ops *o, tuned_op op, tensor out, int heads)
{
    const tuning_shape call = {
        .op = op, .variant = (int)o->table.attention, .pixels = out.h * out.w, .head = out.c / heads, .samples = out.n, .heads = heads};
    return tuning_find(o, &call);
}

// The tiles of cl/attention_cpu*.cl.
typedef struct cpu_shape {
    int vec, sums;         // of the gradient of q: channels in a register; registers for sums
    int vectors, row_tile; // float16 vectors and rows of a tile
    int lane_tiles;        // tiles of own tokens that share rows; an odd number spreads dS over more sets of a cache
    int keys;              // per block: at 60 keys, values and scores of heads of 40 share a first-level cache of 32 KiB
} cpu_shape;

// By the device's registers: 32 of 16 floats (AVX-512), 16 of 8 (AVX2), or at least 16 of 4, so that a float16 takes one, two or four.
static cpu_shape cpu_shape_of(const ops *o, const tuning_row *row, tuning_parameter lane_tiles)
{
    static const cpu_shape wide = {16, 25, 3, 8, 6, 128}, narrow = {8, 12, 1, 6, 9, 60}, narrowest = {4, 12, 1, 2, 9, 60};
    const unsigned native = context_device(o->ctx)->native_vector;
    cpu_shape s = native >= 16 ? wide : native >= 8 ? narrow : narrowest;
    s.vectors = tuning_value(row, TUNE_TILE_VECTORS, s.vectors);
    s.lane_tiles = tuning_value(row, lane_tiles, s.lane_tiles);
    return s;
}

static void attention_cpu(ops *o, const attention_call *a)
{
    const tuning_row *row = tuned(o, TUNED_ATTENTION, a->out, a->heads);
    const cpu_shape s = cpu_shape_of(o, row, TUNE_QUERY_TILES);
    kernel *k = kernel_get(o->ctx, "attention_cpu", "attention_forward",
                           "-DHEAD=%d -DEXACT=%d -DVECTORS=%d -DROW_TILE=%d -DQUERY_TILES=%d -DKEYS=%d", a->head_size, o->exact, s.vectors,
                           s.row_tile, s.lane_tiles, tuning_value(row, TUNE_KEYS, s.keys));
    launch_attention(o, a, k, 16 * (size_t)(s.vectors * s.lane_tiles), 1, 1);
}

static size_t gpu_local_bytes(size_t head_size, size_t lanes, size_t item_rows)
{
    enum { KEYS = 32, PAD = 4, ITEM_QUERIES = 2 }; // cl/attention_gpu.cl
    return sizeof(float) * ((head_size + KEYS + lanes) * (ITEM_QUERIES * item_rows + PAD) + head_size * (KEYS + PAD));
}

static void attention_gpu(ops *o, const attention_call *a)
{
    const device_info *device = context_device(o->ctx);
    const size_t head_size = (size_t)a->head_size, most_items = smaller(device->max_work_group, 256);
    size_t lanes = head_size <= 40 ? 8 : head_size <= 80 ? 16 : 32; // at most 5 channels per item keep it in registers
    const tuning_row *row = tuned(o, TUNED_ATTENTION, a->out, a->heads);
    lanes = (size_t)tuning_value(row, TUNE_LANES, (int)lanes);
    size_t rows = (size_t)tuning_value(row, TUNE_ITEM_ROWS, 16);
    while (rows > 1 && (lanes * rows > most_items || gpu_local_bytes(head_size, lanes, rows) > device->local_memory)) rows /= 2;
    kernel *k = kernel_get(o->ctx, "attention_gpu", "attention_forward", "-DHEAD=%d -DEXACT=%d -DLANES=%zu -DITEM_ROWS=%zu", a->head_size,
                           o->exact, lanes, rows);
    launch_attention(o, a, k, 2 * rows, lanes, rows);
}

static size_t generic_items(const ops *o)
{
    size_t items = 64;
    while (items > 1 && items > context_device(o->ctx)->max_work_group) items /= 2;
    return items;
}

static void attention_generic(ops *o, const attention_call *a)
{
    const size_t items = generic_items(o);
    kernel *k =
        kernel_get(o->ctx, "attention_generic", "attention_forward", "-DHEAD=%d -DEXACT=%d -DITEMS=%zu", a->head_size, o->exact, items);
    launch_attention(o, a, k, 1, items, 1);
}

static bool heads_fit(ops *o, int channels, int heads)
{
    if (heads >= 1 && channels % heads == 0 && channels >= heads && channels / heads <= HEAD_SIZE_MOST) return true;
    context_fail(o->ctx, IDM_USAGE, "attention: %d channels in %d heads; a head has 1 to %d channels", channels, heads, HEAD_SIZE_MOST);
    return false;
}

void attention_forward(ops *o, tensor q, tensor k, tensor v, int stride, int heads, tensor out, tensor lse)
{
    if (!heads_fit(o, out.c, heads)) return;
    attention_call call = {q, k, v, out, lse, stride, heads, out.c / heads, out.h * out.w};
    if (attention_matrix(o, &call)) return;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    call.q = storage_widen(o, q);
    call.k = storage_widen(o, k);
    call.v = storage_widen(o, v);
    call.out = storage_place(o, out);
    switch (o->table.attention) {
    case VARIANT_CPU:
        attention_cpu(o, &call);
        break;
    case VARIANT_GPU:
        attention_gpu(o, &call);
        break;
    default:
        attention_generic(o, &call);
        break;
    }
    storage_narrow(o, call.out, out);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// ---- backward

typedef struct backward_kernel {
    kernel *k;
    size_t block; // tokens that a work-group owns at a time
    size_t local_0, local_1;
} backward_kernel;

static backward_kernel backward_cpu(ops *o, const attention_backward_call *a, backward_pass pass)
{
    enum { OTHERS = 120 };
    const tuning_row *row = tuned(o, TUNED_ATTENTION_BACKWARD, a->out, a->heads);
    const cpu_shape s = cpu_shape_of(o, row, TUNE_OWN);
    kernel *k =
        kernel_get(o->ctx, "attention_cpu_backward", "attention_backward",
                   "-DHEAD=%d -DEXACT=%d -DPASS=%d -DVEC=%d -DVECTORS=%d -DROW_TILE=%d -DSUMS=%d -DOWN_TILES=%d -DOTHERS=%d", a->head_size,
                   o->exact, (int)pass, s.vec, s.vectors, s.row_tile, s.sums, s.lane_tiles, tuning_value(row, TUNE_OTHERS, OTHERS));
    return (backward_kernel){k, 16 * (size_t)(s.vectors * s.lane_tiles), 1, 1};
}

// Block sizes of cl/attention_gpu_backward.cl.
typedef struct backward_tile {
    size_t own, others, lanes, item_own;
} backward_tile;

static size_t backward_rows(const backward_tile *t)
{
    return 2 * t->own / t->item_own;
}

static size_t backward_local_bytes(const backward_tile *t, size_t head_size)
{
    enum { PAD = 4, QUERY_VALUES = 3 };
    const size_t others = t->others + PAD, queries = t->own > t->others ? t->own : t->others;
    return sizeof(float) * (2 * head_size * (t->own + PAD + others) + 2 * t->own * others + QUERY_VALUES * queries);
}

static bool backward_tile_fits(const backward_tile *t, const device_info *device, size_t head_size)
{
    return backward_rows(t) * t->lanes <= smaller(device->max_work_group, 256) &&
           backward_local_bytes(t, head_size) <= device->local_memory;
}

// The first that the device has room for, or the last.
static backward_tile backward_choose_tile(const device_info *device, size_t head_size)
{
    static const backward_tile tiles[] = {{32, 32, 8, 4}, {16, 32, 16, 4}, {16, 32, 8, 4}, {16, 16, 16, 4},
                                          {16, 16, 8, 4}, {8, 16, 8, 4},   {8, 8, 8, 4}};
    // Intel's registers hold 64 floats of an item: 2 tokens and at most 5 channels keep it in them, up to heads of 80.
    enum { INTEL_TILES = 3 };
    static const backward_tile intel_tiles[2][INTEL_TILES] = {{{32, 32, 8, 2}, {16, 32, 8, 2}, {8, 16, 8, 2}},
                                                              {{16, 32, 16, 2}, {16, 16, 16, 2}, {4, 16, 16, 2}}};
    const bool intel = strstr(device->vendor, "Intel"), wide = head_size > 40;
    const backward_tile *t = intel ? intel_tiles[wide] : tiles;
    const size_t count = intel ? INTEL_TILES : sizeof tiles / sizeof *tiles;
    size_t i = 0;
    while (i + 1 < count && !backward_tile_fits(&t[i], device, head_size)) i++;
    return t[i];
}

static backward_kernel backward_gpu(ops *o, const attention_backward_call *a, backward_pass pass)
{
    const device_info *device = context_device(o->ctx);
    const tuning_row *row = tuned(o, TUNED_ATTENTION_BACKWARD, a->out, a->heads);
    backward_tile t = {.own = (size_t)tuning_value(row, TUNE_OWN, 0),
                       .others = (size_t)tuning_value(row, TUNE_OTHERS, 0),
                       .lanes = (size_t)tuning_value(row, TUNE_LANES, 0),
                       .item_own = (size_t)tuning_value(row, TUNE_ITEM_ROWS, 0)};
    if (!t.own || !t.others || !t.lanes || !t.item_own || 2 * t.own % t.item_own || !backward_tile_fits(&t, device, (size_t)a->head_size))
        t = backward_choose_tile(device, (size_t)a->head_size);
    kernel *k = kernel_get(o->ctx, "attention_gpu_backward", "attention_backward",
                           "-DHEAD=%d -DEXACT=%d -DPASS=%d -DOWN=%zu -DOTHERS=%zu -DLANES=%zu -DITEM_OWN=%zu", a->head_size, o->exact,
                           (int)pass, t.own, t.others, t.lanes, t.item_own);
    return (backward_kernel){k, t.own, t.lanes, backward_rows(&t)};
}

static backward_kernel backward_generic(ops *o, const attention_backward_call *a, backward_pass pass)
{
    const size_t items = generic_items(o);
    kernel *k = kernel_get(o->ctx, "attention_generic_backward", "attention_backward", "-DHEAD=%d -DEXACT=%d -DPASS=%d -DITEMS=%zu",
                           a->head_size, o->exact, (int)pass, items);
    return (backward_kernel){k, 1, items, 1};
}

static backward_kernel backward_choose(ops *o, const attention_backward_call *a, backward_pass pass)
{
    switch (o->table.attention) {
    case VARIANT_CPU:
        return backward_cpu(o, a, pass);
    case VARIANT_GPU:
        return backward_gpu(o, a, pass);
    default:
        return backward_generic(o, a, pass);
    }
}

// Slices of the keys, and of the queries, of one head: enough that every unit of the device has work, and that a work-group has little
// enough of it for the longest allowed launch.
static size_t backward_slices(const ops *o, const attention_backward_call *a)
{
    enum { GROUPS_PER_UNIT = 4, SLICES_MOST = 64 };
    static const double GROUP_FLOPS_MOST = 1e9;
    const size_t wanted = GROUPS_PER_UNIT * (size_t)context_device(o->ctx)->compute_units, heads = (size_t)a->heads * (size_t)a->out.n;
    const size_t parallel = ceil_div(wanted, heads), most = parallel < SLICES_MOST ? parallel : SLICES_MOST;
    const size_t brief = (size_t)(a->tokens * sqrt(10.0 * a->head_size / GROUP_FLOPS_MOST)) + 1;
    return most > brief ? most : brief;
}

static void launch_backward(ops *o, const attention_backward_call *a, const backward_kernel *b, double products, size_t own_span,
                            size_t other_span, size_t slices, size_t shift)
{
    const size_t groups = ceil_div((size_t)a->tokens, own_span);
    const double values = (double)tensor_elements(a->out), share = 1 / (double)slices;
    const cost c = {.flops = 2 * products * share * a->tokens * values, .bytes = 7 * share * values * sizeof(float)};
    const work w = {.groups = {groups, (size_t)a->heads, (size_t)a->out.n}, .local = {b->local_0, b->local_1}};
    LAUNCH(o->ctx, b->k, w, c, T(a->q), T(a->k), T(a->v), T(a->lse), T(a->delta), T(a->dout), T(a->dq), T(a->dk), T(a->dv), I(a->tokens),
           I(a->stride), I(a->gradient_stride), I(a->heads), F(attention_scale(a->head_size)), I((int)own_span), I((int)other_span),
           I((int)slices), I((int)shift));
}

// Launch after launch, the slices of queries move on by one against the slices of keys, so that no two groups add to the same dQ at once.
static void backward_one_pass(ops *o, const attention_backward_call *a)
{
    const backward_kernel b = backward_choose(o, a, BACKWARD_ALL);
    const size_t tokens = (size_t)a->tokens, span = ceil_div(ceil_div(tokens, backward_slices(o, a)), b.block) * b.block;
    const size_t slices = ceil_div(tokens, span);
    for (size_t shift = 0; shift < slices; shift++) launch_backward(o, a, &b, 5, span, span, slices, shift);
}

static void backward_two_pass(ops *o, const attention_backward_call *a)
{
    const backward_kernel keys = backward_choose(o, a, BACKWARD_KEYS), queries = backward_choose(o, a, BACKWARD_QUERIES);
    launch_backward(o, a, &keys, 4, keys.block, (size_t)a->tokens, 1, 0);
    launch_backward(o, a, &queries, 3, queries.block, (size_t)a->tokens, 1, 0);
}

static void launch_delta(ops *o, const attention_backward_call *a)
{
    const rows_grid g = rows_plan(o, a->out.n, a->tokens * a->heads, a->head_size, ops_pointwise_width(o, a->head_size), 2 * a->head_size);
    kernel *k = kernel_get(o->ctx, "attention_delta", "attention_delta", "%s", g.options);
    const cost c = {2 * (double)tensor_elements(a->out), 2 * (double)tensor_bytes(a->out) + (double)tensor_bytes(a->delta)};
    LAUNCH(o->ctx, k, g.w, c, ROWS(g), I(a->heads), T(a->dout), T(a->out), T(a->delta));
}

void attention_backward(ops *o, tensor q, tensor k, tensor v, int stride, int heads, tensor out, tensor lse, tensor dout, tensor dq,
                        tensor dk, tensor dv, int gradient_stride)
{
    if (!heads_fit(o, out.c, heads)) return;
    attention_backward_call call = {.q = q,
                                    .k = k,
                                    .v = v,
                                    .out = out,
                                    .lse = lse,
                                    .dout = dout,
                                    .dq = dq,
                                    .dk = dk,
                                    .dv = dv,
                                    .stride = stride,
                                    .gradient_stride = gradient_stride,
                                    .heads = heads,
                                    .head_size = out.c / heads,
                                    .tokens = out.h * out.w};
    if (attention_matrix_backward(o, &call)) return;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    call.delta = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, out.n, heads, out.h * out.w, 1);
    call.dq = storage_place(o, dq);
    call.dk = storage_place(o, dk);
    call.dv = storage_place(o, dv);
    call.q = storage_widen(o, q);
    call.k = storage_widen(o, k);
    call.v = storage_widen(o, v);
    call.out = storage_widen(o, out);
    call.dout = storage_widen(o, dout);
    launch_delta(o, &call);
    if (o->attention_two_pass || o->table.attention == VARIANT_GENERIC) backward_two_pass(o, &call); // generic has no other
    else backward_one_pass(o, &call);
    storage_narrow(o, call.dq, dq);
    storage_narrow(o, call.dk, dk);
    storage_narrow(o, call.dv, dv);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
