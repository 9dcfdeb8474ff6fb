#include "ops/attention_matrix.h"

#include "ops/conv_matrix.h"
#include "ops/matrix.h"
#include "ops/storage.h"

// What a team's product has of own tokens, of other ones and of channels that it sums over, in either role (cl/matrix_rows.clh): own
// tokens are rows of the sum on NVIDIA's unit, columns on the others.
typedef struct layout {
    size_t own, other, k, team;
} layout;

static layout layout_of(const ops *o)
{
    const matrix_shape *s = matrix_shape_of(o->matrix);
    const bool rows = s == matrix_shape_of(MATRIX_NVIDIA);
    return (layout){(size_t)(rows ? s->m : s->n), (size_t)(rows ? s->n : s->m), (size_t)s->k, (size_t)s->team};
}

static size_t round_up(size_t size, size_t step)
{
    return ceil_div(size, step) * step;
}

// Bytes of tokens in local memory, as rows and across (cl/attention_matrix.clh).
static size_t rows_bytes(const layout *l, size_t tokens, size_t head_size)
{
    return tokens * (round_up(head_size, l->k) / 2 + 4) * sizeof(uint32_t);
}

static size_t across_bytes(const layout *l, size_t tokens, size_t head_size)
{
    const size_t channels = round_up(head_size, l->other);
    return tokens / 2 * (channels % 16 ? channels : channels + 8) * sizeof(uint32_t);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

// Whether the device has room for groups of so many teams with so many bytes of local memory beside what an emulation takes.
static bool group_fits(const ops *o, size_t teams, size_t bytes)
{
    const device_info *device = context_device(o->ctx);
    const size_t items = teams * layout_of(o).team;
    return items <= device->max_work_group && bytes + matrix_scratch_bytes(o->matrix, items) <= device->local_memory;
}

// What a work-group of cl/attention_matrix.cl owns and walks. parts: products of own tokens by a team. head_most: largest head for which
// registers hold all that.
typedef struct tile {
    size_t teams, parts, keys, step_keys, head_most;
} tile;

enum { TILES = 4 };

// From the best to the smallest.
static const tile *tiles_of(matrix_unit unit)
{
    static const tile tiles[MATRIX_UNITS][TILES] = {
        [MATRIX_NVIDIA] = {{4, 1, 64, 64, 48}, {4, 1, 64, 32, 128}, {4, 1, 32, 32, 128}, {2, 1, 32, 32, 128}},
        [MATRIX_AMD_WMMA] = {{4, 2, 64, 32, 48}, {4, 1, 64, 32, 128}, {4, 1, 32, 32, 128}, {2, 1, 32, 32, 128}},
        [MATRIX_AMD_MFMA] = {{4, 1, 64, 64, 128}, {2, 1, 64, 64, 128}, {1, 1, 32, 32, 128}},
        [MATRIX_INTEL_8] = {{16, 1, 64, 32, 48}, {16, 1, 64, 16, 80}, {4, 1, 32, 32, 48}, {4, 1, 32, 16, 80}},
        [MATRIX_INTEL_16] = {{8, 1, 64, 32, 48}, {8, 1, 64, 16, 80}, {2, 1, 32, 32, 48}, {2, 1, 32, 16, 80}},
    };
    return tiles[matrix_is_emulated(unit) ? unit + 1 : unit];
}

static bool tile_fits(const ops *o, const tile *t, size_t head_size)
{
    const layout l = layout_of(o);
    const size_t queries = rows_bytes(&l, t->teams * t->parts * l.own, head_size);
    const size_t keys = rows_bytes(&l, t->keys, head_size) + across_bytes(&l, t->keys, head_size);
    return head_size <= t->head_most && group_fits(o, t->teams, larger(queries, keys));
}

// The first that the device has room for, or null.
static const tile *choose_tile(const ops *o, size_t head_size)
{
    const tile *tiles = tiles_of(o->matrix);
    for (size_t i = 0; i < TILES && tiles[i].teams; i++)
        if (tile_fits(o, &tiles[i], head_size)) return &tiles[i];
    return NULL;
}

// Whether rows of all parts are whole eights, aligned to 16 bytes.
static bool eights(const tensor *parts, size_t count, int head_size, int stride)
{
    bool whole = head_size % 8 == 0 && stride % 8 == 0;
    for (size_t i = 0; i < count; i++) whole = whole && parts[i].offset % 16 == 0;
    return whole;
}

// Whether there is a unit for what is read, which has to be stored alike, and written.
static bool takes(const ops *o, const tensor *read, size_t count, tensor written)
{
    bool alike = true;
    for (size_t i = 1; i < count; i++) alike = alike && read[i].type == read[0].type;
    return alike && conv_matrix_takes(o, read[0], written);
}

static dtype narrow_type(tensor read, tensor written)
{
    return read.type != DTYPE_F32 ? read.type : written.type;
}

bool attention_matrix_fits(const ops *o, int head_size)
{
    return o->matrix != MATRIX_NONE && choose_tile(o, (size_t)head_size);
}

bool attention_matrix(ops *o, const attention_call *a)
{
    const tensor read[] = {a->q, a->k, a->v};
    const size_t tokens = (size_t)a->tokens, head_size = (size_t)a->head_size;
    if (!takes(o, read, 3, a->out) || !attention_matrix_fits(o, a->head_size)) return false;
    const layout l = layout_of(o);
    const tile *t = choose_tile(o, head_size);
    const size_t queries = t->teams * t->parts * l.own;
    char unit[MATRIX_OPTIONS_SIZE];
    kernel *k =
        kernel_get(o->ctx, "attention_matrix", "attention_forward",
                   "%s -DHEAD=%d -DTEAMS=%zu -DTEAM_QUERIES=%zu -DKEYS=%zu -DSTEP_KEYS=%zu "
                   "-DX_TYPE=%s -DY_TYPE=%s -DEIGHTS=%d",
                   matrix_options(o->matrix, narrow_type(a->q, a->out), unit), a->head_size, t->teams, t->parts * l.own, t->keys,
                   t->step_keys, storage_type_name(a->q.type), storage_type_name(a->out.type), eights(read, 3, a->head_size, a->stride));
    const double values = (double)tensor_elements(a->out);
    const double channels = (double)(round_up(head_size, l.k) + round_up(head_size, l.other)) / (2.0 * a->head_size);
    const work w = {.groups = {ceil_div(tokens, queries), (size_t)a->heads, (size_t)a->out.n},
                    .local = {t->teams * l.team},
                    .padding = tile_padding(tokens, queries) * tile_padding(tokens, t->keys) * channels};
    const cost c = {4.0 * a->tokens * values, values * (double)(3 * dtype_size(a->q.type) + dtype_size(a->out.type))};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->out), T(a->lse), I(a->tokens), I(a->stride), I(a->heads),
           F(attention_scale(a->head_size)), I(tensor_given(a->lse)));
    return true;
}

