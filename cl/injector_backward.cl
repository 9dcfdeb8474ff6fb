// The injector backward: two passes over the features x and dy (n, h, w, c), around A^T A of p and of dz, which is what i2f's gradient says
// of z = A^T A p. Features andplanes: injector.clh.
//   injector_planes_backward  p again; dp by i2f alone and dz, all in shuffled order
//   injector_gather           dp = by i2f + A^T A dz, andp, z, b, for each feature pixel -> planes [n h w][4][r^2]
//   injector_chunks           dx = dy + pixel_unshuffle(f2i^T(dp)), andper channel and chunk of pixels its share of the parameters'
//                             gradients -> partials [chunks][6][c]
//   injector_merge            the parameters' gradients += partials over chunks and the r^2 channels of each
// `rows` of ROWS_KERNEL are the feature pixels of a sample, of all samples in injector_chunks.
#include "common.clh"
#include "injector.clh"
#include "rows.clh"
#include "sums.clh"

enum { PLANE_DP, PLANE_P, PLANE_Z, PLANE_B, PLANES };  // of `planes`
enum { X_DP, DY_P, DY_Z, DY_B, SUM_DY, SUM_DP, SUMS }; // of `partials`: sums over a chunk's pixels of x dp, dy p, dy z, dy b, dy, dp

ROWS_KERNEL injector_planes_backward(const int rows, const int vectors, const int block, const int width, TENSOR(const float, x),
                                     TENSOR(const float, dy), TENSOR(const float, weights), TENSOR(const float, f2i_bias),
                                     TENSOR(const int, inverse), TENSOR(float, p), TENSOR(float, through_p), TENSOR(float, dz))
{
    START(x);
    START(dy);
    START(weights);
    START(f2i_bias);
    START(inverse);
    START(p);
    START(through_p);
    START(dz);
#if LANES > 1
    __local float all_sums[3 * ROW_ITEMS * LANES * VEC];
    __local float *sums = all_sums + get_local_id(1) * 3 * LANES * VEC;
#else
    float sums[3 * VEC];
#endif
    const int sample = GROUP_ID(2), lane = get_local_id(0), first = GROUP_ID(1) * block + get_local_id(1), channels = vectors * VEC;
    x += sample * rows * channels;
    dy += sample * rows * channels;
    p += sample * rows * AREA;
    through_p += sample * rows * AREA;
    dz += sample * rows * AREA;
    for (int row = first; row < first + block; row += ROW_ITEMS) { // as often for every item, for the barriers
        const int mine = row < rows ? vectors : 0;
        vfloat x_sum = 0.0f, p_sum = 0.0f, z_sum = 0.0f;
        FOR_EACH_VECTOR (v, mine) {
            const vfloat d = VLOAD(dy + row * channels + v * VEC);
            __global const float *w = weights + v * VEC;
            x_sum = fma(VLOAD(x + row * channels + v * VEC), VLOAD(w + F2I * channels), x_sum);
            p_sum = fma(d, VLOAD(w + I2F_P * channels), p_sum);
            z_sum = fma(d, VLOAD(w + I2F_Z * channels), z_sum);
        }
        VSTORE_NEAR(x_sum, sums + lane * VEC);
        VSTORE_NEAR(p_sum, sums + (LANES + lane) * VEC);
        VSTORE_NEAR(z_sum, sums + (2 * LANES + lane) * VEC);
#if LANES > 1
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
        for (int q = lane; q < AREA && row < rows; q += LANES) {
            float total[3] = {*f2i_bias, 0.0f, 0.0f};
            #pragma unroll
            for (int k = 0; k < 3; k++)
                for (int i = q; i < LANES * VEC; i += AREA) total[k] += sums[k * LANES * VEC + i];
            const int shuffled = inverse[plane_pixel(row, width, q)];
            p[shuffled] = total[0];
            through_p[shuffled] = total[1];
            dz[shuffled] = total[2];
        }
#if LANES > 1
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
    }
}

// vectors = r^2, VEC = 1. normal_dz = A^T A dz.
ROWS_KERNEL injector_gather(const int rows, const int vectors, const int block, const int width, TENSOR(const float, through_p),
                            TENSOR(const float, normal_dz), TENSOR(const float, p), TENSOR(const float, z), TENSOR(const float, b),
                            TENSOR(const int, inverse), TENSOR(float, planes))
{
    START(through_p);
    START(normal_dz);
    START(p);
    START(z);
    START(b);
    START(inverse);
    START(planes);
    const int sample = GROUP_ID(2) * rows * AREA;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (q, vectors) {
            const int pixel = plane_pixel(row, width, q), shuffled = sample + inverse[pixel];
            __global float *out = planes + (sample + row * AREA) * PLANES + q;
            out[PLANE_DP * AREA] = through_p[shuffled] + normal_dz[shuffled];
            out[PLANE_P * AREA] = p[shuffled];
            out[PLANE_Z * AREA] = z[shuffled];
            out[PLANE_B * AREA] = b[sample + pixel];
        }
}

