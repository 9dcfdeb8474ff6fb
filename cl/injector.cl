// The injector's two passes over the feature x (n, h, w, c), around A^T A; see injector.clh for how features and planes belong together.
//   injector_weights  the 1x1 convolutions' weights, repeated for each of the r^2 channels they act on -> weights [5][c]
//   injector_plane    p = f2i(pixel_shuffle(x)), written in the shuffled order that A reads
//   injector_apply    y = epilogue(x + pixel_unshuffle(i2f([p, z, b]))), p and z = A^T A p in shuffled order, b = A^T y in its own
// `rows` of ROWS_KERNEL are the feature pixels of a sample. An item's vectors are LANES * VEC channels apart, a multiple of r^2, so all of
// them have the same offsets q.
#include "common.clh"
#include "epilogue.clh"
#include "injector.clh"
#include "rows.clh"

// One item per channel; groups of ITEMS.
#ifndef ITEMS
#define ITEMS 64
#endif
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void injector_weights(const int channels, TENSOR(const float, f2i), TENSOR(const float, i2f), const int biased,
                      TENSOR(const float, i2f_bias), TENSOR(float, weights))
{
    START(f2i);
    START(i2f);
    START(i2f_bias);
    START(weights);
    const int channel = GROUP_ID(0) * ITEMS + get_local_id(0), k = channel / AREA;
    if (channel >= channels) return;
    weights[F2I * channels + channel] = f2i[k];
    weights[I2F_P * channels + channel] = i2f[3 * k];
    weights[I2F_Z * channels + channel] = i2f[3 * k + 1];
    weights[I2F_B * channels + channel] = i2f[3 * k + 2];
    weights[I2F_BIAS * channels + channel] = biased ? i2f_bias[k] : 0.0f;
}

ROWS_KERNEL injector_plane(const int rows, const int vectors, const int block, const int width, TENSOR(const float, x),
                           TENSOR(const float, weights), TENSOR(const float, f2i_bias), TENSOR(const int, inverse), TENSOR(float, p))
{
    START(x);
    START(weights);
    START(f2i_bias);
    START(inverse);
    START(p);
#if LANES > 1
    __local float all_sums[ROW_ITEMS * LANES * VEC];
    __local float *sums = all_sums + get_local_id(1) * LANES * VEC;
#else
    float sums[VEC];
#endif
    const int sample = GROUP_ID(2), lane = get_local_id(0), first = GROUP_ID(1) * block + get_local_id(1);
    x += sample * rows * vectors * VEC;
    p += sample * rows * AREA;
    weights += F2I * vectors * VEC;
    for (int row = first; row < first + block; row += ROW_ITEMS) { // as often for every item, for the barriers
        const int mine = row < rows ? vectors : 0;
        vfloat sum = 0.0f;
        FOR_EACH_VECTOR (v, mine) sum = fma(VLOAD(x + (row * vectors + v) * VEC), VLOAD(weights + v * VEC), sum);
        VSTORE_NEAR(sum, sums + lane * VEC);
#if LANES > 1
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
        for (int q = lane; q < AREA && row < rows; q += LANES) {
            float total = *f2i_bias;
            for (int i = q; i < LANES * VEC; i += AREA) total += sums[i];
            p[inverse[plane_pixel(row, width, q)]] = total;
        }
#if LANES > 1
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
    }
}

ROWS_KERNEL injector_apply(const int rows, const int vectors, const int block, const int width, TENSOR(const float, x),
                           TENSOR(const float, weights), TENSOR(const float, p), TENSOR(const float, z), TENSOR(const float, b),
                           TENSOR(const int, inverse), EPILOGUE_ARGUMENTS, TENSOR(float, y))
{
    START(x);
    START(weights);
    START(p);
    START(z);
    START(b);
    START(inverse);
    START(y);
    EPILOGUE_START;
    const int sample = GROUP_ID(2), channels = vectors * VEC;
    p += sample * rows * AREA;
    z += sample * rows * AREA;
    b += sample * rows * AREA;
    FOR_EACH_ROW (row, rows, block) {
        float pixels[3][VEC]; // of p, z, b for each element of this item's vectors
        #pragma unroll
        for (int i = 0; i < VEC; i++) {
            const int pixel = plane_pixel(row, width, (get_local_id(0) * VEC + i) % AREA), shuffled = inverse[pixel];
            pixels[0][i] = p[shuffled];
            pixels[1][i] = z[shuffled];
            pixels[2][i] = b[pixel];
        }
        const vfloat p_values = VLOAD(pixels[0]), z_values = VLOAD(pixels[1]), b_values = VLOAD(pixels[2]);
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (sample * rows + row) * channels + v * VEC;
            __global const float *w = weights + v * VEC;
            vfloat r = VLOAD(w + I2F_BIAS * channels);
            r = fma(VLOAD(w + I2F_P * channels), p_values, r);
            r = fma(VLOAD(w + I2F_Z * channels), z_values, r);
            r = fma(VLOAD(w + I2F_B * channels), b_values, r);
            r += VLOAD(x + i);
            EPILOGUE(vfloat, VLOAD, r, i, v * VEC);
            VSTORE(r, y + i);
        }
    }
}