// ---- backward

// The GRADIENTS of cl/attention_matrix_backward.cl.
enum { FIRST = 1, SECOND = 2, BOTH = FIRST | SECOND };

// What a work-group of cl/attention_matrix_backward.cl owns and walks: a team owns the tokens of one product. For heads that registers hold
// no more of: own_local, own tokens lie in local memory; apart, dK and dV are made in passes of their own. head_most: as above.
typedef struct backward_tile {
    size_t teams, others, step_others;
    bool own_local, apart;
    size_t head_most;
} backward_tile;

enum { BACKWARD_TILES = 5 };

// From the best to the smallest.
static const backward_tile *backward_tiles_of(matrix_unit unit, backward_pass pass)
{
    static const backward_tile tiles[MATRIX_UNITS][2][BACKWARD_TILES] = {
        [MATRIX_NVIDIA] =
            {{{4, 32, 16, 0, 0, 48}, {4, 16, 16, 0, 0, 48}, {2, 16, 16, 0, 0, 48}, {4, 16, 16, 1, 0, 128}, {2, 16, 16, 1, 0, 128}},
             {{4, 32, 16, 0, 0, 80}, {4, 16, 16, 0, 0, 80}, {2, 16, 16, 0, 0, 80}, {4, 16, 16, 1, 0, 128}, {2, 16, 16, 1, 0, 128}}},
        [MATRIX_AMD_WMMA] = {{{4, 32, 16, 0, 0, 80}, {2, 32, 16, 0, 0, 80}, {2, 32, 16, 1, 0, 128}, {2, 16, 16, 1, 0, 128}},
                             {{4, 32, 16, 0, 0, 128}, {2, 16, 16, 0, 0, 128}}},
        [MATRIX_AMD_MFMA] = {{{4, 32, 32, 0, 0, 128}, {1, 32, 32, 0, 0, 128}, {1, 16, 16, 0, 0, 128}},
                             {{4, 32, 32, 0, 0, 128}, {1, 32, 32, 0, 0, 128}, {1, 16, 16, 0, 0, 128}}},
        [MATRIX_INTEL_8] = {{{16, 32, 16, 0, 0, 48}, {4, 32, 16, 0, 0, 48}, {16, 32, 16, 0, 1, 80}, {4, 32, 16, 0, 1, 80}},
                            {{16, 32, 16, 0, 0, 80}, {4, 32, 16, 0, 0, 80}}},
        [MATRIX_INTEL_16] = {{{8, 32, 16, 0, 0, 48}, {2, 32, 16, 0, 0, 48}, {8, 32, 16, 0, 1, 80}, {2, 32, 16, 0, 1, 80}},
                             {{8, 32, 16, 0, 0, 80}, {2, 32, 16, 0, 0, 80}}},
    };
    return tiles[matrix_is_emulated(unit) ? unit + 1 : unit][pass == BACKWARD_QUERIES];
}

