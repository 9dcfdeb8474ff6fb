// Weight gradient of a 3x3 convolution or linear layer (one tap), CPU register-tile variant, NHWC.
//   partials [slice][tap][i][o] = sum over the slice's pixels of y of  x(pixel + tap)[i] dy(pixel)[o],  x (n, h, w, in), dy (n, oh, ow, out)
// One item per group; it owns a tap, `rows` input channels, PANEL outputs and a slice of the pixels, which it takes in blocks of BLOCK: the block's part of x
// (zeros where the tap is outside the picture) and of dy (zeros beyond out) is copied into private memory, dense, to be read many times from the nearest
// caches. A TILE_ROWS x PANEL tile of the sum is held in vector registers for a block: per pixel TILE_VECS vector loads of dy, TILE_ROWS broadcasts of x,
// TILE_ROWS * TILE_VECS FMAs; then it is added to the group's sums, so that no sum is a chain of more than BLOCK + slice / BLOCK additions.
// No local memory, no barriers. Groups: (taps * ceil(in / rows), ceil(out / PANEL), ceil(pixels / slice)).
#include "common.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef TILE_ROWS
#define TILE_ROWS 5 // input channels per register tile
#endif
#ifndef TILE_VECS
#define TILE_VECS 5 // float16 vectors of outputs per row of the tile
#endif
#ifndef TILES
#define TILES 32 // tiles per group at most: rows <= TILES * TILE_ROWS
#endif
#ifndef BLOCK
#define BLOCK 64 // pixels
#endif
#ifndef UNROLL
#define UNROLL 4 // of the loop over pixels
#endif
#define PANEL (16 * TILE_VECS)
#include "window.clh"

// Adds the products of `count` pixels to the tile: x[p] points to pixel p's channels, of which the tile takes channel[r].
static inline void accumulate(float16 acc[TILE_ROWS][TILE_VECS], __global const float *const *x, const int channel[TILE_ROWS], const float *dy,
                              const int count)
{
#pragma unroll UNROLL
    for (int p = 0; p < count; p++) {
        __global const float *const a = x[p];
        float16 b[TILE_VECS];
#pragma unroll
        for (int v = 0; v < TILE_VECS; v++) b[v] = vload16(v, dy);
#pragma unroll
        for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) acc[r][v] = fma((float16)(a[channel[r]]), b[v], acc[r][v]);
        dy += PANEL;
    }
}

static inline float16 load_some(__global const float *p, const int count)
{
    float v[16];
    for (int i = 0; i < 16; i++) v[i] = i < count ? p[i] : 0.0f;
    return vload16(0, v);
}

static inline void store_some(const float16 value, __global float *p, const int count)
{
    float v[16];
    vstore16(value, 0, v);
    for (int i = 0; i < count; i++) p[i] = v[i];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_weight_gradient_cpu(TENSOR(const float, x), TENSOR(const float, dy), TENSOR(const float, zeros), TENSOR(float, partials), const int in, const int out, const int pixels,
                         const int first_pixel, const int slice, const int accumulated, const int rows, WINDOW_ARGUMENTS)
{
    START(x);
    START(dy);
    START(zeros);
    START(partials);
    const int parts = (in + rows - 1) / rows, tap = GROUP_ID(0) / parts, first_row = (GROUP_ID(0) - tap * parts) * rows, first_out = GROUP_ID(1) * PANEL;
    const int first = first_pixel + GROUP_ID(2) * slice, last = min(pixels, first + slice);
    const int row_count = min(rows, in - first_row), out_count = min(PANEL, out - first_out), tiles = (row_count + TILE_ROWS - 1) / TILE_ROWS;
    __global const float *xs[BLOCK];
    float16 ys[BLOCK][TILE_VECS];
    float16 sums[TILES][TILE_ROWS][TILE_VECS];
    for (int tile = 0; tile < tiles; tile++)
#pragma unroll
        for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) sums[tile][r][v] = 0.0f;

    for (int block = first; block < last; block += BLOCK) {
        const int count = min(BLOCK, last - block);
        for (int p = 0; p < count; p++) {
            int base, top, left;
            window_at(block + p, h, w, oh, ow, stride, &base, &top, &left);
            const int source = window_pixel(base, top, left, tap, h, w, doubled, dilate);
            xs[p] = source == OUTSIDE ? zeros : x + (size_t)source * in + first_row;
            __global const float *from = dy + (size_t)(block + p) * out + first_out;
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) {
                const int some = out_count - 16 * v;
                ys[p][v] = some >= 16 ? vload16(v, from) : load_some(from + 16 * v, some);
            }
        }
        for (int tile = 0; tile < tiles; tile++) {
            float16 acc[TILE_ROWS][TILE_VECS];
            int channel[TILE_ROWS]; // beyond the last one: any, the result is not stored
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++) {
                channel[r] = min(tile * TILE_ROWS + r, row_count - 1);
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) acc[r][v] = 0.0f;
            }
            accumulate(acc, xs, channel, (const float *)ys, count);
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) sums[tile][r][v] += acc[r][v];
        }
    }

    partials += ((size_t)(GROUP_ID(2) * TAPS + tap) * in + first_row) * out + first_out;
    for (int row = 0; row < row_count; row++)
        for (int v = 0; v < TILE_VECS; v++) {
            __global float *to = partials + (size_t)row * out + 16 * v;
            const int count = out_count - 16 * v;
            float16 sum = sums[row / TILE_ROWS][row % TILE_ROWS][v];
            if (count >= 16) {
                if (accumulated) sum += vload16(0, to);
                STORE16(sum, to);
            } else if (count > 0) {
                if (accumulated) sum += load_some(to, count);
                store_some(sum, to, count);
            }
        }
}
