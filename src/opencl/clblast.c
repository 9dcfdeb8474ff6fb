// CLBlast behind our own argument types: one product, its scratch from a pool.
#include "opencl/internal.h"

#include <clblast_c.h>

static const char *clblast_error(CLBlastStatusCode code)
{
    return code > -1000 ? opencl_error_name(code) : "CLBlast refuses the arguments";
}

// Scratch in bytes. CLBlast tells for a queue; without a device this is its rule for padded copies of all three operands at its largest
// tile.
static size_t scratch_size(context *ctx, tensor a, tensor b, tensor c, int m, int n, int k, CLBlastTranspose transpose, size_t b_row)
{
    size_t size = 0;
    if (!ctx->handle) {
        const size_t mp = ((size_t)m + 127) / 128 * 128, np = ((size_t)n + 127) / 128 * 128, kp = ((size_t)k + 127) / 128 * 128;
        return sizeof(float) * (mp * kp + kp * np + mp * np);
    }
    const CLBlastStatusCode code = CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, CLBlastTransposeNo, transpose, (size_t)m, (size_t)n,
                                                              (size_t)k, a.offset / sizeof(float), (size_t)k, b.offset / sizeof(float),
                                                              b_row, c.offset / sizeof(float), (size_t)n, &ctx->queue, &size);
    if (code != CLBlastSuccess) context_fail(ctx, IDM_FAILED, "CLBlast on '%s': %s (%d)", ctx->device.name, clblast_error(code), code);
    return size;
}

void clblast_gemm(context *ctx, tensor a, tensor b, tensor c, int m, int n, int k, bool transpose_b, float alpha, float beta)
{
    if (ctx->status != IDM_OK) return;
    const CLBlastTranspose transpose = transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    const size_t b_row = (size_t)(transpose_b ? k : n), scratch = scratch_size(ctx, a, b, c, m, n, k, transpose, b_row);
    const arena_mark mark = arena_save(ctx, POOL_CLBLAST);
    const tensor temporary = arena_push(ctx, POOL_CLBLAST, DTYPE_F32, 1, 1, 1, scratch ? (int)((scratch + 3) / sizeof(float)) : 1);
    ctx->total.flops += 2.0 * m * n * k;
    ctx->total.bytes += sizeof(float) * ((double)m * k + (double)k * n + (double)m * n);
    if (ctx->status == IDM_OK && !ctx->dry) {
        const CLBlastStatusCode code = CLBlastSgemmWithTempBuffer(
            CLBlastLayoutRowMajor, CLBlastTransposeNo, transpose, (size_t)m, (size_t)n, (size_t)k, alpha, a.buffer->memory,
            a.offset / sizeof(float), (size_t)k, b.buffer->memory, b.offset / sizeof(float), b_row, beta, c.buffer->memory,
            c.offset / sizeof(float), (size_t)n, &ctx->queue, NULL, temporary.buffer->memory);
        if (code != CLBlastSuccess)
            context_fail(ctx, IDM_FAILED, "CLBlast on '%s', %d x %d x %d: %s (%d)", ctx->device.name, m, n, k, clblast_error(code), code);
        launch_flush_sometimes(ctx);
    }
    arena_release(ctx, POOL_CLBLAST, mark);
}
