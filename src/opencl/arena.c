#include "core/status.h"
#include "opencl/internal.h"

#include <assert.h>
#include <stdlib.h>

enum { ALIGNMENT = 256 };
static const size_t SLAB_LEAST = (size_t)4 << 20; // an unplanned slab is not smaller, so that small tensors share

static bool slab_allocate(context *ctx, slab *s, size_t size)
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

static size_t largest_slab(const context *ctx)
{
    return (size_t)ctx->device.max_allocation / ALIGNMENT * ALIGNMENT;
}

// The slab that takes `size` more bytes; slabs after the current one are empty.
static slab *arena_find(context *ctx, arena *a, size_t size)
{
    for (; a->current < a->count; a->current++) {
        slab *s = a->slabs[a->current];
        const size_t room = ctx->dry && !s->kept ? largest_slab(ctx) : s->capacity;
        if (size <= room && s->used <= room - size) return s;
    }
    slab *s = arena_add_slab(a);
    if (!s) {
        context_fail(ctx, IDM_FAILED, "out of host memory");
        return NULL;
    }
    a->current = a->count - 1;
    size_t capacity = size > SLAB_LEAST ? size : SLAB_LEAST;
    if (capacity > largest_slab(ctx)) capacity = largest_slab(ctx);
    return ctx->dry || slab_allocate(ctx, s, capacity) ? s : NULL;
}

tensor arena_push(context *ctx, pool p, dtype type, int n, int h, int w, int c)
{
    tensor t = {.buffer = &ctx->dummy, .type = type, .n = n, .h = h, .w = w, .c = c};
    if (ctx->status != IDM_OK) return t;
    assert(n > 0 && h > 0 && w > 0 && c > 0);
    if ((double)n * h * w * c >= 2147483648.0 || tensor_bytes(t) > largest_slab(ctx)) {
        context_fail(ctx, IDM_FAILED,
                     "a tensor of %d x %d x %d x %d needs %.1f MiB in one piece, '%s' gives %.1f at most; use a smaller image or batch", n,
                     h, w, c, (double)n * h * w * c * (double)dtype_size(type) / 1048576, ctx->device.name,
                     (double)largest_slab(ctx) / 1048576);
        return t;
    }
    const size_t size = (tensor_bytes(t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    slab *s = arena_find(ctx, &ctx->arenas[p], size);
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
    size_t sum = CONTEXT_BYTES;
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
            if (ctx->status == IDM_OK && s->capacity == 0 && s->high) (void)slab_allocate(ctx, s, s->high);
        }
    return ctx->status;
}
