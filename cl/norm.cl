// GroupNorm (+ SiLU) and LayerNorm. NHWC, float32 statistics; VEC channels per vector (divides the channels).
//
// GroupNorm is three kernels:
//   group_norm_chunks  per channel and chunk of CHUNK pixels: mean and squared deviation m2        -> partials [n][chunks][2][channels]
//   group_norm_merge   per sample and group: all of them merged (Chan et al. 1979), gamma and beta -> affine [n][2][channels]; for the
//                      gradient (norm_backward.cl) mean and 1 / sqrt(var + eps) instead           -> moments [n][2][channels]
//   group_norm_apply   y = x scale + shift, SiLU
// Chunks are of one size on every device, so the result depends neither on its number of cores nor on how launches are cut.
#include "common.clh"
#include "items.clh" // per group of channels, in the merge
#include "math.clh"
#include "rows.clh"

#ifndef CHUNK
#define CHUNK 64 // pixels; two passes over them should stay in the nearest cache: 64 on CPUs, 16 where many items are needed
#endif
#ifndef SPAN
#define SPAN 1 // neighbouring vectors per item: up to 4 on CPUs, where one vector at a time is too short a piece of a row; else 1
#endif
#ifndef MOMENTS
#define MOMENTS 0 // 1: group_norm_merge writes moments
#endif
#ifndef SILU
#define SILU 0 // 1: followed by SiLU
#endif

// Groups (ceil(channels / (VEC * SPAN * LANES)), ceil(chunks / ROW_ITEMS), n).
ROWS_KERNEL group_norm_chunks(const int pixels, const int channels, const int chunks, TENSOR(const float, x), TENSOR(float, partials))
{
    const int first = (GROUP_ID(0) * LANES + get_local_id(0)) * SPAN * VEC;
    const int chunk = GROUP_ID(1) * ROW_ITEMS + get_local_id(1), sample = GROUP_ID(2);
    if (first >= channels || chunk >= chunks) return;
    START(x);
    START(partials);
    x += (sample * pixels + chunk * CHUNK) * channels + first;
    partials += (sample * chunks + chunk) * 2 * channels + first;
    const int count = min(CHUNK, pixels - chunk * CHUNK);
    vfloat mean[SPAN], m2[SPAN];
    #pragma unroll
    for (int s = 0; s < SPAN; s++) mean[s] = m2[s] = 0.0f;
    for (int p = 0; p < count; p++)
        #pragma unroll
        for (int s = 0; s < SPAN; s++) mean[s] += VLOAD(x + p * channels + s * VEC);
    #pragma unroll
    for (int s = 0; s < SPAN; s++) mean[s] /= (float)count;
    for (int p = 0; p < count; p++)
        #pragma unroll
        for (int s = 0; s < SPAN; s++) {
            const vfloat d = VLOAD(x + p * channels + s * VEC) - mean[s];
            m2[s] = fma(d, d, m2[s]);
        }
    #pragma unroll
    for (int s = 0; s < SPAN; s++) {
        VSTORE(mean[s], partials + s * VEC);
        VSTORE(m2[s], partials + channels + s * VEC);
    }
}

// Groups (groups, n, 1) of ITEMS items, each taking every ITEMS-th chunk.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void group_norm_merge(const int pixels, const int channels, const int chunks, const int group_channels, const float eps,
                      TENSOR(const float, partials), TENSOR(const float, gamma), TENSOR(const float, beta), TENSOR(float, affine))
{
    ITEM_SCRATCH(scratch);
    const int first = GROUP_ID(0) * group_channels, sample = GROUP_ID(1), item = get_local_id(0);
    START(partials);
    START(gamma);
    START(beta);
    START(affine);
    partials += sample * chunks * 2 * channels + first;
    affine += sample * 2 * channels;
    const float total = (float)pixels * (float)group_channels;

    float sum = 0.0f;
    for (int chunk = item; chunk < chunks; chunk += ITEMS) {
        const float count = (float)min(CHUNK, pixels - chunk * CHUNK);
        float means = 0.0f;
        for (int c = 0; c < group_channels; c++) means += partials[chunk * 2 * channels + c];
        sum = fma(count, means, sum);
    }
    const float mean = item_sum(sum, scratch) / total;

    float deviation = 0.0f;
    for (int chunk = item; chunk < chunks; chunk += ITEMS) {
        const float count = (float)min(CHUNK, pixels - chunk * CHUNK);
        float between = 0.0f, within = 0.0f;
        for (int c = 0; c < group_channels; c++) {
            const float d = partials[chunk * 2 * channels + c] - mean;
            between = fma(d, d, between);
            within += partials[(chunk * 2 + 1) * channels + c];
        }
        deviation += fma(count, between, within);
    }
    const float variance = item_sum(deviation, scratch) / total;

    const float scale = 1.0f / sqrt(variance + eps);
    for (int c = first + item; c < first + group_channels; c += ITEMS) {
#if MOMENTS
        affine[c] = mean;
        affine[channels + c] = scale;
#else
        affine[c] = gamma[c] * scale;
        affine[channels + c] = fma(-mean, gamma[c] * scale, beta[c]);
#endif
    }
}

// rows: pixels of a sample; vectors = channels / VEC.
ROWS_KERNEL group_norm_apply(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const float, affine),
                             TENSOR(float, y))
{
    START(x);
    START(affine);
    START(y);
    const int channels = vectors * VEC, sample = GROUP_ID(2);
    affine += sample * 2 * channels;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (sample * rows + row) * channels + v * VEC;
            const vfloat r = fma(VLOAD(x + i), VLOAD(affine + v * VEC), VLOAD(affine + channels + v * VEC));
#if SILU
            VSTORE(silu(r), y + i);
#else
            VSTORE(r, y + i);
#endif
        }
}

// y = gamma (x - mean) / sqrt(var + eps) + beta per row; three passes over a row that stays in cache.
ROWS_KERNEL layer_norm(const int rows, const int vectors, const int block, const float eps, TENSOR(const float, x),
                       TENSOR(const float, gamma), TENSOR(const float, beta), TENSOR(float, y))
{
    LANE_SCRATCH(scratch);
    START(x);
    START(gamma);
    START(beta);
    START(y);
    const int channels = vectors * VEC, first = GROUP_ID(1) * block + get_local_id(1);
    for (int row = first; row < first + block; row += ROW_ITEMS) { // as often for every item, for lane_sum's barriers
        const int mine = row < rows ? vectors : 0, start = row * channels;
        vfloat sum = 0.0f, squares = 0.0f;
        FOR_EACH_VECTOR (v, mine) sum += VLOAD(x + start + v * VEC);
        const float mean = lane_sum(VSUM(sum), scratch) / (float)channels;
        FOR_EACH_VECTOR (v, mine) {
            const vfloat d = VLOAD(x + start + v * VEC) - mean;
            squares = fma(d, d, squares);
        }
        const float scale = 1.0f / sqrt(lane_sum(VSUM(squares), scratch) / (float)channels + eps);
        FOR_EACH_VECTOR (v, mine) {
            const vfloat d = VLOAD(x + start + v * VEC) - mean;
            VSTORE(fma(d * scale, VLOAD(gamma + v * VEC), VLOAD(beta + v * VEC)), y + start + v * VEC);
        }
    }
}
