// Convolution 3x3 and linear layer (one tap), GPU local-memory variant, NHWC: implicit GEMM.
//   y (pixels x out) = epilogue(sum over taps of x(pixel + tap) W[tap]),  x (n, h, w, in), y (n, oh, ow, out), W [TAPS][in][out]
// A work-group makes a TILE_M x TILE_N tile of y (pixels of all samples in a row), walking taps and, within a tap, input channels in steps
// of TILE_K through local memory. An item owns ITEM_M consecutive pixels x 4 consecutive outputs, so per channel it reads ITEM_M / 4 + 1
// float4 for 4 ITEM_M FMAs.
//
//          TILE_N                  local:  xs[TILE_K][TILE_M + 4]  (x transposed; + 4 spreads the banks and keeps float4 aligned)
//        +--------+                        ws[TILE_K][TILE_N]
//        |   ws   | TILE_K
// +------+--------+                Any pixels, in, out: edges and pixels outside the picture are loaded as zero, edges are not stored.
// |  xs  |   y    | TILE_M         Local size (TILE_N / 4, TILE_M / ITEM_M), groups (ceil(out / TILE_N), ceil(pixels / TILE_M)).
// +------+--------+                Sums run over taps, then channels, whatever the tile: every parameter set gives the same bits.
//  TILE_K
#include "common.clh"
#include "epilogue.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef TILE_M
#define TILE_M 64 // pixels per group
#endif
#ifndef TILE_N
#define TILE_N 64 // outputs per group
#endif
#ifndef ITEM_M
#define ITEM_M 4 // pixels per item: 4 or 8
#endif
#ifndef IN_VEC
#define IN_VEC 1 // 4: rows of x are whole float4 and aligned; else 1
#endif
#ifndef OUT_VEC
#define OUT_VEC 1 // 4: the same for W, y, and all that the epilogue reads
#endif
#define TILE_K 16
#define QUADS_K (TILE_K / 4)
#define QUADS_M (ITEM_M / 4)
#define QUADS_N (TILE_N / 4)
#define ITEMS_M (TILE_M / ITEM_M)
#define ITEMS (QUADS_N * ITEMS_M)
#define LOADS_X (TILE_M * QUADS_K / ITEMS) // float4 per item and step
#define LOADS_W (TILE_K * QUADS_N / ITEMS)
#include "window.clh"

#define QUAD(p) (*(__global const float4 *)(p))
#define SCALAR(p) (*(p))
// 4 values from p on; those from number `count` on are zero.
static inline float4 load_quad(__global const float *p, const int count)
{
    return (float4)(count > 0 ? p[0] : 0.0f, count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f, count > 3 ? p[3] : 0.0f);
}

__kernel __attribute__((reqd_work_group_size(QUADS_N, ITEMS_M, 1))) void conv_gpu(TENSOR(const float, x), TENSOR(const float, weights),
                                                                                  EPILOGUE_ARGUMENTS, TENSOR(float, y), const int in,
                                                                                  const int out, const int pixels, WINDOW_ARGUMENTS)
{
    __local float4 xs[TILE_K][TILE_M / 4 + 1], ws[TILE_K][QUADS_N];
    START(x);
    START(weights);
    START(y);
    const int item_n = get_local_id(0), item_m = get_local_id(1), item = item_m * QUADS_N + item_n;
    const int first_pixel = GROUP_ID(1) * TILE_M, first_out = GROUP_ID(0) * TILE_N;

    // what this item loads: channels k_quad..k_quad+3 of the pixels x_pixel + i * ITEMS / QUADS_K, and quads of W's rows
    const int k_quad = item % QUADS_K * 4, x_pixel = item / QUADS_K;
    int base[LOADS_X], top[LOADS_X], left[LOADS_X];
#pragma unroll
    for (int i = 0; i < LOADS_X; i++) {
        const int pixel = first_pixel + x_pixel + i * (ITEMS / QUADS_K);
        window_at(pixel, h, w, oh, ow, stride, &base[i], &top[i], &left[i]);
        if (pixel >= pixels) top[i] = -4; // no tap of it is inside
    }
    float4 sum[ITEM_M];
#pragma unroll
    for (int m = 0; m < ITEM_M; m++) sum[m] = 0.0f;

    for (int tap = 0; tap < TAPS; tap++) {
        int offset[LOADS_X];
#pragma unroll
        for (int i = 0; i < LOADS_X; i++) {
            const int source = window_pixel(base[i], top[i], left[i], tap, h, w, doubled, dilate);
            offset[i] = source != OUTSIDE ? source * in : OUTSIDE;
        }
        for (int k0 = 0; k0 < in; k0 += TILE_K) {
#pragma unroll
            for (int i = 0; i < LOADS_X; i++) {
                const int k = k0 + k_quad, m = x_pixel + i * (ITEMS / QUADS_K);
                float4 v = 0.0f;
#if IN_VEC == 4
                if (offset[i] != OUTSIDE && k < in) v = QUAD(x + offset[i] + k);
#else
                if (offset[i] != OUTSIDE) v = load_quad(x + offset[i] + k, in - k);
#endif
                __local float *to = (__local float *)xs[k_quad] + m;
                to[0] = v.x;
                to[TILE_M + 4] = v.y;
                to[2 * (TILE_M + 4)] = v.z;
                to[3 * (TILE_M + 4)] = v.w;
            }
#pragma unroll
            for (int i = 0; i < LOADS_W; i++) {
                const int k = (item + i * ITEMS) / QUADS_N, n = (item + i * ITEMS) % QUADS_N, o = first_out + 4 * n;
                __global const float *from = weights + (tap * in + k0 + k) * out + o;
                float4 v = 0.0f;
#if OUT_VEC == 4
                if (k0 + k < in && o < out) v = QUAD(from);
#else
                if (k0 + k < in) v = load_quad(from, out - o);
#endif
                ws[k][n] = v;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
            for (int k = 0; k < TILE_K; k++) {
                const float4 b = ws[k][item_n];
#pragma unroll
                for (int q = 0; q < QUADS_M; q++) {
                    const float4 a = xs[k][item_m * QUADS_M + q];
                    sum[4 * q] = fma((float4)(a.x), b, sum[4 * q]);
                    sum[4 * q + 1] = fma((float4)(a.y), b, sum[4 * q + 1]);
                    sum[4 * q + 2] = fma((float4)(a.z), b, sum[4 * q + 2]);
                    sum[4 * q + 3] = fma((float4)(a.w), b, sum[4 * q + 3]);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }

    EPILOGUE_START;
    const int o = first_out + 4 * item_n;
#pragma unroll
    for (int m = 0; m < ITEM_M; m++) {
        const int pixel = first_pixel + item_m * ITEM_M + m, at = pixel * out + o;
        if (pixel >= pixels) continue;
#if OUT_VEC == 4
        if (o < out) {
            EPILOGUE(float4, QUAD, sum[m], at, o);
            *(__global float4 *)(y + at) = sum[m];
        }
#else
        float r[4] = {sum[m].x, sum[m].y, sum[m].z, sum[m].w};
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (o + j < out) {
                EPILOGUE(float, SCALAR, r[j], at + j, o + j);
                y[at + j] = r[j];
            }
#endif
    }
}
