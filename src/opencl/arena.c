#include "core/status.h"
#include "opencl/internal.h"

#include <assert.h>
#include <stdlib.h>

enum { ALIGNMENT = 256 };
static const size_t SLAB_LEAST = (size_t)4 << 20; // an unplanned slab is not smaller, so that small tensors share

// Room for `size` bytes in pool p.
static bool slab_allocate(context *ctx, pool p, slab *s, size_t size)
{
    cl_int code;
    s->buffer.memory = clCreateBuffer(ctx->handle, CL_MEM_READ_WRITE, size, NULL, &code);
    if (code != CL_SUCCESS) {
        s->buffer.memory = NULL;
        context_fail(ctx, IDM_FAILED, "device memory: %.1f MiB refused by '%s' (%s); a smaller image or memory.budget may fit",
                     (double)size / 1048576, ctx->device.name, opencl_error_name(code));
        return false;
    }
    s->capacity = size;
    if (p == POOL_WEIGHTS) {
        const cl_uint zero = 0;
        return context_check(ctx, clEnqueueFillBuffer(ctx->queue, s->buffer.memory, &zero, sizeof zero, 0, size, 0, NULL, NULL), "fill");
    }
    return true;
}

static void slab_free_memory(slab *s)
{
    if (s->buffer.memory) clReleaseMemObject(s->buffer.memory);
    s->buffer.memory = NULL;
    s->capacity = 0;
}

static slab *arena_add_slab(arena *a)
{
    slab **grown = realloc(a->slabs, (size_t)(a->count + 1) * sizeof *grown);
    slab *s = calloc(1, sizeof *s);
    if (grown) a->slabs = grown;
    if (!grown || !s) {
        free(s);
        return NULL;
    }
    a->slabs[a->count++] = s;
    return s;
}

static size_t largest_slab(const context *ctx, pool p)
{
    static const uint64_t FLAT_MOST = ((uint64_t)1 << 31) * sizeof(float) - ALIGNMENT; // arena_slab gives a whole one as a tensor
    const uint64_t most = ctx->device.max_allocation;
    return (size_t)(p == POOL_WEIGHTS && most > FLAT_MOST ? FLAT_MOST : most) / ALIGNMENT * ALIGNMENT;
}

// The slab that takes `size` more bytes; slabs after the current one are empty.
static slab *arena_find(context *ctx, pool p, size_t size)
{
    arena *a = &ctx->arenas[p];
    const size_t largest = largest_slab(ctx, p);
    for (; a->current < a->count; a->current++) {
        slab *s = a->slabs[a->current];
        const size_t room = ctx->dry && !s->kept ? largest : s->capacity;
        if (size <= room && s->used <= room - size) return s;
    }
    slab *s = arena_add_slab(a);
    if (!s) {
        context_fail(ctx, IDM_FAILED, "out of host memory");
        return NULL;
    }
    a->current = a->count - 1;
    size_t capacity = size > SLAB_LEAST ? size : SLAB_LEAST;
    if (capacity > largest) capacity = largest;
    return ctx->dry || slab_allocate(ctx, p, s, capacity) ? s : NULL;
}

