#include "opencl/context.h"

#include "core/status.h"
#include "opencl/internal.h"
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void CL_CALLBACK on_driver_message(const char *text, const void *info, size_t size, void *user)
{
    (void)text, (void)info, (void)size, (void)user; // every failure comes back as a code too
}

idm_status context_create(const device_info *info, const context_options *options, context **result)
{
    *result = NULL;
    context *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return status_fail(IDM_FAILED, "out of memory");
    ctx->device = *info;
    ctx->options = *options;
    const char *sync = getenv("IDM_SYNC");
    ctx->sync = sync && strcmp(sync, "1") == 0;
    ctx->dry = !info->device_id;
    if (info->device_id) {
        cl_device_id device = info->device_id;
        cl_int code;
        ctx->handle = clCreateContext((cl_context_properties[]){CL_CONTEXT_PLATFORM, (cl_context_properties)info->platform_id, 0}, 1,
                                      &device, on_driver_message, NULL, &code);
        if (context_check(ctx, code, "clCreateContext")) {
            ctx->queue = clCreateCommandQueue(ctx->handle, device, CL_QUEUE_PROFILING_ENABLE, &code);
            if (context_check(ctx, code, "clCreateCommandQueue")) {
                ctx->dummy.memory = clCreateBuffer(ctx->handle, CL_MEM_READ_WRITE, CONTEXT_BYTES, NULL, &code);
                (void)context_check(ctx, code, "clCreateBuffer");
            }
        }
    }
    const idm_status status = ctx->status;
    if (status != IDM_OK) context_destroy(ctx);
    else *result = ctx;
    return status;
}

void context_destroy(context *ctx)
{
    if (!ctx) return;
    if (ctx->queue) {
        (void)clFinish(ctx->queue);
        launch_harvest(ctx, true);
    }
    staging_free(ctx);
    kernel_free_all(ctx);
    program_free_all(ctx);
    arena_destroy_all(ctx);
    if (ctx->dummy.memory) clReleaseMemObject(ctx->dummy.memory);
    if (ctx->queue) clReleaseCommandQueue(ctx->queue);
    if (ctx->handle) clReleaseContext(ctx->handle);
    free(ctx);
}

const device_info *context_device(const context *ctx)
{
    return &ctx->device;
}

void context_fail(context *ctx, idm_status status, const char *format, ...)
{
    if (ctx->status != IDM_OK) return;
    va_list list;
    va_start(list, format);
    (void)vsnprintf(ctx->message, sizeof ctx->message, format, list);
    va_end(list);
    ctx->status = status_fail(status, "%s", ctx->message);
}

idm_status context_status(const context *ctx)
{
    return ctx->status == IDM_OK ? IDM_OK : status_fail(ctx->status, "%s", ctx->message);
}

idm_status context_finish(context *ctx)
{
    if (ctx->queue) {
        (void)context_check(ctx, clFinish(ctx->queue), "clFinish");
        launch_harvest(ctx, true);
    }
    return context_status(ctx);
}

void context_clear_error(context *ctx)
{
    if (ctx->queue) (void)clFinish(ctx->queue);
    launch_harvest(ctx, true);
    ctx->status = IDM_OK;
}

static bool skipped(const context *ctx)
{
    return ctx->status != IDM_OK || ctx->dry;
}

void context_write(context *ctx, tensor t, const void *source)
{
    if (skipped(ctx)) return;
    (void)context_check(ctx, clEnqueueWriteBuffer(ctx->queue, t.buffer->memory, CL_TRUE, t.offset, tensor_bytes(t), source, 0, NULL, NULL),
                        "upload");
}

idm_status context_read(context *ctx, tensor t, void *target)
{
    if (!skipped(ctx))
        (void)context_check(
            ctx, clEnqueueReadBuffer(ctx->queue, t.buffer->memory, CL_TRUE, t.offset, tensor_bytes(t), target, 0, NULL, NULL), "download");
    return context_status(ctx);
}

void context_copy(context *ctx, tensor from, tensor to)
{
    assert(tensor_bytes(from) == tensor_bytes(to));
    ctx->total.bytes += 2 * (double)tensor_bytes(from);
    if (skipped(ctx)) return;
    (void)context_check(
        ctx,
        clEnqueueCopyBuffer(ctx->queue, from.buffer->memory, to.buffer->memory, from.offset, to.offset, tensor_bytes(from), 0, NULL, NULL),
        "copy");
    launch_flush_sometimes(ctx);
}

void context_fill_zero(context *ctx, tensor t)
{
    ctx->total.bytes += (double)tensor_bytes(t);
    if (skipped(ctx)) return;
    const cl_uint zero = 0;
    assert(tensor_bytes(t) % sizeof zero == 0);
    (void)context_check(
        ctx, clEnqueueFillBuffer(ctx->queue, t.buffer->memory, &zero, sizeof zero, t.offset, tensor_bytes(t), 0, NULL, NULL), "fill");
    launch_flush_sometimes(ctx);
}

void context_set_dry(context *ctx, bool dry)
{
    ctx->dry = dry || !ctx->handle;
}

bool context_dry(const context *ctx)
{
    return ctx->dry;
}
