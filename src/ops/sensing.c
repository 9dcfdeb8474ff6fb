#include "ops/sensing.h"

#include "ops/rows.h"
#include <stdlib.h>

static weight upload_matrix(ops *o, const float *values, int in, int out)
{
    const tensor plain = arena_push(o->ctx, POOL_OPERATOR, DTYPE_F32, 1, 1, in, out);
    context_write(o->ctx, plain, values);
    return (weight){.plain = plain, .taps = 1, .in = in, .out = out};
}

static tensor push_indices(ops *o, int height, int width)
{
    return arena_push(o->ctx, POOL_OPERATOR, DTYPE_I32, 1, height, width, 1);
}

static void invert(ops *o, const sensing *s)
{
    const rows_grid g = rows_plan(o, 1, s->height, s->width, 1, 2 * s->width);
    kernel *k = kernel_get(o->ctx, "sensing", "invert", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){0, 2 * (double)tensor_bytes(s->perm)}), ROWS(g), T(s->perm), T(s->inverse));
}

void sensing_create(ops *o, const float *phi, int block_pixels, int measurements, const int32_t *perm, int height, int width,
                    sensing *result)
{
    const size_t n = (size_t)block_pixels, m = (size_t)measurements;
    float *transposed = malloc(n * m * sizeof *transposed);
    if (!transposed) {
        *result = (sensing){0};
        context_fail(o->ctx, IDM_FAILED, "out of memory for a sampling operator of %d x %d pixels", height, width);
        return;
    }
    const bool dry = context_dry(o->ctx); // a plan has no values
    for (size_t i = 0; !dry && i < n; i++)
        for (size_t j = 0; j < m; j++) transposed[j * n + i] = phi[i * m + j];
    *result = (sensing){
        .height = height,
        .width = width,
        .block_pixels = block_pixels,
        .measurements = measurements,
        .phi = upload_matrix(o, phi, block_pixels, measurements),
        .phi_transposed = upload_matrix(o, transposed, measurements, block_pixels),
        .perm = push_indices(o, height, width),
        .inverse = push_indices(o, height, width),
    };
    free(transposed);
    if (!dry && !perm) return;
    context_write(o->ctx, result->perm, perm);
    invert(o, result);
}

void sensing_update(ops *o, const sensing *s, const int32_t *perm)
{
    context_upload(o->ctx, s->perm, perm);
    invert(o, s);
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