#define ITEMS (LANES * ROW_ITEMS)

// SPREAD(p, q): the AREA values at p, over and over, from number q on, in a vfloat; q is 0 where a vector holds all of them.
#if AREA == 1
#define SPREAD(p, q) ((vfloat)(*(p)))
#elif VEC > AREA
#define SPREAD(p, q) spread(p)
static inline vfloat spread(__global const float *p)
{
    const float4 v = vload4(0, p); // AREA is 4
#if VEC == 8
    return (vfloat)(v, v);
#else
    return (vfloat)(v, v, v, v);
#endif
}
#else
#define SPREAD(p, q) VLOAD((p) + (q))
#endif

// rows: feature pixels of all samples, in chunks of `chunk`. dx may be dy. Groups (ceil(channels / (VEC * LANES)), ceil(chunks /
// ROW_ITEMS), 1).
SIMD16 ROWS_KERNEL injector_chunks(const int rows, const int channels, const int chunk, TENSOR(const float, x), TENSOR(const float, dy),
                                   TENSOR(const float, weights), TENSOR(const float, planes), TENSOR(float, dx), TENSOR(float, partials))
{
    const int first = (GROUP_ID(0) * LANES + get_local_id(0)) * VEC, which = GROUP_ID(1) * ROW_ITEMS + get_local_id(1);
    const int start = which * chunk, end = min(rows, start + chunk), q = first % AREA;
    if (first >= channels || start >= rows) return;
    START(x);
    START(dy);
    START(weights);
    START(planes);
    START(dx);
    START(partials);
    const vfloat f2i = VLOAD(weights + F2I * channels + first);
    vfloat sums[SUMS];
    #pragma unroll
    for (int k = 0; k < SUMS; k++) sums[k] = 0.0f;
    for (int row = start; row < end; row++) {
        __global const float *plane = planes + row * PLANES * AREA;
        const int i = row * channels + first;
        const vfloat d = VLOAD(dy + i), dp = SPREAD(plane + PLANE_DP * AREA, q);
        sums[X_DP] = fma(VLOAD(x + i), dp, sums[X_DP]);
        sums[DY_P] = fma(d, SPREAD(plane + PLANE_P * AREA, q), sums[DY_P]);
        sums[DY_Z] = fma(d, SPREAD(plane + PLANE_Z * AREA, q), sums[DY_Z]);
        sums[DY_B] = fma(d, SPREAD(plane + PLANE_B * AREA, q), sums[DY_B]);
        sums[SUM_DY] += d;
        sums[SUM_DP] += dp;
        VSTORE(fma(f2i, dp, d), dx + i);
    }
    partials += which * SUMS * channels + first;
    #pragma unroll
    for (int k = 0; k < SUMS; k++) VSTORE(sums[k], partials + k * channels);
}

// Groups (channels / AREA, SUMS, 1).
ROWS_KERNEL injector_merge(const int chunks, const int channels, TENSOR(const float, partials), TENSOR(float, df2i),
                           TENSOR(float, df2i_bias), TENSOR(float, di2f), TENSOR(float, di2f_bias))
{
    const int k = GROUP_ID(0), which = GROUP_ID(1), item = get_local_id(1) * LANES + get_local_id(0);
    const int terms = which == SUM_DP && k > 0 ? 0 : chunks * AREA; // every channel has the sum of dp
    START(partials);
    START(df2i);
    START(df2i_bias);
    START(di2f);
    START(di2f_bias);
    partials += which * channels + k * AREA;
    float2 sum = WIDE_ZERO;
    for (int i = item; i < terms; i += ITEMS) sum = wide_add(sum, partials[i / AREA * SUMS * channels + i % AREA]);
#if ITEMS > 1
    __local float2 sums[ITEMS];
    sums[item] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 1; i < ITEMS && item == 0; i++) sum = wide_merge(sum, sums[i]);
#endif
    if (item > 0 || terms == 0) return;
    if (which == X_DP) df2i[k] += wide_value(sum);
    else if (which == SUM_DY) di2f_bias[k] += wide_value(sum);
    else if (which == SUM_DP) *df2i_bias += wide_value(sum);
    else di2f[3 * k + which - DY_P] += wide_value(sum);
}
