#include "tune/check.h"

#include "ops/storage.h"
#include <math.h>
#include <stdlib.h>

float *check_values(size_t count, uint64_t seed, float scale)
{
    float *values = malloc((count ? count : 1) * sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        uint64_t z = seed * 0xD1342543DE82EF95u + (i + 1) * 0x9E3779B97F4A7C15u; // SplitMix64 in counter mode
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        values[i] = scale * ((float)(z >> 40) / 8388608.0f - 1.0f);
    }
    return values;
}

tensor check_upload(ops *o, const float *values, int n, int h, int w, int c)
{
    const tensor t = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, n, h, w, c);
    context_write(o->ctx, t, values);
    return t;
}

tensor check_output(ops *o, int n, int h, int w, int c)
{
    const tensor t = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, n, h, w, c);
    const size_t count = tensor_elements(t);
    float *values = malloc((count ? count : 1) * sizeof *values);
    for (size_t i = 0; values && i < count; i++) values[i] = NAN;
    context_write(o->ctx, t, values);
    free(values);
    return t;
}

tensor check_output_as(ops *o, dtype type, int n, int h, int w, int c)
{
    if (type == DTYPE_F32) return check_output(o, n, h, w, c);
    const tensor t = arena_push(o->ctx, POOL_ACTIVATIONS, type, n, h, w, c);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    storage_convert(o, check_output(o, n, h, w, c), t);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return t;
}

void check_round(float *values, size_t count, dtype type)
{
    if (type == DTYPE_F32) return;
    const int bits = type == DTYPE_F16 ? 11 : 8, least = type == DTYPE_F16 ? -24 : -133; // of the last bit of a subnormal
    for (size_t i = 0; values && i < count; i++) {
        int exponent;
        (void)frexpf(values[i], &exponent);
        const int last = exponent - bits > least ? exponent - bits : least;
        values[i] = ldexpf(rintf(ldexpf(values[i], -last)), last);
    }
}

tensor check_upload_as(ops *o, dtype type, const float *values, int n, int h, int w, int c)
{
    if (type == DTYPE_F32) return check_upload(o, values, n, h, w, c);
    const tensor t = arena_push(o->ctx, POOL_ACTIVATIONS, type, n, h, w, c);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    storage_convert(o, check_upload(o, values, n, h, w, c), t);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    return t;
}

check_result check_compare(ops *o, tensor t, const double *want)
{
    t = storage_widen(o, t);
    const size_t count = tensor_elements(t);
    float *got = malloc((count ? count : 1) * sizeof *got);
    check_result result = {got ? context_read(o->ctx, t, got) : IDM_FAILED, INFINITY};
    if (result.status == IDM_OK) {
        double difference = 0, norm = 0;
        for (size_t i = 0; i < count; i++) {
            difference += (got[i] - want[i]) * (got[i] - want[i]);
            norm += want[i] * want[i];
        }
        result.error = difference == 0 ? 0 : sqrt(difference / norm);
        if (!isfinite(result.error)) result.error = INFINITY;
    }
    free(got);
    return result;
}

check_result check_sum(ops *o, tensor t, double want, double terms)
{
    float got = 0;
    check_result result = {context_read(o->ctx, t, &got), INFINITY};
    if (result.status == IDM_OK && isfinite(got)) result.error = fabs(got - want) / fmax(fabs(want), terms);
    return result;
}

check_result check_worst(check_result a, check_result b)
{
    if (a.status != IDM_OK) return a;
    return b.status != IDM_OK || b.error > a.error ? b : a;
}
