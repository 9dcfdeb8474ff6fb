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
#define ROWS (TILES * TILE_ROWS)
#include "window.clh"

// `count` floats, then zeros up to `padded`; all zeros where from is null.
static inline void copy_row(__global const float *from, const int count, const int padded, float *to)
{
    int i = 0;
    if (from) {
        for (; i + 16 <= count; i += 16) vstore16(vload16(0, from + i), 0, to + i);
        for (; i < count; i++) to[i] = from[i];
    }
    for (; i < padded; i++) to[i] = 0.0f;
}

// Adds the products of `count` pixels to the tile.
static inline void accumulate(float16 acc[TILE_ROWS][TILE_VECS], const float *x, const float *dy, const int count)
{
#pragma unroll UNROLL
    for (int p = 0; p < count; p++) {
        float16 b[TILE_VECS];
#pragma unroll
        for (int v = 0; v < TILE_VECS; v++) b[v] = vload16(v, dy);
#pragma unroll
        for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) acc[r][v] = fma((float16)(x[r]), b[v], acc[r][v]);
        x += ROWS;
        dy += PANEL;
    }
}

static inline void store_some(const float16 value, __global float *p, const int count)
{
    float v[16];
    vstore16(value, 0, v);
    for (int i = 0; i < count; i++) p[i] = v[i];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_weight_gradient_cpu(TENSOR(const float, x), TENSOR(const float, dy), TENSOR(float, partials), const int in, const int out, const int pixels,
                         const int slice, const int rows, WINDOW_ARGUMENTS)
{
    START(x);
    START(dy);
    START(partials);
    const int parts = (in + rows - 1) / rows, tap = GROUP_ID(0) / parts, first_row = (GROUP_ID(0) - tap * parts) * rows, first_out = GROUP_ID(1) * PANEL;
    const int first = GROUP_ID(2) * slice, last = min(pixels, first + slice);
    const int row_count = min(rows, in - first_row), out_count = min(PANEL, out - first_out), tiles = (row_count + TILE_ROWS - 1) / TILE_ROWS;
    float xs[BLOCK * ROWS], ys[BLOCK * PANEL];
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
            copy_row(source == OUTSIDE ? 0 : x + (size_t)source * in + first_row, row_count, tiles * TILE_ROWS, xs + p * ROWS);
            copy_row(dy + (size_t)(block + p) * out + first_out, out_count, PANEL, ys + p * PANEL);
        }
        for (int tile = 0; tile < tiles; tile++) {
            float16 acc[TILE_ROWS][TILE_VECS];
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) acc[r][v] = 0.0f;
            accumulate(acc, xs + tile * TILE_ROWS, ys, count);
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) sums[tile][r][v] += acc[r][v];
        }
    }

    partials += ((size_t)(GROUP_ID(2) * TAPS + tap) * in + first_row) * out + first_out;
    for (int row = 0; row < row_count; row++)
        for (int v = 0; v < TILE_VECS; v++) {
            const float16 sum = sums[row / TILE_ROWS][row % TILE_ROWS][v];
            __global float *to = partials + (size_t)row * out + 16 * v;
            if (out_count >= 16 * v + 16) vstore16(sum, 0, to);
            else store_some(sum, to, out_count - 16 * v);
        }
}
