// Weights [taps][in][out] in the layouts that kernels read.
//
//   weight_to_panels   [ceil(out / PANEL)][taps][in][PANEL], zero beyond out (cl/conv_cpu.cl)
//   weight_transpose   the transposed operand as it is
//
// The transposed operand of a weight [taps][k][c] is [taps][c][k] with the taps in reverse: a convolution with it is the gradient with respect to x of one
// with the weight. weight_to_panels reads its operand, in x out, transposed from `plain` where TRANSPOSED is 1.
#include "common.clh"
#ifndef TILE_VECS
#define TILE_VECS 5 // float16 vectors per row of a panel
#endif
#ifndef TRANSPOSED
#define TRANSPOSED 0
#endif
#ifndef SIDE
#define SIDE 16 // of the squares that weight_transpose turns
#endif
#define PANEL (16 * TILE_VECS)

// to[i][j] = from[j][i], a square of 4 x 4 between rows of PANEL and rows of `pitch`.
static inline void turn_square(__global const float *from, const int pitch, __global float *to)
{
    const float4 a = vload4(0, from), b = vload4(0, from + pitch), c = vload4(0, from + 2 * pitch), d = vload4(0, from + 3 * pitch);
    vstore4((float4)(a.x, b.x, c.x, d.x), 0, to);
    vstore4((float4)(a.y, b.y, c.y, d.y), 0, to + PANEL);
    vstore4((float4)(a.z, b.z, c.z, d.z), 0, to + 2 * PANEL);
    vstore4((float4)(a.w, b.w, c.w, d.w), 0, to + 3 * PANEL);
}

// `count` rows of a panel from as many columns of plain, whose rows are `pitch` long and of which `columns` are there.
static inline void turn_rows(__global const float *from, const int pitch, const int columns, const int count, __global float *to)
{
    for (int c = 0; c < PANEL; c += 4)
        for (int r = 0; r < count; r += 4) {
            __global const float *square = from + (size_t)c * pitch + r;
            if (c + 4 <= columns && r + 4 <= count) {
                turn_square(square, pitch, to + r * PANEL + c);
                continue;
            }
            for (int i = 0; i < min(4, count - r); i++)
                for (int j = 0; j < 4; j++) to[(r + i) * PANEL + c + j] = c + j < columns ? square[(size_t)j * pitch + i] : 0.0f;
        }
}

// One item per panel and `rows_per_item` rows, row = tap * in + k.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void weight_to_panels(TENSOR(const float, plain), TENSOR(float, panels), const int taps, const int in,
                                                                              const int out, const int rows_per_item)
{
    START(plain);
    START(panels);
    const int rows = taps * in, panel = GROUP_ID(0), first = GROUP_ID(1) * rows_per_item, last = min(rows, first + rows_per_item);
    const int columns = min(PANEL, out - panel * PANEL);
    panels += (size_t)panel * rows * PANEL;
#if TRANSPOSED
    int count; // a cache line of each column at a time
    for (int row = first; row < last; row += count) {
        const int tap = row / in, k = row - tap * in;
        count = min(min(16, in - k), last - row);
        turn_rows(plain + ((size_t)(taps - 1 - tap) * out + panel * PANEL) * in + k, in, columns, count, panels + (size_t)row * PANEL);
    }
#else
    for (int row = first; row < last; row++) {
        __global float *to = panels + (size_t)row * PANEL;
        __global const float *from = plain + (size_t)row * out + panel * PANEL;
        if (columns == PANEL) {
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) STORE16(vload16(v, from), to + 16 * v);
        } else {
            for (int c = 0; c < PANEL; c++) to[c] = c < columns ? from[c] : 0.0f;
        }
    }
#endif
}

// y [taps in reverse][columns][rows] = x [taps][rows][columns], in squares of SIDE through local memory. Local size (SIDE, SIDE / 4), groups (ceil(columns / SIDE),
// ceil(rows / SIDE), taps).
__kernel __attribute__((reqd_work_group_size(SIDE, SIDE / 4, 1))) void weight_transpose(TENSOR(const float, x), TENSOR(float, y), const int taps,
                                                                                         const int rows, const int columns)
{
    __local float square[SIDE][SIDE + 1];
    START(x);
    START(y);
    const int tap = GROUP_ID(2), item = get_local_id(0), line = get_local_id(1), first_row = GROUP_ID(1) * SIDE, first_column = GROUP_ID(0) * SIDE;
    x += (size_t)tap * rows * columns;
    y += (size_t)(taps - 1 - tap) * rows * columns;
    for (int i = line; i < SIDE; i += SIDE / 4)
        if (first_row + i < rows && first_column + item < columns) square[i][item] = x[(first_row + i) * columns + first_column + item];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = line; i < SIDE; i += SIDE / 4)
        if (first_column + i < columns && first_row + item < rows) y[(first_column + i) * rows + first_row + item] = square[item][i];
}
