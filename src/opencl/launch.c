// Launching kernels, cutting long launches, and keeping their times.
#include "opencl/launch.h"

#include "core/status.h"
#include "opencl/internal.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_EVERY = 32 };
// Aimed at, of max_launch_ms: predictions are from earlier launches of the kernel and miss by some.
static const double LAUNCH_MARGIN = 0.5;
// Before a kernel has been timed it is taken for this slow, so that its first launch on a slow device is not a long one.
static const double UNKNOWN_SECONDS_PER_UNIT = 1.0 / 2e9;

// ---- kernels

kernel *kernel_get(context *ctx, const char *file, const char *name, const char *options, ...)
{
    char text[1024];
    va_list list;
    va_start(list, options);
    const int length = vsnprintf(text, sizeof text, options, list);
    va_end(list);
    if (length < 0 || (size_t)length >= sizeof text) {
        context_fail(ctx, IDM_FAILED, "kernel %s: options too long", name);
        return NULL;
    }
    for (kernel *k = ctx->kernels; k; k = k->next)
        if (strcmp(k->name, name) == 0 && strcmp(k->options, text) == 0 && strcmp(k->file, file) == 0) return k;
    kernel *k = calloc(1, sizeof *k);
    if (k) *k = (kernel){.file = strdup(file), .name = strdup(name), .options = strdup(text), .next = ctx->kernels};
    if (!k) {
        context_fail(ctx, IDM_FAILED, "out of memory");
        return NULL;
    }
    ctx->kernels = k;
    if (k->file && k->name && k->options) return k;
    context_fail(ctx, IDM_FAILED, "out of memory");
    return NULL;
}

static bool kernel_build(context *ctx, kernel *k)
{
    if (k->handle) return true;
    cl_program p = program_build(ctx, k->file, k->options);
    if (!p) return false;
    cl_int code;
    k->handle = clCreateKernel(p, k->name, &code);
    if (code == CL_SUCCESS) return true;
    k->handle = NULL;
    context_fail(ctx, IDM_FAILED, "kernel %s of %s.cl on '%s': %s", k->name, k->file, ctx->device.name, opencl_error_name(code));
    return false;
}

void kernel_free_all(context *ctx)
{
    for (kernel *k = ctx->kernels, *next; k; k = next) {
        next = k->next;
        if (k->handle) clReleaseKernel(k->handle);
        free(k->file);
        free(k->name);
        free(k->options);
        free(k->planned);
        free(k);
    }
    ctx->kernels = NULL;
}

void kernel_visit(context *ctx, kernel_visitor *visit, void *user)
{
    for (kernel *k = ctx->kernels; k; k = k->next) visit(user, k->file, k->name, k->options, k->local);
}

// ---- times

static double event_seconds(cl_event event)
{
    cl_ulong start = 0, end = 0;
    if (clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) != CL_SUCCESS ||
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) != CL_SUCCESS || end < start)
        return 0;
    return (double)(end - start) * 1e-9;
}

static void record(context *ctx, const pending_launch *p)
{
    cl_int state = CL_COMPLETE;
    (void)clGetEventInfo(p->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (state < 0) {
        context_fail(ctx, IDM_FAILED, "kernel %s of %s.cl failed on '%s': %s", p->kernel->name, p->kernel->file, ctx->device.name,
                     opencl_error_name(state));
    } else {
        kernel *k = p->kernel;
        const double seconds = event_seconds(p->event), rate = p->units > 0 ? seconds / p->units : 0;
        k->seconds += seconds;
        if (seconds > k->longest) k->longest = seconds;
        // the slowest of late decides how launches are cut
        k->seconds_per_unit = rate > 0.9 * k->seconds_per_unit ? rate : 0.9 * k->seconds_per_unit;
    }
    clReleaseEvent(p->event);
}

static void take_oldest(context *ctx)
{
    record(ctx, &ctx->pending[ctx->pending_first]);
    ctx->pending_first = (ctx->pending_first + 1) % PENDING_MAX;
    ctx->pending_count--;
}

void launch_harvest(context *ctx, bool wait)
{
    while (ctx->pending_count) {
        const pending_launch *p = &ctx->pending[ctx->pending_first];
        cl_int state = CL_QUEUED;
        if (wait) (void)clWaitForEvents(1, &p->event);
        else if (clGetEventInfo(p->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) == CL_SUCCESS &&
                 state > CL_COMPLETE)
            return;
        take_oldest(ctx);
    }
}

static void keep_event(context *ctx, kernel *k, cl_event event, double units)
{
    if (ctx->pending_count == PENDING_MAX) { // waits for one, not for all, so that the device never runs out of work
        (void)clWaitForEvents(1, &ctx->pending[ctx->pending_first].event);
        take_oldest(ctx);
    }
    ctx->pending[(ctx->pending_first + ctx->pending_count++) % PENDING_MAX] = (pending_launch){event, k, units};
}

// ---- launching

void launch_flush_sometimes(context *ctx)
{
    if (++ctx->unflushed < FLUSH_EVERY) return;
    ctx->unflushed = 0;
    (void)context_check(ctx, clFlush(ctx->queue), "clFlush");
    launch_harvest(ctx, false);
}

static bool set_arguments(context *ctx, kernel *k, const argument *arguments, size_t count)
{
    cl_uint index = 0;
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < count && code == CL_SUCCESS; i++) {
        const argument *a = &arguments[i];
        if (a->kind == ARGUMENT_INT) code = clSetKernelArg(k->handle, index++, sizeof(cl_int), &a->i);
        else if (a->kind == ARGUMENT_FLOAT) code = clSetKernelArg(k->handle, index++, sizeof(cl_float), &a->f);
        else {
            const buffer *b = tensor_given(a->t) ? a->t.buffer : &ctx->dummy;
            const cl_ulong start = tensor_given(a->t) ? a->t.offset / dtype_size(a->t.type) : 0;
            code = clSetKernelArg(k->handle, index++, sizeof(cl_mem), &b->memory);
            if (code == CL_SUCCESS) code = clSetKernelArg(k->handle, index++, sizeof start, &start);
        }
    }
    if (code != CL_SUCCESS)
        context_fail(ctx, IDM_FAILED, "kernel %s of %s.cl: argument %u: %s", k->name, k->file, index - 1, opencl_error_name(code));
    return code == CL_SUCCESS;
}

