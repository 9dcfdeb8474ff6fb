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

// One item per panel and `rows_per_item` rows, row = tap * in + k.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void weight_to_panels(TENSOR(const float, plain), TENSOR(float, panels), const int taps, const int in,
                                                                              const int out, const int rows_per_item)
{
    START(plain);
    START(panels);
    const int rows = taps * in, panel = GROUP_ID(0), first = GROUP_ID(1) * rows_per_item, last = min(rows, first + rows_per_item);
    const int columns = min(PANEL, out - panel * PANEL);
    for (int row = first; row < last; row++) {
        __global float *to = panels + ((size_t)panel * rows + row) * PANEL;
#if TRANSPOSED
        const int tap = row / in;
        __global const float *from = plain + ((size_t)(taps - 1 - tap) * out + panel * PANEL) * in + (row - tap * in);
        for (int c = 0; c < PANEL; c++) to[c] = c < columns ? from[(size_t)c * in] : 0.0f;
#else
        __global const float *from = plain + (size_t)row * out + panel * PANEL;
        if (columns == PANEL) {
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) vstore16(vload16(v, from), v, to);
        } else {
            for (int c = 0; c < PANEL; c++) to[c] = c < columns ? from[c] : 0.0f;
        }
#endif
    }
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
