#include "ops/ops.h"

#include "core/status.h"

// A CPU whose compiler works item by item (llvmpipe) says so by vectors of one float: explicit float16 tiles would only choke it.
static variant table_variant(idm_variants variants, const device_info *device)
{
    switch (variants) {
    case IDM_VARIANTS_CPU:
        return VARIANT_CPU;
    case IDM_VARIANTS_GPU:
        return VARIANT_GPU;
    case IDM_VARIANTS_GENERIC:
        return VARIANT_GENERIC;
    case IDM_VARIANTS_AUTO:
        break;
    }
    if (device->type == DEVICE_GPU) return VARIANT_GPU;
    return device->type == DEVICE_CPU && device->native_vector >= 4 ? VARIANT_CPU : VARIANT_GENERIC;
}

idm_status ops_create(context *ctx, idm_variants variants, idm_gemm gemm, idm_math math, int max_channels, ops *result)
{
    const variant v = table_variant(variants, context_device(ctx));
    *result = (ops){
        .ctx = ctx,
        .table = {.gemm = v, .conv = v, .attention = v, .pointwise = v},
        .exact = math == IDM_MATH_EXACT,
    };
    result->gemm_tuned = gemm == IDM_GEMM_AUTO && v == VARIANT_GPU;
    if (gemm == IDM_GEMM_CLBLAST || result->gemm_tuned) result->table.gemm = VARIANT_CLBLAST;
    // once dry, so that they take no more memory than they need
    const arena_mark mark = arena_save(ctx, POOL_OPERATOR);
    context_plan_begin(ctx);
    (void)arena_push(ctx, POOL_OPERATOR, DTYPE_F32, 1, 1, 1, max_channels);
    arena_release(ctx, POOL_OPERATOR, mark);
    IDM_TRY(context_plan_commit(ctx));
    result->zeros = arena_push(ctx, POOL_OPERATOR, DTYPE_F32, 1, 1, 1, max_channels);
    context_fill_zero(ctx, result->zeros);
    return context_status(ctx);
}

int ops_vector_width(int c, int most)
{
    int width = 16;
    while (width > most || c % width != 0) width /= 2;
    return width;
}

int ops_pointwise_width(const ops *o, int c)
{
    switch (o->table.pointwise) {
    case VARIANT_CPU:
        return ops_vector_width(c, 16);
    case VARIANT_GPU:
        return ops_vector_width(c, 4);
    default:
        return 1;
    }
}

const char *variant_name(variant v)
{
    static const char *const names[] = {[VARIANT_GENERIC] = "generic",
                                        [VARIANT_CPU] = "cpu",
                                        [VARIANT_GPU] = "gpu",
                                        [VARIANT_CLBLAST] = "clblast",
                                        [VARIANT_MATRIX] = "matrix"};
    return names[v];
}