static bool enqueue(context *ctx, kernel *k, const work *w, const size_t first[3], const size_t groups[3], double units)
{
    size_t offset[3], global[3];
    for (int d = 0; d < 3; d++) {
        offset[d] = first[d] * w->local[d];
        global[d] = groups[d] * w->local[d];
    }
    cl_event event;
    const cl_int code = clEnqueueNDRangeKernel(ctx->queue, k->handle, 3, offset, global, w->local, 0, NULL, &event);
    if (code != CL_SUCCESS) {
        context_fail(ctx, IDM_FAILED, "kernel %s of %s.cl on '%s', %zu x %zu x %zu groups of %zu x %zu x %zu: %s", k->name, k->file,
                     ctx->device.name, groups[0], groups[1], groups[2], w->local[0], w->local[1], w->local[2], opencl_error_name(code));
        return false;
    }
    keep_event(ctx, k, event, units);
    if (ctx->sync) {
        const cl_int done = clFinish(ctx->queue);
        if (done != CL_SUCCESS)
            context_fail(ctx, IDM_FAILED, "kernel %s of %s.cl on '%s': %s", k->name, k->file, ctx->device.name, opencl_error_name(done));
        launch_harvest(ctx, true);
    }
    launch_flush_sometimes(ctx);
    return ctx->status == IDM_OK;
}

// How many times `units` of work take at most the allowed time together.
static double times_allowed(const context *ctx, const kernel *k, double units)
{
    const double per_unit = k->seconds_per_unit > 0 ? k->seconds_per_unit : UNKNOWN_SECONDS_PER_UNIT;
    return ctx->options.max_launch_ms > 0 ? LAUNCH_MARGIN * ctx->options.max_launch_ms * 1e-3 / (units * per_unit) : INFINITY;
}

// One wait in a kernel's life, after the first piece of its first launch; then the rest is cut by its true speed.
static void learn_speed(context *ctx)
{
    (void)context_check(ctx, clFinish(ctx->queue), "clFinish");
    launch_harvest(ctx, true);
}

// Launches the groups first .. first + box - 1: as many slices of the box's longest dimension at once as are allowed, and where one slice
// is too long already, that in pieces.
static bool launch_box(context *ctx, kernel *k, const work *w, const size_t start[3], const size_t box[3], double units_each)
{
    const int across = box[2] >= box[1] ? 2 : 1, cut = box[across] >= box[0] ? across : 0;
    const double slice_groups = (double)box[0] * (double)box[1] * (double)box[2] / (double)box[cut];
    size_t first[3] = {start[0], start[1], start[2]}, groups[3] = {box[0], box[1], box[2]};
    for (size_t left = box[cut]; left; left -= groups[cut], first[cut] += groups[cut]) {
        launch_harvest(ctx, false);
        const bool unknown = k->seconds_per_unit <= 0;
        const double allowed = times_allowed(ctx, k, units_each * slice_groups);
        groups[cut] = allowed >= (double)left ? left : allowed < 1 ? 1 : (size_t)allowed;
        const bool launched = allowed < 1 && slice_groups > 1
                                  ? launch_box(ctx, k, w, first, groups, units_each)
                                  : enqueue(ctx, k, w, first, groups, units_each * slice_groups * (double)groups[cut]);
        if (!launched) return false;
        if (unknown && groups[cut] < left) learn_speed(ctx);
    }
    return ctx->status == IDM_OK;
}

static bool same_launch(const planned_launch *l, const work *w, const cost *c)
{
    for (int d = 0; d < 3; d++)
        if (l->w.groups[d] != w->groups[d] || l->w.local[d] != w->local[d]) return false;
    return l->each.flops == c->flops && l->each.bytes == c->bytes && l->w.padding == w->padding;
}