static bool backward_tile_fits(const ops *o, const backward_tile *t, backward_pass pass, size_t head_size)
{
    enum { QUERY_VALUES = 2 };
    const layout l = layout_of(o);
    const size_t across = pass == BACKWARD_KEYS && !t->apart ? 2 : 1; // operands of the sums of gradients
    const size_t own = rows_bytes(&l, t->teams * l.own, head_size);
    const size_t others = 2 * rows_bytes(&l, t->others, head_size) + across * across_bytes(&l, t->others, head_size);
    const size_t bytes = t->own_local ? 2 * own + others : larger(own, others);
    return head_size <= t->head_most && group_fits(o, t->teams, bytes + QUERY_VALUES * sizeof(float) * t->others);
}

// The first that the device has room for, or null.
static const backward_tile *choose_backward_tile(const ops *o, backward_pass pass, size_t head_size)
{
    const backward_tile *tiles = backward_tiles_of(o->matrix, pass);
    for (size_t i = 0; i < BACKWARD_TILES && tiles[i].teams; i++)
        if (backward_tile_fits(o, &tiles[i], pass, head_size)) return &tiles[i];
    return NULL;
}

// delta, and of each head what slopes are multiplied by before they are rounded.
static void launch_delta(ops *o, const attention_backward_call *a, tensor delta, tensor range)
{
    enum { ITEMS = 64 };
    const size_t rows = (size_t)a->tokens * (size_t)a->heads, samples = (size_t)a->out.n;
    const tensor norms = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, a->out.n, a->heads, a->tokens, 2);
    kernel *k = kernel_get(o->ctx, "attention_matrix_delta", "attention_delta", "-DHEAD=%d -DX_TYPE=%s", a->head_size,
                           storage_type_name(a->out.type));
    const double values = (double)tensor_elements(a->out), moved = (double)tensor_bytes(delta) + (double)tensor_bytes(norms);
    LAUNCH(o->ctx, k, ((work){.groups = {ceil_div(rows, ITEMS), samples}, .local = {ITEMS}}),
           ((cost){6 * values, 3 * (double)tensor_bytes(a->out) + moved}), T(a->dout), T(a->out), T(a->v), T(delta), T(norms), I(a->tokens),
           I(a->stride), I(a->heads));
    k = kernel_get(o->ctx, "attention_matrix_delta", "attention_range", "-DHEAD=%d -DX_TYPE=%s", a->head_size,
                   storage_type_name(a->out.type));
    LAUNCH(o->ctx, k, ((work){.groups = {(size_t)a->heads, samples}, .local = {ITEMS}}), ((cost){0, (double)tensor_bytes(norms)}), T(norms),
           T(range), I(a->tokens), I(a->heads));
}

