// Weight gradient of a 3x3 convolution or linear layer (one tap), GPU local-memory variant, NHWC: implicit GEMM over pixels.
//   partials [slice][tap][i][o] = sum over the slice's pixels of y of  x(pixel + tap)[i] dy(pixel)[o],  x (n, h, w, in), dy (n, oh, ow, out)
// The rows (tap, i) stand in quads of input channels, ceil(in / 4) to a tap. A work-group makes a tile of TILE_M rows x TILE_N outputs of one slice, walking
// its pixels in steps of TILE_K through local memory. An item owns ITEM_M consecutive rows x 4 consecutive outputs, so per pixel it reads ITEM_M / 4 + 1 float4
// for 4 ITEM_M FMAs. Sums are taken by blocks of BLOCK pixels, which are added up in partials: registers hold no second sum.
//
//          TILE_N                  local:  xs[TILE_K][TILE_M]
//        +--------+                        ys[TILE_K][TILE_N]
//        |   ys   | TILE_K
// +------+--------+                Any pixels, in, out: edges and pixels outside the picture are loaded as zero, edges are not stored.
// |  xs  |   dw   | TILE_M         Local size (TILE_N / 4, TILE_M / ITEM_M), groups (ceil(out / TILE_N), ceil(TAPS * ceil(in / 4) / (TILE_M / 4)), slices).
// +------+--------+
//  TILE_K
#include "common.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef TILE_M
#define TILE_M 64 // rows per group
#endif
#ifndef TILE_N
#define TILE_N 64 // outputs per group
#endif
#ifndef ITEM_M
#define ITEM_M 4 // rows per item: 4 or 8
#endif
#ifndef IN_VEC
#define IN_VEC 1 // 4: pixels of x are whole float4 and aligned; else 1
#endif
#ifndef OUT_VEC
#define OUT_VEC 1 // 4: the same for dy and partials
#endif
#define TILE_K 16
#define BLOCK 256
#define QUADS_M (TILE_M / 4)
#define QUADS_N (TILE_N / 4)
#define ITEM_QUADS (ITEM_M / 4)
#define ITEMS_M (TILE_M / ITEM_M)
#define ITEMS (QUADS_N * ITEMS_M)
#define LOADS_X (TILE_K * QUADS_M / ITEMS) // float4 per item and step
#define LOADS_Y (TILE_K * QUADS_N / ITEMS)
#include "window.clh"

#define QUAD(p) (*(__global const float4 *)(p))
// 4 values from p on; those from number `count` on are zero.
static inline float4 load_quad(__global const float *p, const int count)
{
    return (float4)(count > 0 ? p[0] : 0.0f, count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f, count > 3 ? p[3] : 0.0f);
}

// Of a quad of rows, `quads` to a tap; TAPS or more beyond the last.
static inline int tap_of(const int quad, const int quads)
{
    return TAPS == 1 ? quad >= quads : quad / quads;
}

__kernel __attribute__((reqd_work_group_size(QUADS_N, ITEMS_M, 1))) void
conv_weight_gradient_gpu(TENSOR(const float, x), TENSOR(const float, dy), TENSOR(float, partials), const int in, const int out, const int pixels,
                         const int slice, WINDOW_ARGUMENTS)
{
    __local float4 xs[TILE_K][QUADS_M], ys[TILE_K][QUADS_N];
    START(x);
    START(dy);
    START(partials);
    const int item_n = get_local_id(0), item_m = get_local_id(1), item = item_m * QUADS_N + item_n;
    const int first = GROUP_ID(2) * slice, last = min(pixels, first + slice), first_out = GROUP_ID(0) * TILE_N, first_quad = GROUP_ID(1) * QUADS_M;
    const int quads = (in + 3) / 4;

    // what this item loads of x: one quad of rows, at pixels x_k + i * ITEMS / QUADS_M of each step
    const int x_quad = item % QUADS_M, x_k = item / QUADS_M, x_tap = tap_of(first_quad + x_quad, quads), x_channel = (first_quad + x_quad - x_tap * quads) * 4;
    for (int block = first; block < last; block += BLOCK) {
        float4 sum[ITEM_M];
#pragma unroll
        for (int m = 0; m < ITEM_M; m++) sum[m] = 0.0f;
        for (int step = block; step < min(last, block + BLOCK); step += TILE_K) {
#pragma unroll
            for (int i = 0; i < LOADS_X; i++) {
                const int k = x_k + i * (ITEMS / QUADS_M), pixel = step + k;
                float4 v = 0.0f;
                if (pixel < last && x_tap < TAPS) {
#if TAPS == 1
                    const int source = pixel;
#else
                    int base, top, left;
                    window_at(pixel, h, w, oh, ow, stride, &base, &top, &left);
                    const int source = window_pixel(base, top, left, x_tap, h, w, doubled, dilate);
#endif
                    __global const float *from = x + source * in + x_channel;
#if IN_VEC == 4
                    if (source != OUTSIDE) v = QUAD(from);
#else
                    if (source != OUTSIDE) v = load_quad(from, in - x_channel);
#endif
                }
                xs[k][x_quad] = v;
            }
#pragma unroll
            for (int i = 0; i < LOADS_Y; i++) {
                const int k = (item + i * ITEMS) / QUADS_N, n = (item + i * ITEMS) % QUADS_N, o = first_out + 4 * n, pixel = step + k;
                __global const float *from = dy + pixel * out + o;
                float4 v = 0.0f;
#if OUT_VEC == 4
                if (pixel < last && o < out) v = QUAD(from);
#else
                if (pixel < last) v = load_quad(from, out - o);
#endif
                ys[k][n] = v;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
            for (int k = 0; k < TILE_K; k++) {
                const float4 b = ys[k][item_n];
#pragma unroll
                for (int q = 0; q < ITEM_QUADS; q++) {
                    const float4 a = xs[k][item_m * ITEM_QUADS + q];
                    sum[4 * q] = fma((float4)(a.x), b, sum[4 * q]);
                    sum[4 * q + 1] = fma((float4)(a.y), b, sum[4 * q + 1]);
                    sum[4 * q + 2] = fma((float4)(a.z), b, sum[4 * q + 2]);
                    sum[4 * q + 3] = fma((float4)(a.w), b, sum[4 * q + 3]);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }

        const int o = first_out + 4 * item_n;
#pragma unroll
        for (int q = 0; q < ITEM_QUADS; q++) {
            const int quad = first_quad + item_m * ITEM_QUADS + q, tap = tap_of(quad, quads), channel = (quad - tap * quads) * 4;
#pragma unroll
            for (int m = 0; m < 4; m++) {
                __global float *to = partials + ((GROUP_ID(2) * TAPS + tap) * in + channel + m) * out + o;
                if (tap >= TAPS || channel + m >= in) continue;
#if OUT_VEC == 4
                if (o < out) *(__global float4 *)to = block > first ? QUAD(to) + sum[4 * q + m] : sum[4 * q + m];
#else
                const float r[4] = {sum[4 * q + m].x, sum[4 * q + m].y, sum[4 * q + m].z, sum[4 * q + m].w};
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if (o + j < out) to[j] = block > first ? to[j] + r[j] : r[j];
#endif
            }
        }
    }
}
