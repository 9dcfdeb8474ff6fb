// Weight gradient of a 3x3 convolution or linear layer (one tap), CPU register-tile variant, NHWC.
//   partials [slice][tap][i][o] = sum over the slice's pixels of y of  x(pixel + tap)[i] dy(pixel)[o],  x (n, h, w, in), dy (n, oh, ow, out)
// One item per group; it owns a tap, `rows` input channels, PANELS panels of PANEL outputs and a slice of the pixels, which it takes in blocks of BLOCK: the
// block's part of x (zeros where the tap is outside the picture) and of dy (zeros beyond out) is copied into private memory, dense, to be read many times from
// the nearest caches; meanwhile the next block's part is fetched. A TILE_ROWS x PANEL tile of the sum is held in vector registers for a block: per pixel TILE_VECS vector loads of dy, TILE_ROWS broadcasts
// of x, TILE_ROWS * TILE_VECS FMAs; then it is added to the group's sums, so that no sum is a chain of more than BLOCK + slice / BLOCK additions.
// No local memory, no barriers. Groups: (taps * ceil(in / rows), ceil(out / (PANELS * PANEL)), ceil(pixels / slice)).
#include "common.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef TILES
#define TILES 32 // tiles of a panel at most: rows <= TILES * TILE_ROWS
#endif
#ifndef PANELS
#define PANELS 1
#endif
#ifndef BLOCK
#define BLOCK 64 // pixels
#endif
#include "tile.clh"
#define X_VECTORS ((TILES * TILE_ROWS + 15) / 16 | 1) // of a pixel's channels; odd, so that a channel's cache lines lie in all sets of a cache
#include "window.clh"

// Adds the products of `count` pixels to the tile, whose channels of the first pixel begin at x.
static inline void accumulate_pixels(float16 acc[TILE_ROWS][TILE_VECS], const float *x, const float *dy, const int count)
{
#pragma unroll UNROLL
    for (int p = 0; p < count; p++) {
        float16 row[TILE_VECS];
#pragma unroll
        for (int v = 0; v < TILE_VECS; v++) row[v] = vload16(v, dy);
        add_product(acc, x, row);
        x += 16 * X_VECTORS;
        dy += PANEL;
    }
}

static inline void prefetch_floats(__global const float *p, const int count)
{
    for (int i = 0; i < count; i += 16) {
        PREFETCH(p + i);
    }
}

// x under the tap at a pixel of y.
static inline __global const float *under_tap(__global const float *x, __global const float *zeros, const int in, const int pixel, const int tap, WINDOW_ARGUMENTS)
{
    int source = pixel;
    if (TAPS > 1) {
        int base, top, left;
        window_at(pixel, h, w, oh, ow, stride, &base, &top, &left);
        source = window_pixel(base, top, left, tap, h, w, doubled, dilate);
    }
    return source == OUTSIDE ? zeros : x + (size_t)source * in;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_weight_gradient_cpu(TENSOR(const float, x), TENSOR(const float, dy), TENSOR(const float, zeros), TENSOR(float, partials), const int in, const int out, const int pixels,
                         const int first_pixel, const int slice, const int accumulated, const int rows, WINDOW_ARGUMENTS)
{
    START(x);
    START(dy);
    START(zeros);
    START(partials);
    const int parts = (in + rows - 1) / rows, tap = GROUP_ID(0) / parts, first_row = (GROUP_ID(0) - tap * parts) * rows;
    const int first_out = GROUP_ID(1) * PANELS * PANEL, out_count = min(PANELS * PANEL, out - first_out), panels = (out_count + PANEL - 1) / PANEL;
    const int first = first_pixel + GROUP_ID(2) * slice, last = min(pixels, first + slice);
    const int row_count = min(rows, in - first_row), tiles = (row_count + TILE_ROWS - 1) / TILE_ROWS;
    float16 xs[BLOCK][X_VECTORS], ys[BLOCK][TILE_VECS];
    float16 sums[PANELS][TILES][TILE_ROWS][TILE_VECS];
    for (int panel = 0; panel < panels; panel++)
        for (int tile = 0; tile < tiles; tile++)
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) sums[panel][tile][r][v] = 0.0f;

    __global const float *from[BLOCK]; // x at a block's pixels
    x += first_row;
    dy += first_out;
    for (int p = 0; p < min(BLOCK, last - first); p++) from[p] = under_tap(x, zeros, in, first + p, tap, h, w, oh, ow, stride, doubled, dilate);
    for (int block = first; block < last; block += BLOCK) {
        const int count = min(BLOCK, last - block), next = block + count, next_count = min(BLOCK, last - next);
        for (int p = 0; p < count; p++)
            for (int v = 0; 16 * v < tiles * TILE_ROWS; v++) xs[p][v] = load_most(from[p] + 16 * v, row_count - 16 * v);
        for (int p = 0; p < next_count; p++) from[p] = under_tap(x, zeros, in, next + p, tap, h, w, oh, ow, stride, doubled, dilate);
        int fetched = 0;
        for (int panel = 0; panel < panels; panel++) {
            const int some = out_count - PANEL * panel;
            for (int p = 0; p < count; p++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) ys[p][v] = load_most(dy + (size_t)(block + p) * out + PANEL * panel + 16 * v, some - 16 * v);
            for (int tile = 0; tile < tiles; tile++) {
                for (; fetched * panels * tiles < next_count * (panel * tiles + tile + 1); fetched++) {
                    prefetch_floats(from[fetched], row_count);
                    prefetch_floats(dy + (size_t)(next + fetched) * out, out_count);
                }
                float16 acc[TILE_ROWS][TILE_VECS];
#pragma unroll
                for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                    for (int v = 0; v < TILE_VECS; v++) acc[r][v] = 0.0f;
                accumulate_pixels(acc, (const float *)xs + tile * TILE_ROWS, (const float *)ys, count);
#pragma unroll
                for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                    for (int v = 0; v < TILE_VECS; v++) sums[panel][tile][r][v] += acc[r][v];
            }
        }
    }

    partials += ((size_t)(GROUP_ID(2) * TAPS + tap) * in + first_row) * out + first_out;
    for (int row = 0; row < row_count; row++)
        for (int v = 0; v < panels * TILE_VECS; v++) {
            __global float *to = partials + (size_t)row * out + 16 * v;
            const int count = out_count - 16 * v;
            float16 sum = sums[v / TILE_VECS][row / TILE_ROWS][row % TILE_ROWS][v % TILE_VECS];
            if (count >= 16) {
                if (accumulated) sum += vload16(0, to);
                STORE16(sum, to);
            } else if (count > 0) {
                if (accumulated) sum += load_some(to, count);
                store_some(sum, to, count);
            }
        }
}
