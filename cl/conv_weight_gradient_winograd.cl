// Weight gradient of a 3x3 convolution of stride 1 as the adjoint of Winograd's F(4x4, 3x3), CPU register-tile variant, NHWC: a quarter of the multiplications of
// conv_weight_gradient_cpu.cl.
//   dw [9][in][out] += sum over the pixels of y of  x(pixel + tap)[i] dy(pixel)[o],  x (n, h, w, in), dy (n, oh, ow, out)
// The tiles are those of conv_winograd.cl, and the host goes through them in slices of `tiles` for the same reason; one slice adds to dw after the other.
//   winograd_input (conv_winograd.cl)   x of the tiles, transformed:  inputs    [ceil(in / X_PANEL)][POSITIONS][tiles][width], zero beyond in; width = X_PANEL, or
//                                       less where in is less
//   winograd_gradient                   dy of the tiles, transformed: gradients [ceil(out / PANEL)][POSITIONS][tiles][PANEL], zero beyond out
//   conv_weight_gradient_winograd       for each position the sum over the tiles of their products; these transformed, added to dw
// One item per group, no local memory, no barriers.
#include "common.clh"
#include "tile.clh"
#include "winograd.clh"
#define TILES 16 // register tiles side by side in a panel of inputs
#define X_PANEL (TILES * TILE_ROWS)

// Group: one tile of pixels. Outside the picture dy is zero.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_gradient(TENSOR(const float, dy), TENSOR(const float, zeros), TENSOR(float, gradients), const int out,
                                                                               const int first, const int tiles, const int oh, const int ow)
{
    START(dy);
    START(zeros);
    START(gradients);
    const int tile = GROUP_ID(0), panels = (out + PANEL - 1) / PANEL;
    int picture, top, left;
    tile_at(first + tile, oh, ow, &picture, &top, &left);
    __global const float *from[OUTPUTS][OUTPUTS];
    for (int i = 0; i < OUTPUTS; i++)
        for (int j = 0; j < OUTPUTS; j++)
            from[i][j] = top + i < oh && left + j < ow ? dy + (size_t)((picture * oh + top + i) * ow + left + j) * out : zeros;
    const size_t apart = (size_t)tiles * PANEL; // from a position to the next
    gradients += (size_t)tile * PANEL;
    for (int c = 0; c < panels * PANEL; c += 16) {
        __global float *to = gradients + (size_t)(c / PANEL) * POSITIONS * apart + c % PANEL;
        const int count = out - c;
        float16 columns[OUTPUTS][INPUTS]; // of the block transformed down its columns
#pragma unroll
        for (int j = 0; j < OUTPUTS; j++) {
            float16 y[OUTPUTS];
#pragma unroll
            for (int i = 0; i < OUTPUTS; i++) y[i] = load_most(from[i][j] + c, count);
            winograd_output_adjoint(y, columns[j]);
        }
#pragma unroll
        for (int i = 0; i < INPUTS; i++) {
            float16 y[OUTPUTS], t[INPUTS];
#pragma unroll
            for (int j = 0; j < OUTPUTS; j++) y[j] = columns[j][i];
            winograd_output_adjoint(y, t);
#pragma unroll
            for (int j = 0; j < INPUTS; j++) STORE16(t[j], to + (i * INPUTS + j) * apart);
        }
    }
}

// Adds the products of `count` tiles of pixels, of whose inputs `width` and of whose gradients PANEL lie in a row.
static inline void accumulate_tiles(float16 acc[TILE_ROWS][TILE_VECS], __global const float *x, const int width, __global const float *dy, const int count)
{
#pragma unroll UNROLL
    for (int tile = 0; tile < count; tile++) {
        float column[TILE_ROWS];
        float16 row[TILE_VECS];
#pragma unroll
        for (int r = 0; r < TILE_ROWS; r++) column[r] = x[r];
#pragma unroll
        for (int v = 0; v < TILE_VECS; v++) row[v] = vload16(v, dy);
        add_product(acc, column, row);
        x += width;
        dy += PANEL;
    }
}

// Group: a panel of gradients, and `share` register tiles of one of inputs; share divides TILES. A line of positions at a time, so that a second-level cache holds
// what lies between: a line's sums, transformed along the line, are added to the sums of the nine taps.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_weight_gradient_winograd(TENSOR(const float, inputs), TENSOR(const float, gradients), TENSOR(float, dw),
                                                                                           const int in, const int out, const int width, const int tiles, const int share)
{
    START(inputs);
    START(gradients);
    START(dw);
    const int first = GROUP_ID(0) * share * TILE_ROWS, x_panel = first / X_PANEL, first_out = GROUP_ID(1) * PANEL;
    const int rows = min(share * TILE_ROWS, in - first), tile_count = (rows + TILE_ROWS - 1) / TILE_ROWS;
    inputs += (size_t)x_panel * POSITIONS * tiles * width + (first - x_panel * X_PANEL);
    gradients += (size_t)GROUP_ID(1) * POSITIONS * tiles * PANEL;
    float16 line[INPUTS][TILES][TILE_ROWS][TILE_VECS], taps[3][3][TILES][TILE_ROWS][TILE_VECS];

    for (int i = 0; i < INPUTS; i++) {
        for (int j = 0; j < INPUTS; j++) {
            const size_t position = i * INPUTS + j;
            for (int t = 0; t < tile_count; t++) {
                float16 acc[TILE_ROWS][TILE_VECS];
#pragma unroll
                for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                    for (int v = 0; v < TILE_VECS; v++) acc[r][v] = 0.0f;
                accumulate_tiles(acc, inputs + position * tiles * width + t * TILE_ROWS, width, gradients + position * tiles * PANEL, tiles);
#pragma unroll
                for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                    for (int v = 0; v < TILE_VECS; v++) line[j][t][r][v] = acc[r][v];
            }
        }
        const float16 unit[INPUTS] = {i == 0, i == 1, i == 2, i == 3, i == 4, i == 5};
        float16 weights[3]; // of the line in the taps' rows
        winograd_weight_adjoint(unit, weights);
        for (int t = 0; t < tile_count; t++)
            for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) {
                    float16 m[INPUTS], g[3];
#pragma unroll
                    for (int j = 0; j < INPUTS; j++) m[j] = line[j][t][r][v];
                    winograd_weight_adjoint(m, g);
#pragma unroll
                    for (int a = 0; a < 3; a++)
#pragma unroll
                        for (int b = 0; b < 3; b++) taps[a][b][t][r][v] = fma(weights[a], g[b], i == 0 ? 0.0f : taps[a][b][t][r][v]);
                }
    }

    for (int tap = 0; tap < 9; tap++)
        for (int row = 0; row < rows; row++)
            for (int v = 0; v < TILE_VECS; v++) {
                const int count = out - first_out - 16 * v;
                __global float *to = dw + ((size_t)tap * in + first + row) * out + first_out + 16 * v;
                const float16 sum = taps[tap / 3][tap % 3][row / TILE_ROWS][row % TILE_ROWS][v];
                if (count >= 16) STORE16(vload16(0, to) + sum, to);
                else if (count > 0) store_some(load_some(to, count) + sum, to, count);
            }
}
