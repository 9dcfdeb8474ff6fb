// Copies that do not wait, and the pace of steps.
#include "opencl/internal.h"

#include <string.h>

enum {
    ALIGNMENT = 256,
    STEPS = 2, // under way at most
    SLOTS_BYTES = DOWNLOADS_MAX * DOWNLOAD_BYTES_MAX,
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool failed(context *ctx, cl_event event, const char *what)
{
    cl_int state = CL_COMPLETE;
    const cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return !context_check(ctx, code == CL_SUCCESS && state < 0 ? state : code, what);
}

// ---- memory

static void host_memory_free(context *ctx, host_memory *m)
{
    if (m->mapped) {
        (void)clEnqueueUnmapMemObject(ctx->queue, m->memory, m->mapped, 0, NULL, NULL);
        (void)clFinish(ctx->queue);
    }
    if (m->memory) clReleaseMemObject(m->memory);
    *m = (host_memory){0};
}

static bool host_memory_make(context *ctx, host_memory *m, size_t size)
{
    cl_int code;
    m->memory = clCreateBuffer(ctx->handle, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, size, NULL, &code);
    if (code != CL_SUCCESS) m->memory = NULL;
    if (!context_check(ctx, code, "memory for copies to and from the device")) return false;
    m->mapped = clEnqueueMapBuffer(ctx->queue, m->memory, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, size, 0, NULL, NULL, &code);
    if (code != CL_SUCCESS) m->mapped = NULL;
    m->size = size;
    return context_check(ctx, code, "clEnqueueMapBuffer");
}

static size_t ring_bytes(const staging *s)
{
    const size_t planned = STEPS * s->largest_step;
    return planned > s->ring.size ? planned : s->ring.size;
}

size_t context_staging_bytes(const context *ctx)
{
    const staging *s = &ctx->staging;
    return ring_bytes(s) + (s->downloads || s->slots.size ? SLOTS_BYTES : 0);
}

static void forget_uploads(staging *s)
{
    for (; s->count; s->count--, s->first = (s->first + 1) % UPLOADS_MAX) clReleaseEvent(s->uploads[s->first].event);
}

static bool make_ring(context *ctx, size_t size)
{
    staging *s = &ctx->staging;
    if (!context_check(ctx, clFinish(ctx->queue), "clFinish")) return false;
    forget_uploads(s);
    host_memory_free(ctx, &s->ring);
    return host_memory_make(ctx, &s->ring, size);
}

void staging_plan_begin(context *ctx)
{
    ctx->staging.step = ctx->staging.largest_step = 0;
    ctx->staging.downloads = false;
}

void staging_plan_commit(context *ctx)
{
    staging *s = &ctx->staging;
    const size_t ring = ring_bytes(s);
    if (ctx->status == IDM_OK && ring > s->ring.size) (void)make_ring(ctx, ring);
    if (ctx->status == IDM_OK && s->downloads && s->slots.size == 0) (void)host_memory_make(ctx, &s->slots, SLOTS_BYTES);
}

void staging_free(context *ctx)
{
    staging *s = &ctx->staging;
    for (int i = 0; i < STEPS; i++)
        if (s->ends[i]) clReleaseEvent(s->ends[i]);
    forget_uploads(s);
    host_memory_free(ctx, &s->ring);
    host_memory_free(ctx, &s->slots);
}

// ---- uploads

// Takes back the room of the oldest upload, or of those that are over.
static void collect_uploads(context *ctx, bool wait)
{
    staging *s = &ctx->staging;
    while (s->count) {
        const pending_upload *u = &s->uploads[s->first];
        cl_int state = CL_QUEUED;
        if (wait) (void)context_check(ctx, clWaitForEvents(1, &u->event), "upload");
        else if (clGetEventInfo(u->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) == CL_SUCCESS &&
                 state > CL_COMPLETE)
            return;
        (void)failed(ctx, u->event, "upload");
        clReleaseEvent(u->event);
        s->first = (s->first + 1) % UPLOADS_MAX;
        s->count--;
        wait = false;
    }
}

// Where `size` contiguous bytes of the ring are free now.
static bool find_room(const staging *s, size_t size, size_t *start)
{
    if (s->count == UPLOADS_MAX) return false;
    const pending_upload *oldest = &s->uploads[s->first], *newest = &s->uploads[(s->first + s->count + UPLOADS_MAX - 1) % UPLOADS_MAX];
    *start = s->count ? newest->end : 0;
    if (s->count && newest->start < oldest->start) return size <= oldest->start - *start; // wrapped round
    if (size <= s->ring.size - *start) return true;
    *start = 0;
    return s->count && size <= oldest->start;
}

void context_upload(context *ctx, tensor t, const void *source)
{
    staging *s = &ctx->staging;
    const size_t bytes = tensor_bytes(t), size = aligned(bytes);
    size_t start;
    cl_event event;
    if (ctx->status != IDM_OK) return;
    if (ctx->dry) {
        s->step += size;
        if (s->step > s->largest_step) s->largest_step = s->step;
        return;
    }
    if (size > s->ring.size && !make_ring(ctx, STEPS * size)) return;
    collect_uploads(ctx, false);
    while (!find_room(s, size, &start)) {
        (void)context_check(ctx, clFlush(ctx->queue), "clFlush");
        collect_uploads(ctx, true);
        if (ctx->status != IDM_OK) return;
    }
    char *staged = s->ring.mapped + start;
    memcpy(staged, source, bytes);
    if (!context_check(ctx, clEnqueueWriteBuffer(ctx->queue, t.buffer->memory, CL_FALSE, t.offset, bytes, staged, 0, NULL, &event),
                       "upload"))
        return;
    s->uploads[(s->first + s->count++) % UPLOADS_MAX] = (pending_upload){event, start, start + size};
    launch_flush_sometimes(ctx);
}

// ---- downloads

static int take_slot(context *ctx)
{
    for (int i = 0; i < DOWNLOADS_MAX; i++)
        if (!ctx->staging.taken[i]) {
            ctx->staging.taken[i] = true;
            return i;
        }
    context_fail(ctx, IDM_FAILED, "more than %d downloads at once", DOWNLOADS_MAX);
    return -1;
}

void context_download(context *ctx, tensor t, void *target, download *d)
{
    staging *s = &ctx->staging;
    cl_event event;
    *d = (download){0};
    if (ctx->status == IDM_OK && tensor_bytes(t) > DOWNLOAD_BYTES_MAX)
        context_fail(ctx, IDM_FAILED, "a download of %zu bytes, %d are possible", tensor_bytes(t), DOWNLOAD_BYTES_MAX);
    if (ctx->status != IDM_OK) return;
    if (ctx->dry) {
        s->downloads = true;
        return;
    }
    if (s->slots.size == 0 && !host_memory_make(ctx, &s->slots, SLOTS_BYTES)) return;
    const int slot = take_slot(ctx);
    if (slot < 0) return;
    if (!context_check(ctx,
                       clEnqueueReadBuffer(ctx->queue, t.buffer->memory, CL_FALSE, t.offset, tensor_bytes(t),
                                           s->slots.mapped + (size_t)slot * DOWNLOAD_BYTES_MAX, 0, NULL, &event),
                       "download")) {
        s->taken[slot] = false;
        return;
    }
    *d = (download){event, target, tensor_bytes(t), slot};
    (void)context_check(ctx, clFlush(ctx->queue), "clFlush");
}

// The event is over.
static void finish_download(context *ctx, download *d)
{
    staging *s = &ctx->staging;
    if (!failed(ctx, d->event, "download")) memcpy(d->target, s->slots.mapped + (size_t)d->slot * DOWNLOAD_BYTES_MAX, d->bytes);
    clReleaseEvent(d->event);
    s->taken[d->slot] = false;
    *d = (download){0};
}

bool download_done(context *ctx, download *d)
{
    cl_int state = CL_COMPLETE;
    if (!d->event) return true;
    if (clGetEventInfo(d->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) == CL_SUCCESS && state > CL_COMPLETE)
        return false;
    finish_download(ctx, d);
    return true;
}

idm_status download_wait(context *ctx, download *d)
{
    cl_event event = d->event;
    if (event) {
        (void)clWaitForEvents(1, &event); // a failed one is found below
        finish_download(ctx, d);
    }
    return context_status(ctx);
}

// ---- pace

void context_step_end(context *ctx)
{
    staging *s = &ctx->staging;
    if (ctx->dry) s->step = 0;
    if (ctx->dry || ctx->status != IDM_OK) return;
    cl_event *end = &s->ends[s->older], now;
    if (!context_check(ctx, clEnqueueMarkerWithWaitList(ctx->queue, 0, NULL, &now), "marker")) return;
    (void)context_check(ctx, clFlush(ctx->queue), "clFlush");
    if (*end) {
        (void)context_check(ctx, clWaitForEvents(1, end), "a step");
        clReleaseEvent(*end);
    }
    *end = now;
    s->older = (s->older + 1) % STEPS;
    launch_harvest(ctx, false);
}