static void launch_backward(ops *o, const attention_backward_call *a, backward_pass pass, const backward_tile *t, int gradients,
                            tensor delta, tensor range)
{
    const tensor read[] = {a->q, a->k, a->v, a->dout};
    const layout l = layout_of(o);
    const size_t tokens = (size_t)a->tokens, head_size = (size_t)a->head_size, own = t->teams * l.own;
    const double count = gradients == BOTH ? 2 : 1, scores = gradients & FIRST ? 2 : 1, products = scores + count;
    const double values = (double)tensor_elements(a->out);
    const double channels = scores * (double)round_up(head_size, l.k) + count * (double)round_up(head_size, l.other);
    char unit[MATRIX_OPTIONS_SIZE];
    kernel *k = kernel_get(o->ctx, "attention_matrix_backward", "attention_backward",
                           "%s -DHEAD=%d -DPASS=%d -DGRADIENTS=%d -DTEAMS=%zu -DOTHERS=%zu -DSTEP_OTHERS=%zu -DOWN_LOCAL=%d "
                           "-DX_TYPE=%s -DY_TYPE=%s -DEIGHTS=%d",
                           matrix_options(o->matrix, narrow_type(a->q, a->dq), unit), a->head_size, (int)pass, gradients, t->teams,
                           t->others, t->step_others, t->own_local, storage_type_name(a->q.type), storage_type_name(a->dq.type),
                           eights(read, 4, a->head_size, a->stride));
    const work w = {.groups = {ceil_div(tokens, own), (size_t)a->heads, (size_t)a->out.n},
                    .local = {t->teams * l.team},
                    .padding = tile_padding(tokens, own) * tile_padding(tokens, t->others) * channels / (products * a->head_size)};
    const cost c = {2 * products * a->tokens * values,
                    values * (4 * (double)dtype_size(a->q.type) + count * (double)dtype_size(a->dq.type))};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->lse), T(delta), T(range), T(a->dout), T(a->dq), T(a->dk), T(a->dv),
           I(a->tokens), I(a->stride), I(a->gradient_stride), I(a->heads), F(attention_scale(a->head_size)));
}

bool attention_matrix_backward_fits(const ops *o, int head_size)
{
    return o->matrix != MATRIX_NONE && choose_backward_tile(o, BACKWARD_KEYS, (size_t)head_size) &&
           choose_backward_tile(o, BACKWARD_QUERIES, (size_t)head_size);
}

bool attention_matrix_backward(ops *o, const attention_backward_call *a)
{
    const tensor read[] = {a->q, a->k, a->v, a->out, a->dout};
    const bool alike = a->dk.type == a->dq.type && a->dv.type == a->dq.type;
    if (!alike || !takes(o, read, 5, a->dq) || !attention_matrix_backward_fits(o, a->head_size)) return false;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor delta = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, a->out.n, a->heads, a->tokens, 1);
    const tensor range = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, a->out.n, a->heads, 1, 1);
    launch_delta(o, a, delta, range);
    const backward_tile *keys = choose_backward_tile(o, BACKWARD_KEYS, (size_t)a->head_size);
    if (keys->apart) launch_backward(o, a, BACKWARD_KEYS, keys, SECOND, delta, range);
    launch_backward(o, a, BACKWARD_KEYS, keys, keys->apart ? FIRST : BOTH, delta, range);
    launch_backward(o, a, BACKWARD_QUERIES, choose_backward_tile(o, BACKWARD_QUERIES, (size_t)a->head_size), FIRST, delta, range);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return true;
}