tensor arena_push(context *ctx, pool p, dtype type, int n, int h, int w, int c)
{
    tensor t = {.buffer = &ctx->dummy, .type = type, .n = n, .h = h, .w = w, .c = c};
    if (ctx->status != IDM_OK) return t;
    assert(n > 0 && h > 0 && w > 0 && c > 0);
    if ((double)n * h * w * c >= 2147483648.0 || tensor_bytes(t) > largest_slab(ctx, p)) {
        context_fail(ctx, IDM_FAILED,
                     "a tensor of %d x %d x %d x %d needs %.1f MiB in one piece, '%s' gives %.1f at most; use a smaller image or batch", n,
                     h, w, c, (double)n * h * w * c * (double)dtype_size(type) / 1048576, ctx->device.name,
                     (double)largest_slab(ctx, p) / 1048576);
        return t;
    }
    const size_t size = (tensor_bytes(t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    slab *s = arena_find(ctx, p, size);
    if (!s) return t;
    t.buffer = &s->buffer;
    t.offset = s->used;
    s->used += size;
    if (s->used > s->high) s->high = s->used;
    return t;
}

arena_mark arena_save(context *ctx, pool p)
{
    const arena *a = &ctx->arenas[p];
    return (arena_mark){a->current, a->current < a->count ? a->slabs[a->current]->used : 0};
}

void arena_release(context *ctx, pool p, arena_mark mark)
{
    arena *a = &ctx->arenas[p];
    for (int i = mark.slab; i < a->count; i++) a->slabs[i]->used = i == mark.slab ? mark.used : 0;
    a->current = mark.slab;
}

size_t arena_peak(const context *ctx, pool p)
{
    size_t sum = 0;
    for (int i = 0; i < ctx->arenas[p].count; i++) sum += ctx->arenas[p].slabs[i]->high;
    return sum;
}

void arena_reset_peak(context *ctx, pool p)
{
    for (int i = 0; i < ctx->arenas[p].count; i++) ctx->arenas[p].slabs[i]->high = ctx->arenas[p].slabs[i]->used;
}

size_t arena_held(const context *ctx, pool p)
{
    size_t sum = 0;
    for (int i = 0; i < ctx->arenas[p].count; i++) sum += ctx->arenas[p].slabs[i]->capacity;
    return sum;
}

static bool arena_empty(const arena *a)
{
    for (int i = 0; i < a->count; i++)
        if (a->slabs[i]->used) return false;
    return true;
}

int arena_slabs(const context *ctx, pool p)
{
    int count = ctx->arenas[p].count;
    while (count > 0 && ctx->arenas[p].slabs[count - 1]->used == 0) count--;
    return count;
}

tensor arena_slab(const context *ctx, pool p, int i)
{
    slab *s = ctx->arenas[p].slabs[i];
    const size_t values = s->used / sizeof(float);
    assert(values <= INT32_MAX);
    if (values == 0) return NO_TENSOR;
    return (tensor){.buffer = &s->buffer, .type = DTYPE_F32, .n = 1, .h = 1, .w = 1, .c = (int)values};
}

void arena_mirror_create(context *ctx, pool from, pool to)
{
    arena *a = &ctx->arenas[to];
    assert(arena_empty(a));
    const int count = arena_slabs(ctx, from);
    for (int i = 0; i < count && ctx->status == IDM_OK; i++) {
        slab *s = i < a->count ? a->slabs[i] : arena_add_slab(a);
        const size_t size = ctx->arenas[from].slabs[i]->used;
        if (!s) {
            context_fail(ctx, IDM_FAILED, "out of host memory");
            return;
        }
        if (!ctx->dry && s->capacity < size) {
            slab_free_memory(s);
            if (!slab_allocate(ctx, to, s, size)) return;
        }
        s->used = size;
        if (s->used > s->high) s->high = s->used;
        a->current = i;
        if (size) context_fill_zero(ctx, arena_slab(ctx, to, i));
    }
}

tensor arena_mirror(context *ctx, tensor t, pool from, pool to)
{
    const arena *a = &ctx->arenas[from];
    for (int i = 0; i < a->count; i++)
        if (t.buffer == &a->slabs[i]->buffer && i < ctx->arenas[to].count) {
            t.buffer = &ctx->arenas[to].slabs[i]->buffer;
            return t;
        }
    context_fail(ctx, IDM_FAILED, "no tensor of pool %d, or pool %d does not mirror it", (int)from, (int)to);
    t.buffer = &ctx->dummy;
    return t;
}

void arena_swap(context *ctx, pool a, pool b)
{
    for (int i = 0; i < arena_slabs(ctx, a); i++) {
        slab *x = ctx->arenas[a].slabs[i], *y = ctx->arenas[b].slabs[i];
        assert(x->used == y->used);
        const slab before = *x;
        x->buffer = y->buffer;
        x->capacity = y->capacity;
        y->buffer = before.buffer;
        y->capacity = before.capacity;
    }
}

void arena_free(context *ctx, pool p)
{
    arena *a = &ctx->arenas[p];
    assert(arena_empty(a));
    for (int i = 0; i < a->count; i++) {
        slab_free_memory(a->slabs[i]);
        free(a->slabs[i]);
    }
    free(a->slabs);
    *a = (arena){0};
}

void arena_destroy_all(context *ctx)
{
    for (int p = 0; p < POOL_COUNT; p++) {
        arena_release(ctx, (pool)p, (arena_mark){0, 0});
        arena_free(ctx, (pool)p);
    }
}

void context_plan_begin(context *ctx)
{
    ctx->dry = true;
    staging_plan_begin(ctx);
    for (int p = 0; p < POOL_COUNT; p++) {
        arena_reset_peak(ctx, (pool)p);
        for (int i = 0; i < ctx->arenas[p].count; i++) {
            slab *s = ctx->arenas[p].slabs[i];
            s->kept = s->capacity && s->used;
        }
    }
}

static size_t planned_bytes(const context *ctx)
{
    size_t sum = CONTEXT_BYTES + context_staging_bytes(ctx);
    for (int p = 0; p < POOL_COUNT; p++)
        for (int i = 0; i < ctx->arenas[p].count; i++) {
            const slab *s = ctx->arenas[p].slabs[i];
            sum += s->kept ? s->capacity : s->high;
        }
    return sum;
}

idm_status context_plan_commit(context *ctx)
{
    if (!ctx->handle) return ctx->status; // only described: the plan is all there is
    ctx->dry = false;
    const size_t total = planned_bytes(ctx);
    if (ctx->status == IDM_OK && total > ctx->device.global_memory)
        context_fail(ctx, IDM_FAILED, "%.2f GiB of device memory needed, '%s' has %.2f; use a smaller image or batch",
                     (double)total / 1073741824, ctx->device.name, (double)ctx->device.global_memory / 1073741824);
    if (ctx->status == IDM_OK) (void)context_finish(ctx); // what is freed below must not be in use
    for (int p = 0; p < POOL_COUNT; p++) {
        arena *a = &ctx->arenas[p];
        for (int i = 0; i < a->count; i++) // all are freed first: the new ones may need the room
            if (!a->slabs[i]->kept && (ctx->status != IDM_OK || a->slabs[i]->capacity != a->slabs[i]->high)) slab_free_memory(a->slabs[i]);
        if (arena_empty(a)) a->current = 0;
    }
    for (int p = 0; p < POOL_COUNT; p++)
        for (int i = 0; i < ctx->arenas[p].count; i++) {
            slab *s = ctx->arenas[p].slabs[i];
            if (ctx->status == IDM_OK && s->capacity == 0 && s->high) (void)slab_allocate(ctx, (pool)p, s, s->high);
        }
    staging_plan_commit(ctx);
    return ctx->status;
}
