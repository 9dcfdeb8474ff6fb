// Gradients of GroupNorm (+ SiLU) and LayerNorm. NHWC; VEC channels per vector (divides the channels). With h = (x - mean) scale, scale =
// 1 / sqrt(var + eps), z = gamma h + beta and d = dy, or dy silu'(z):
//     dbeta = sum d    dgamma = sum d h    dx = scale (gamma d - A - B h)    A, B = the means of gamma d and gamma d h
// over the channels and pixels that share a mean.
//
// GroupNorm, after norm.cl's group_norm_chunks and group_norm_merge have made the moments:
//   group_norm_sums          per channel and chunk of CHUNK pixels: sums of d and d h -> partials [n][chunks][2][channels]; reduce.cl's
//                            sum_columns adds up the chunks                           -> sums [n][2][channels]
//   group_norm_coefficients  per sample and group: A and B                            -> coefficients [n][2][channels]; dgamma, dbeta
//   group_norm_gradient      dx
// LayerNorm is one kernel, which leaves dbeta's and dgamma's sums over few rows        -> partials [..][2][channels]; then sum_columns
// Chunks are of one size on every device of a table, so the result depends neither on its number of cores nor on how launches are cut.
#include "common.clh"
#include "items.clh" // per group of channels
#include "math.clh"
#include "rows.clh"

#ifndef CHUNK
#define CHUNK 64 // pixels of GroupNorm's sums; rows per group of LayerNorm
#endif
#ifndef SPAN
#define SPAN 1 // neighbouring vectors per item, as in norm.cl
#endif
#ifndef SILU
#define SILU 0 // 1: GroupNorm is followed by SiLU
#endif
#ifndef RESIDUAL
#define RESIDUAL 0 // 1: dx += residual
#endif

// Groups as group_norm_chunks.
ROWS_KERNEL group_norm_sums(const int pixels, const int channels, const int chunks, TENSOR(const float, x), TENSOR(const float, moments),
                            TENSOR(const float, gamma), TENSOR(const float, beta), TENSOR(const float, dy), TENSOR(float, partials))
{
    const int first = (GROUP_ID(0) * LANES + get_local_id(0)) * SPAN * VEC;
    const int chunk = GROUP_ID(1) * ROW_ITEMS + get_local_id(1), sample = GROUP_ID(2);
    if (first >= channels || chunk >= chunks) return;
    START(x);
    START(moments);
    START(gamma);
    START(beta);
    START(dy);
    START(partials);
    const int start = (sample * pixels + chunk * CHUNK) * channels + first, count = min(CHUNK, pixels - chunk * CHUNK);
    moments += sample * 2 * channels + first;
    partials += (sample * chunks + chunk) * 2 * channels + first;
    vfloat mean[SPAN], scale[SPAN], plain[SPAN], scaled[SPAN];
    #pragma unroll
    for (int s = 0; s < SPAN; s++) {
        mean[s] = VLOAD(moments + s * VEC);
        scale[s] = VLOAD(moments + channels + s * VEC);
        plain[s] = scaled[s] = 0.0f;
    }
    for (int p = 0; p < count; p++)
        #pragma unroll
        for (int s = 0; s < SPAN; s++) {
            const int i = start + p * channels + s * VEC;
            const vfloat h = (VLOAD(x + i) - mean[s]) * scale[s];
            vfloat d = VLOAD(dy + i);
#if SILU
            d *= silu_slope(fma(h, VLOAD(gamma + first + s * VEC), VLOAD(beta + first + s * VEC)));
#endif
            plain[s] += d;
            scaled[s] = fma(d, h, scaled[s]);
        }
    #pragma unroll
    for (int s = 0; s < SPAN; s++) {
        VSTORE(plain[s], partials + s * VEC);
        VSTORE(scaled[s], partials + channels + s * VEC);
    }
}

// Groups (groups, n) of ITEMS items, each taking every ITEMS-th channel. The first sample's groups also add up dgamma and dbeta.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void group_norm_coefficients(const int samples, const int pixels, const int channels, const int group_channels, TENSOR(const float, sums),
                             TENSOR(const float, gamma), TENSOR(float, coefficients), TENSOR(float, dgamma), TENSOR(float, dbeta))
{
    ITEM_SCRATCH(scratch);
    const int first = GROUP_ID(0) * group_channels, last = first + group_channels, sample = GROUP_ID(1), item = get_local_id(0);
    START(sums);
    START(gamma);
    START(coefficients);
    START(dgamma);
    START(dbeta);
    __global const float *mine = sums + sample * 2 * channels;
    float plain = 0.0f, scaled = 0.0f;
    for (int c = first + item; c < last; c += ITEMS) {
        plain = fma(gamma[c], mine[c], plain);
        scaled = fma(gamma[c], mine[channels + c], scaled);
    }
    const float total = (float)pixels * (float)group_channels;
    const float a = item_sum(plain, scratch) / total, b = item_sum(scaled, scratch) / total;
    coefficients += sample * 2 * channels;
    for (int c = first + item; c < last; c += ITEMS) {
        coefficients[c] = a;
        coefficients[channels + c] = b;
    }
    if (sample > 0) return;
    for (int c = first + item; c < last; c += ITEMS) {
        float beta_sum = 0.0f, gamma_sum = 0.0f;
        for (int n = 0; n < samples; n++) {
            beta_sum += sums[n * 2 * channels + c];
            gamma_sum += sums[(n * 2 + 1) * channels + c];
        }
        dbeta[c] += beta_sum;
        dgamma[c] += gamma_sum;
    }
}

