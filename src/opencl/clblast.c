// CLBlast behind our own argument types: one product, its scratch from a pool.
#include "opencl/internal.h"

#include <clblast_c.h>

static const char *clblast_error(CLBlastStatusCode code)
{
    return code > -1000 ? opencl_error_name(code) : "CLBlast refuses the arguments";
}

// A product: C (m x n) = op(A) op(B), and the rows as they are stored.
typedef struct product {
    size_t m, n, k, a_row, b_row;
    CLBlastTranspose transpose_a, transpose_b;
} product;

static size_t floats(tensor t)
{
    return t.offset / sizeof(float);
}

// Scratch in bytes. CLBlast tells for a queue; without a device this is its rule for padded copies of all three operands at its largest
// tile.
static size_t scratch_size(context *ctx, tensor a, tensor b, tensor c, const product *p)
{
    size_t size = 0;
    if (!ctx->handle) {
        const size_t mp = (p->m + 127) / 128 * 128, np = (p->n + 127) / 128 * 128, kp = (p->k + 127) / 128 * 128;
        return sizeof(float) * (mp * kp + kp * np + mp * np);
    }
    const CLBlastStatusCode code =
        CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, p->transpose_a, p->transpose_b, p->m, p->n, p->k, floats(a), p->a_row, floats(b),
                                   p->b_row, floats(c), p->n, &ctx->queue, &size);
    if (code != CLBlastSuccess) context_fail(ctx, IDM_FAILED, "CLBlast on '%s': %s (%d)", ctx->device.name, clblast_error(code), code);
    return size;
}

void clblast_gemm(context *ctx, tensor a, tensor b, tensor c, int m, int n, int k, bool transpose_a, bool transpose_b, float alpha,
                  float beta)
{
    if (ctx->status != IDM_OK) return;
    const product p = {.m = (size_t)m,
                       .n = (size_t)n,
                       .k = (size_t)k,
                       .a_row = (size_t)(transpose_a ? m : k),
                       .b_row = (size_t)(transpose_b ? k : n),
                       .transpose_a = transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
                       .transpose_b = transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo};
    const size_t scratch = scratch_size(ctx, a, b, c, &p);
    const arena_mark mark = arena_save(ctx, POOL_CLBLAST);
    const tensor temporary = arena_push(ctx, POOL_CLBLAST, DTYPE_F32, 1, 1, 1, scratch ? (int)((scratch + 3) / sizeof(float)) : 1);
    ctx->total.flops += 2.0 * m * n * k;
    ctx->total.bytes += sizeof(float) * ((double)m * k + (double)k * n + (double)m * n);
    if (ctx->status == IDM_OK && !ctx->dry) {
        const CLBlastStatusCode code = CLBlastSgemmWithTempBuffer(
            CLBlastLayoutRowMajor, p.transpose_a, p.transpose_b, p.m, p.n, p.k, alpha, a.buffer->memory, floats(a), p.a_row,
            b.buffer->memory, floats(b), p.b_row, beta, c.buffer->memory, floats(c), p.n, &ctx->queue, NULL, temporary.buffer->memory);
        if (code != CLBlastSuccess)
            context_fail(ctx, IDM_FAILED, "CLBlast on '%s', %d x %d x %d: %s (%d)", ctx->device.name, m, n, k, clblast_error(code), code);
        launch_flush_sometimes(ctx);
    }
    arena_release(ctx, POOL_CLBLAST, mark);
}
