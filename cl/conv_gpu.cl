// Convolution 3x3 and linear layer (one tap), GPU local-memory variant, NHWC: implicit GEMM.
//   y (pixels x out) = epilogue(sum over taps of x(pixel + tap) W[tap]),  x (n, h, w, in), y (n, oh, ow, out), W [TAPS][in][out]
// A work-group makes a TILE_M x TILE_N tile of y (pixels of all samples in a row), walking taps and, within a tap, input channels in steps
// of TILE_K through local memory. An item owns ITEM_M consecutive pixels x 4 consecutive outputs, so per channel it reads ITEM_M / 4 + 1
// float4 for 4 ITEM_M FMAs.
//
//          TILE_N                  local:  xs[BUFFERS][TILE_K][TILE_M + 4]  (x transposed; + 4 spreads the banks and keeps float4 aligned)
//        +--------+                        ws[BUFFERS][TILE_K][TILE_N]
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
#ifndef BUFFERS
#define BUFFERS 1 // 2: the next step's values are on their way into registers while this step's are used; one barrier a step, not two
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

// Where the item's pixels lie in x under a tap.
static inline void locate(int offset[LOADS_X], const int base[LOADS_X], const int top[LOADS_X], const int left[LOADS_X], const int tap, const int h,
                          const int w, const int doubled, const int dilate, const int in)
{
#pragma unroll
    for (int i = 0; i < LOADS_X; i++) {
        const int source = window_pixel(base[i], top[i], left[i], tap, h, w, doubled, dilate);
        offset[i] = source != OUTSIDE ? source * in : OUTSIDE;
    }
}

// Channels k..k+3 of the item's pixels.
static inline void fetch_x(float4 v[LOADS_X], __global const float *x, const int offset[LOADS_X], const int k, const int in)
{
#pragma unroll
    for (int i = 0; i < LOADS_X; i++) {
        v[i] = 0.0f;
#if IN_VEC == 4
        if (offset[i] != OUTSIDE && k < in) v[i] = QUAD(x + offset[i] + k);
#else
        if (offset[i] != OUTSIDE) v[i] = load_quad(x + offset[i] + k, in - k);
#endif
    }
}

// The item's quads of rows k0..k0+TILE_K-1 of a tap's W.
static inline void fetch_w(float4 v[LOADS_W], __global const float *w, const int item, const int first_out, const int k0, const int in, const int out)
{
#pragma unroll
    for (int i = 0; i < LOADS_W; i++) {
        const int k = k0 + (item + i * ITEMS) / QUADS_N, o = first_out + (item + i * ITEMS) % QUADS_N * 4;
        v[i] = 0.0f;
#if OUT_VEC == 4
        if (k < in && o < out) v[i] = QUAD(w + k * out + o);
#else
        if (k < in) v[i] = load_quad(w + k * out + o, out - o);
#endif
    }
}

__kernel __attribute__((reqd_work_group_size(QUADS_N, ITEMS_M, 1))) void conv_gpu(TENSOR(const float, x), TENSOR(const float, weights),
                                                                                  EPILOGUE_ARGUMENTS, TENSOR(float, y), const int in,
                                                                                  const int out, const int pixels, WINDOW_ARGUMENTS)
{
    __local float4 xs[BUFFERS][TILE_K][TILE_M / 4 + 1], ws[BUFFERS][TILE_K][QUADS_N];
    START(x);
    START(weights);
    START(y);
    const int item_n = get_local_id(0), item_m = get_local_id(1), item = item_m * QUADS_N + item_n;
    const int first_pixel = GROUP_ID(1) * TILE_M, first_out = GROUP_ID(0) * TILE_N;

    // what this item loads: channels k_quad..k_quad+3 of the pixels x_pixel + i * ITEMS / QUADS_K, and quads of W's rows
    const int k_quad = item % QUADS_K * 4, x_pixel = item / QUADS_K;
    int base[LOADS_X], top[LOADS_X], left[LOADS_X], offset[LOADS_X];
#pragma unroll
    for (int i = 0; i < LOADS_X; i++) {
        const int pixel = first_pixel + x_pixel + i * (ITEMS / QUADS_K);
        window_at(pixel, h, w, oh, ow, stride, &base[i], &top[i], &left[i]);
        if (pixel >= pixels) top[i] = -4; // no tap of it is inside
    }
    float4 sum[ITEM_M], x_values[LOADS_X], w_values[LOADS_W];
#pragma unroll
    for (int m = 0; m < ITEM_M; m++) sum[m] = 0.0f;

    const int steps = TAPS * ((in + TILE_K - 1) / TILE_K);
    int tap = 0, k0 = 0;
#define FETCH_X                                                                       \
    {                                                                                 \
        if (k0 == 0) locate(offset, base, top, left, tap, h, w, doubled, dilate, in); \
        fetch_x(x_values, x, offset, k0 + k_quad, in);                                \
    }
#define FETCH_W                                                                           \
    {                                                                                     \
        fetch_w(w_values, weights + tap * in * out, item, first_out, k0, in, out);        \
        k0 = k0 + TILE_K < in ? k0 + TILE_K : 0;                                          \
        tap += k0 == 0;                                                                   \
    }
#if BUFFERS == 2
    FETCH_X;
    FETCH_W;
#endif
    for (int step = 0; step < steps; step++) {
        const int buffer = step % BUFFERS;
#if BUFFERS == 1
        FETCH_X;
#endif
#pragma unroll
        for (int i = 0; i < LOADS_X; i++) {
            __local float *to = (__local float *)xs[buffer][k_quad] + x_pixel + i * (ITEMS / QUADS_K);
            to[0] = x_values[i].x;
            to[TILE_M + 4] = x_values[i].y;
            to[2 * (TILE_M + 4)] = x_values[i].z;
            to[3 * (TILE_M + 4)] = x_values[i].w;
        }
#if BUFFERS == 1
        FETCH_W;
#endif
#pragma unroll
        for (int i = 0; i < LOADS_W; i++) ws[buffer][(item + i * ITEMS) / QUADS_N][(item + i * ITEMS) % QUADS_N] = w_values[i];
        barrier(CLK_LOCAL_MEM_FENCE);
#if BUFFERS == 2
        if (step + 1 < steps) {
            FETCH_X;
            FETCH_W;
        }
#endif
#pragma unroll
        for (int k = 0; k < TILE_K; k++) {
            const float4 b = ws[buffer][k][item_n];
#pragma unroll
            for (int q = 0; q < QUADS_M; q++) {
                const float4 a = xs[buffer][k][item_m * QUADS_M + q];
                sum[4 * q] = fma((float4)(a.x), b, sum[4 * q]);
                sum[4 * q + 1] = fma((float4)(a.y), b, sum[4 * q + 1]);
                sum[4 * q + 2] = fma((float4)(a.z), b, sum[4 * q + 2]);
                sum[4 * q + 3] = fma((float4)(a.w), b, sum[4 * q + 3]);
            }
        }
#if BUFFERS == 1
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
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
