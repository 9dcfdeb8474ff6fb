#include "ops/attention_matrix.h"

#include "ops/conv_matrix.h"
#include "ops/matrix.h"
#include "ops/storage.h"

// What a work-group of cl/attention_matrix.cl owns and walks.
typedef struct tile {
    size_t teams, team_queries, keys, step_keys;
} tile;

// cl/matrix_rows.clh is of this layout alone.
static const matrix_shape *layout(void)
{
    return matrix_shape_of(MATRIX_NVIDIA);
}

static size_t team_items(size_t teams)
{
    return teams * (size_t)layout()->team;
}

static size_t round_up(size_t size, size_t step)
{
    return ceil_div(size, step) * step;
}

// Bytes of tokens in local memory, as rows and across (cl/attention_matrix.clh).
static size_t rows_bytes(size_t tokens, size_t head_size)
{
    return tokens * (round_up(head_size, (size_t)layout()->k) / 2 + 4) * sizeof(uint32_t);
}

static size_t across_bytes(size_t tokens, size_t head_size)
{
    const size_t channels = round_up(head_size, (size_t)layout()->n);
    return tokens / 2 * (channels % 16 ? channels : channels + 8) * sizeof(uint32_t);
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
    return team_items(t->teams) <= device->max_work_group &&
           larger(queries, keys) + matrix_scratch_bytes(o->matrix, team_items(t->teams)) <= device->local_memory;
}

// The first that the device has room for, or null. Scores of 64 keys at once where registers hold them beside the sums: heads up to 48.
static const tile *choose_tile(const ops *o, size_t head_size)
{
    static const tile tiles[] = {{4, 16, 64, 64}, {4, 16, 64, 32}, {4, 16, 32, 32}, {2, 16, 32, 32}};
    enum { TILES = sizeof tiles / sizeof *tiles, ALL_KEYS_MOST = 48 };
    for (size_t i = head_size > ALL_KEYS_MOST; i < TILES; i++)
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

// Whether there is a unit, of that layout, for what is read, which has to be stored alike, and written.
static bool takes(const ops *o, const tensor *read, size_t count, tensor written)
{
    bool alike = o->matrix == MATRIX_NVIDIA || o->matrix == matrix_emulation_of(MATRIX_NVIDIA);
    for (size_t i = 1; i < count; i++) alike = alike && read[i].type == read[0].type;
    return alike && conv_matrix_takes(o, read[0], written);
}

static dtype narrow_type(tensor read, tensor written)
{
    return read.type != DTYPE_F32 ? read.type : written.type;
}

bool attention_matrix(ops *o, const attention_call *a)
{
    const tensor read[] = {a->q, a->k, a->v};
    const size_t tokens = (size_t)a->tokens, head_size = (size_t)a->head_size;
    const tile *t = choose_tile(o, head_size);
    if (!t || !takes(o, read, 3, a->out)) return false;
    const size_t queries = t->teams * t->team_queries;
    char unit[MATRIX_OPTIONS_SIZE];
    kernel *k =
        kernel_get(o->ctx, "attention_matrix", "attention_forward",
                   "%s -DHEAD=%d -DTEAMS=%zu -DTEAM_QUERIES=%zu -DKEYS=%zu -DSTEP_KEYS=%zu "
                   "-DX_TYPE=%s -DY_TYPE=%s -DEIGHTS=%d",
                   matrix_options(o->matrix, narrow_type(a->q, a->out), unit), a->head_size, t->teams, t->team_queries, t->keys,
                   t->step_keys, storage_type_name(a->q.type), storage_type_name(a->out.type), eights(read, 3, a->head_size, a->stride));
    const double values = (double)tensor_elements(a->out);
    const double channels =
        (double)(round_up(head_size, (size_t)layout()->k) + round_up(head_size, (size_t)layout()->n)) / (2.0 * a->head_size);
    const work w = {.groups = {ceil_div(tokens, queries), (size_t)a->heads, (size_t)a->out.n},
                    .local = {team_items(t->teams)},
                    .padding = tile_padding(tokens, queries) * tile_padding(tokens, t->keys) * channels};
    const cost c = {4.0 * a->tokens * values, values * (double)(3 * dtype_size(a->q.type) + dtype_size(a->out.type))};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->out), T(a->lse), I(a->tokens), I(a->stride), I(a->heads),
           F(attention_scale(a->head_size)), I(tensor_given(a->lse)));
    return true;
}

// ---- backward

// What a work-group of cl/attention_matrix_backward.cl owns and walks: a team owns as many tokens as A has rows. own_local: they lie in
// local memory, for heads whose fragments would leave too few registers for the sums.
typedef struct backward_tile {
    size_t teams, others, step_others;
    bool own_local;
} backward_tile;