static void note_planned(context *ctx, kernel *k, const work *w, const cost *c, const argument *arguments, size_t count)
{
    for (size_t i = 0; i < k->planned_count; i++)
        if (same_launch(&k->planned[i], w, c)) {
            k->planned[i].count++;
            return;
        }
    if (k->planned_count == k->planned_room) {
        const size_t room = 2 * k->planned_room + 4;
        planned_launch *grown = realloc(k->planned, room * sizeof *grown);
        if (!grown) {
            context_fail(ctx, IDM_FAILED, "out of memory");
            return;
        }
        k->planned = grown;
        k->planned_room = room;
    }
    planned_launch *l = &k->planned[k->planned_count++];
    *l = (planned_launch){.file = k->file, .name = k->name, .options = k->options, .w = *w, .each = *c, .count = 1};
    for (size_t i = 0; i < count; i++)
        if (arguments[i].kind == ARGUMENT_INT && l->number_count < PLANNED_NUMBERS) l->numbers[l->number_count++] = arguments[i].i;
}

void planned_visit(const context *ctx, planned_visitor *visit, void *user)
{
    for (const kernel *k = ctx->kernels; k; k = k->next)
        for (size_t i = 0; i < k->planned_count; i++) visit(user, &k->planned[i]);
}

void launch(context *ctx, kernel *k, work w, cost c, const argument *arguments, size_t count)
{
    if (!k || ctx->status != IDM_OK) return;
    size_t groups[3];
    for (int d = 0; d < 3; d++) {
        groups[d] = w.groups[d] = w.groups[d] ? w.groups[d] : 1;
        if (!w.local[d]) w.local[d] = 1;
        k->local[d] = w.local[d];
    }
    ctx->total.flops += c.flops;
    ctx->total.bytes += c.bytes;
    k->counted.flops += c.flops;
    k->counted.bytes += c.bytes;
    if (ctx->dry) {
        note_planned(ctx, k, &w, &c, arguments, count);
        return;
    }
    if (!kernel_build(ctx, k) || !set_arguments(ctx, k, arguments, count)) return;
    k->total.flops += c.flops;
    k->total.bytes += c.bytes;
    k->launches++;
    const double units = c.flops + 4 * c.bytes + 1; // a moved byte counts as four operations
    (void)launch_box(ctx, k, &w, (const size_t[3]){0, 0, 0}, groups, units / ((double)groups[0] * (double)groups[1] * (double)groups[2]));
}

// ---- costs and profile

cost context_cost(const context *ctx)
{
    return ctx->total;
}

void context_reset_cost(context *ctx)
{
    ctx->total = (cost){0, 0};
    for (kernel *k = ctx->kernels; k; k = k->next) {
        k->counted = (cost){0, 0};
        k->planned_count = 0;
    }
}

void context_cost_visit(const context *ctx, context_cost_visitor *visit, void *user)
{
    for (const kernel *k = ctx->kernels; k; k = k->next) visit(user, k->name, k->counted);
}

void context_profile_visit(context *ctx, context_profile_visitor *visit, void *user)
{
    launch_harvest(ctx, true);
    for (kernel *k = ctx->kernels; k; k = k->next)
        if (k->launches) visit(user, k->name, k->launches, k->seconds, k->total, k->longest);
}

static int by_seconds(const void *a, const void *b)
{
    const kernel *const *x = a, *const *y = b;
    return (*x)->seconds < (*y)->seconds ? 1 : (*x)->seconds > (*y)->seconds ? -1 : strcmp((*x)->name, (*y)->name);
}

void context_profile_print(context *ctx, FILE *out)
{
    launch_harvest(ctx, true);
    size_t count = 0, i = 0;
    double seconds = 0;
    for (kernel *k = ctx->kernels; k; k = k->next) {
        count += k->launches > 0;
        seconds += k->seconds;
    }
    const kernel **sorted = calloc(count + 1, sizeof *sorted);
    if (!sorted) return;
    for (kernel *k = ctx->kernels; k; k = k->next)
        if (k->launches) sorted[i++] = k;
    qsort(sorted, count, sizeof *sorted, by_seconds);
    fprintf(out, "%10s %6s %9s %9s %9s %9s  %s\n", "seconds", "%", "launches", "GFLOP/s", "GB/s", "longest", "kernel");
    for (i = 0; i < count; i++) {
        const kernel *k = sorted[i];
        const double s = k->seconds > 0 ? k->seconds : 1e-12;
        fprintf(out, "%10.4f %5.1f%% %9ld %9.1f %9.1f %7.1fms  %s %s\n", k->seconds, 100 * k->seconds / (seconds > 0 ? seconds : 1),
                k->launches, k->total.flops / s * 1e-9, k->total.bytes / s * 1e-9, 1e3 * k->longest, k->name, k->options);
    }
    free(sorted);
}