// rows: pixels of a sample; vectors = channels / VEC. dx may be dy, x or residual.
ROWS_KERNEL group_norm_gradient(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const float, moments),
                                TENSOR(const float, gamma), TENSOR(const float, beta), TENSOR(const float, coefficients),
                                TENSOR(const float, dy), TENSOR(const float, residual), TENSOR(float, dx))
{
    START(x);
    START(moments);
    START(gamma);
    START(beta);
    START(coefficients);
    START(dy);
    START(residual);
    START(dx);
    const int channels = vectors * VEC, sample = GROUP_ID(2);
    moments += sample * 2 * channels;
    coefficients += sample * 2 * channels;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int c = v * VEC, i = (sample * rows + row) * channels + c;
            const vfloat scale = VLOAD(moments + channels + c), g = VLOAD(gamma + c), h = (VLOAD(x + i) - VLOAD(moments + c)) * scale;
            vfloat d = VLOAD(dy + i);
#if SILU
            d *= silu_slope(fma(h, g, VLOAD(beta + c)));
#endif
            vfloat r = scale * (fma(g, d, -VLOAD(coefficients + c)) - VLOAD(coefficients + channels + c) * h);
#if RESIDUAL
            r += VLOAD(residual + i);
#endif
            VSTORE(r, dx + i);
        }
}

// Groups (1, ceil(rows / CHUNK)). First each row's mean, scale, A and B, then dx, column by column, while the rows are in cache. partials
// [ROW_ITEMS * groups][2][channels]: dbeta's and dgamma's sums over every ROW_ITEMS-th row of a group. dx may be dy, x or residual.
ROWS_KERNEL layer_norm_backward(const int rows, const int vectors, const float eps, TENSOR(const float, x), TENSOR(const float, gamma),
                                TENSOR(const float, dy), TENSOR(const float, residual), TENSOR(float, dx), TENSOR(float, partials))
{
    LANE_SCRATCH(scratch);
#if LANES * ROW_ITEMS > 1
    __local float4 stats[CHUNK];
#else
    float4 stats[CHUNK];
#endif
    START(x);
    START(gamma);
    START(dy);
    START(residual);
    START(dx);
    START(partials);
    const int channels = vectors * VEC, first = GROUP_ID(1) * CHUNK, count = min(CHUNK, rows - first), item = get_local_id(1);
    x += first * channels;
    dy += first * channels;
    residual += first * channels;
    dx += first * channels;
    for (int row = item; row < CHUNK; row += ROW_ITEMS) { // as often for every item, for lane_sum's barriers
        const int mine = row < count ? vectors : 0, start = row * channels;
        vfloat sum = 0.0f, squares = 0.0f, plain = 0.0f, scaled = 0.0f;
        FOR_EACH_VECTOR (v, mine) sum += VLOAD(x + start + v * VEC);
        const float mean = lane_sum(VSUM(sum), scratch) / (float)channels;
        FOR_EACH_VECTOR (v, mine) {
            const vfloat deviation = VLOAD(x + start + v * VEC) - mean, d = VLOAD(dy + start + v * VEC) * VLOAD(gamma + v * VEC);
            squares = fma(deviation, deviation, squares);
            plain += d;
            scaled = fma(d, deviation, scaled);
        }
        const float scale = 1.0f / sqrt(lane_sum(VSUM(squares), scratch) / (float)channels + eps);
        const float a = lane_sum(VSUM(plain), scratch) / (float)channels;
        const float b = lane_sum(VSUM(scaled), scratch) / (float)channels * scale;
        if (get_local_id(0) == 0) stats[row] = (float4)(mean, scale, a, b);
    }
#if LANES * ROW_ITEMS > 1
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    partials += (GROUP_ID(1) * ROW_ITEMS + item) * 2 * channels;
    FOR_EACH_VECTOR (v, vectors) {
        const vfloat g = VLOAD(gamma + v * VEC);
        vfloat plain = 0.0f, scaled = 0.0f;
        for (int row = item; row < count; row += ROW_ITEMS) {
            const float4 s = stats[row];
            const int i = row * channels + v * VEC;
            const vfloat h = (VLOAD(x + i) - s.x) * s.y, d = VLOAD(dy + i);
            plain += d;
            scaled = fma(d, h, scaled);
            vfloat r = (fma(g, d, (vfloat)-s.z) - h * s.w) * s.y;
#if RESIDUAL
            r += VLOAD(residual + i);
#endif
            VSTORE(r, dx + i);
        }
        VSTORE(plain, partials + v * VEC);
        VSTORE(scaled, partials + channels + v * VEC);
    }
}