static bool backward_tile_fits(const ops *o, const backward_tile *t, backward_pass pass, size_t head_size)
{
    enum { QUERY_VALUES = 2 };
    const device_info *device = context_device(o->ctx);
    const size_t gradients = pass == BACKWARD_KEYS ? 2 : 1; // whose second operands lie across
    const size_t own = rows_bytes(t->teams * (size_t)layout()->m, head_size);
    const size_t others = 2 * rows_bytes(t->others, head_size) + gradients * across_bytes(t->others, head_size);
    const size_t bytes = t->own_local ? 2 * own + others : larger(own, others);
    return team_items(t->teams) <= device->max_work_group &&
           bytes + QUERY_VALUES * sizeof(float) * t->others + matrix_scratch_bytes(o->matrix, team_items(t->teams)) <= device->local_memory;
}

// The first that the device has room for; `teams` is 0 if there is none.
static backward_tile choose_backward_tile(const ops *o, backward_pass pass, size_t head_size)
{
    static const backward_tile tiles[] = {{4, 32, 16, false}, {4, 16, 16, false}, {2, 16, 16, false}};
    const size_t registers_most = pass == BACKWARD_KEYS ? 48 : 80; // two sums, or one, beside both operands' fragments
    const bool own_local = head_size > registers_most;
    for (size_t i = own_local; i < sizeof tiles / sizeof *tiles; i++) {
        backward_tile t = tiles[i];
        t.own_local = own_local;
        if (backward_tile_fits(o, &t, pass, head_size)) return t;
    }
    return (backward_tile){0};
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

static void launch_backward(ops *o, const attention_backward_call *a, backward_pass pass, const backward_tile *t, tensor delta,
                            tensor range)
{
    const tensor read[] = {a->q, a->k, a->v, a->dout};
    const size_t tokens = (size_t)a->tokens, head_size = (size_t)a->head_size, own = t->teams * (size_t)layout()->m;
    const double gradients = pass == BACKWARD_KEYS ? 2 : 1, products = 2 + gradients, values = (double)tensor_elements(a->out);
    const double channels =
        2 * (double)round_up(head_size, (size_t)layout()->k) + gradients * (double)round_up(head_size, (size_t)layout()->n);
    char unit[MATRIX_OPTIONS_SIZE];
    kernel *k =
        kernel_get(o->ctx, "attention_matrix_backward", "attention_backward",
                   "%s -DHEAD=%d -DPASS=%d -DTEAMS=%zu -DOTHERS=%zu -DSTEP_OTHERS=%zu -DOWN_LOCAL=%d "
                   "-DX_TYPE=%s -DY_TYPE=%s -DEIGHTS=%d",
                   matrix_options(o->matrix, narrow_type(a->q, a->dq), unit), a->head_size, (int)pass, t->teams, t->others, t->step_others,
                   t->own_local, storage_type_name(a->q.type), storage_type_name(a->dq.type), eights(read, 4, a->head_size, a->stride));
    const work w = {.groups = {ceil_div(tokens, own), (size_t)a->heads, (size_t)a->out.n},
                    .local = {team_items(t->teams)},
                    .padding = tile_padding(tokens, own) * tile_padding(tokens, t->others) * channels / (products * a->head_size)};
    const cost c = {2 * products * a->tokens * values,
                    values * (4 * (double)dtype_size(a->q.type) + gradients * (double)dtype_size(a->dq.type))};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->lse), T(delta), T(range), T(a->dout), T(a->dq), T(a->dk), T(a->dv),
           I(a->tokens), I(a->stride), I(a->gradient_stride), I(a->heads), F(attention_scale(a->head_size)));
}

bool attention_matrix_backward(ops *o, const attention_backward_call *a)
{
    const tensor read[] = {a->q, a->k, a->v, a->out, a->dout};
    const backward_tile keys = choose_backward_tile(o, BACKWARD_KEYS, (size_t)a->head_size);
    const backward_tile queries = choose_backward_tile(o, BACKWARD_QUERIES, (size_t)a->head_size);
    const bool alike = a->dk.type == a->dq.type && a->dv.type == a->dq.type;
    if (!keys.teams || !queries.teams || !alike || !takes(o, read, 5, a->dq)) return false;
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor delta = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, a->out.n, a->heads, a->tokens, 1);
    const tensor range = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, a->out.n, a->heads, 1, 1);
    launch_delta(o, a, delta, range);
    launch_backward(o, a, BACKWARD_KEYS, &keys, delta, range);
    launch_backward(o, a, BACKWARD_QUERIES, &queries, delta, range);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return true;
}
