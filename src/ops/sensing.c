#include "ops/sensing.h"

#include "ops/rows.h"
#include <stdlib.h>

static weight upload_matrix(ops *o, const float *values, int in, int out)
{
    const tensor plain = arena_push(o->ctx, POOL_OPERATOR, DTYPE_F32, 1, 1, in, out);
    context_write(o->ctx, plain, values);
    return (weight){.plain = plain, .taps = 1, .in = in, .out = out};
}

static tensor upload_indices(ops *o, const int32_t *indices, int height, int width)
{
    const tensor t = arena_push(o->ctx, POOL_OPERATOR, DTYPE_I32, 1, height, width, 1);
    context_write(o->ctx, t, indices);
    return t;
}

void sensing_create(ops *o, const float *phi, int block_pixels, int measurements, const int32_t *perm, int height, int width,
                    sensing *result)
{
    const size_t n = (size_t)block_pixels, m = (size_t)measurements, pixels = (size_t)height * (size_t)width;
    float *transposed = malloc(n * m * sizeof *transposed);
    int32_t *inverse = malloc(pixels * sizeof *inverse);
    if (transposed && inverse) {
        const bool dry = context_dry(o->ctx); // a plan has no values
        for (size_t i = 0; !dry && i < n; i++)
            for (size_t j = 0; j < m; j++) transposed[j * n + i] = phi[i * m + j];
        for (size_t i = 0; !dry && i < pixels; i++) inverse[perm[i]] = (int32_t)i;
        *result = (sensing){
            .height = height,
            .width = width,
            .block_pixels = block_pixels,
            .measurements = measurements,
            .phi = upload_matrix(o, phi, block_pixels, measurements),
            .phi_transposed = upload_matrix(o, transposed, measurements, block_pixels),
            .perm = upload_indices(o, perm, height, width),
            .inverse = upload_indices(o, inverse, height, width),
        };
    } else {
        *result = (sensing){0};
        context_fail(o->ctx, IDM_FAILED, "out of memory for a sampling operator of %d x %d pixels", height, width);
    }
    free(transposed);
    free(inverse);
}

static void permute(ops *o, const sensing *s, tensor x, tensor index, tensor y)
{
    const rows_grid g = rows_plan(o, x.n, s->height, s->width, 1, 2 * s->width);
    kernel *k = kernel_get(o->ctx, "sensing", "permute", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){0, 2 * (double)tensor_bytes(x) + (double)tensor_bytes(index)}), ROWS(g), T(x), T(index), T(y));
}

tensor sensing_push_shuffled(ops *o, const sensing *s, int n)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, n, 1, s->height * s->width / s->block_pixels, s->block_pixels);
}

void sensing_shuffle(ops *o, const sensing *s, tensor x, tensor shuffled)
{
    permute(o, s, x, s->perm, shuffled);
}

void sensing_forward(ops *o, const sensing *s, tensor x, tensor y)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor shuffled = sensing_push_shuffled(o, s, x.n);
    sensing_shuffle(o, s, x, shuffled);
    gemm_forward(o, shuffled, &s->phi, NULL, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void sensing_adjoint(ops *o, const sensing *s, tensor y, tensor x)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor shuffled = sensing_push_shuffled(o, s, x.n);
    gemm_forward(o, y, &s->phi_transposed, NULL, shuffled);
    permute(o, s, shuffled, s->inverse, x);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void sensing_normal_shuffled(ops *o, const sensing *s, tensor p, tensor z)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor y = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, p.n, 1, p.w, s->measurements);
    gemm_forward(o, p, &s->phi, NULL, y);
    gemm_forward(o, y, &s->phi_transposed, NULL, z);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
