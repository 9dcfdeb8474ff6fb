#include "ops/attention_matrix.h"

#include "ops/conv_matrix.h"
#include "ops/matrix.h"
#include "ops/storage.h"

// What a work-group of cl/attention_matrix.cl owns and walks.
typedef struct tile {
    size_t teams, team_queries, keys, step_keys;
} tile;

static size_t round_up(size_t size, size_t step)
{
    return ceil_div(size, step) * step;
}

// Bytes of tokens in local memory, as rows and across (cl/attention_matrix.clh).
static size_t rows_bytes(size_t tokens, size_t head_size)
{
    return tokens * (round_up(head_size, MATRIX_K) / 2 + 4) * sizeof(uint32_t);
}

static size_t across_bytes(size_t tokens, size_t head_size)
{
    const size_t channels = round_up(head_size, MATRIX_N);
    return tokens / 2 * (channels % 16 ? channels : channels + 8) * sizeof(uint32_t);
}

static size_t emulation_bytes(const ops *o, size_t teams)
{
    enum { EMULATION_VALUES = 12 };
    return o->matrix == MATRIX_EMULATED ? teams * MATRIX_TEAM * EMULATION_VALUES * sizeof(float) : 0;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool tile_fits(const ops *o, const tile *t, size_t head_size)
{
    const device_info *device = context_device(o->ctx);
    const size_t queries = rows_bytes(t->teams * t->team_queries, head_size);
    const size_t keys = rows_bytes(t->keys, head_size) + across_bytes(t->keys, head_size);
    return t->teams * MATRIX_TEAM <= device->max_work_group && larger(queries, keys) + emulation_bytes(o, t->teams) <= device->local_memory;
}

// The first that the device has room for, or null. Two rows of fragments for each load, where registers hold their sums: heads up to 48.
static const tile *choose_tile(const ops *o, size_t head_size)
{
    static const tile tiles[] = {{4, 32, 64, 16}, {4, 16, 64, 32}, {4, 16, 32, 32}, {2, 16, 32, 32}};
    enum { TILES = sizeof tiles / sizeof *tiles, TWO_ROWS_MOST = 48 };
    for (size_t i = head_size > TWO_ROWS_MOST; i < TILES; i++)
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

bool attention_matrix(ops *o, const attention_call *a)
{
    const tensor read[] = {a->q, a->k, a->v};
    const size_t tokens = (size_t)a->tokens, head_size = (size_t)a->head_size;
    if (!conv_matrix_takes(o, a->q, a->out) || a->k.type != a->q.type || a->v.type != a->q.type) return false;
    const tile *t = choose_tile(o, head_size);
    if (!t) return false;
    const dtype narrow = a->q.type != DTYPE_F32 ? a->q.type : a->out.type;
    const size_t queries = t->teams * t->team_queries;
    kernel *k = kernel_get(o->ctx, "attention_matrix", "attention_forward",
                           "-DMATRIX_UNIT=%d -DMATRIX_TYPE=%s -DHEAD=%d -DTEAMS=%zu -DTEAM_QUERIES=%zu -DKEYS=%zu -DSTEP_KEYS=%zu "
                           "-DX_TYPE=%s -DY_TYPE=%s -DEIGHTS=%d",
                           o->matrix, storage_type_name(narrow), a->head_size, t->teams, t->team_queries, t->keys, t->step_keys,
                           storage_type_name(a->q.type), storage_type_name(a->out.type), eights(read, 3, a->head_size, a->stride));
    const double values = (double)tensor_elements(a->out);
    const double channels = (double)(round_up(head_size, MATRIX_K) + round_up(head_size, MATRIX_N)) / (2.0 * a->head_size);
    const work w = {.groups = {ceil_div(tokens, queries), (size_t)a->heads, (size_t)a->out.n},
                    .local = {t->teams * MATRIX_TEAM},
                    .padding = tile_padding(tokens, queries) * tile_padding(tokens, t->keys) * channels};
    const cost c = {4.0 * a->tokens * values, values * (double)(3 * dtype_size(a->q.type) + dtype_size(a->out.type))};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->out), T(a->lse), I(a->tokens), I(a->stride), I(a->heads),
           F(attention_scale(a->head_size)), I(tensor_given(a->lse)));
    return true;
}
