// Weights from [taps][in][out] to panels [ceil(out / PANEL)][taps][in][PANEL], zero beyond out (cl/conv_cpu.cl). One item per (row, panel), row = tap * in + k.
#include "common.clh"
#ifndef TILE_VECS
#define TILE_VECS 5 // float16 vectors per row of a panel
#endif
#define PANEL (16 * TILE_VECS)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void weight_to_panels(TENSOR(const float, plain), TENSOR(float, panels), const int rows,
                                                                              const int out, const int rows_per_item)
{
    START(plain);
    START(panels);
    const int panel = GROUP_ID(0), first = GROUP_ID(1) * rows_per_item, last = min(rows, first + rows_per_item);
    const int columns = min(PANEL, out - panel * PANEL);
    for (int row = first; row < last; row++) {
        __global const float *from = plain + (size_t)row * out + panel * PANEL;
        __global float *to = panels + ((size_t)panel * rows + row) * PANEL;
        if (columns == PANEL) {
#pragma unroll
            for (int v = 0; v < TILE_VECS; v++) vstore16(vload16(v, from), v, to);
        } else {
            for (int c = 0; c < PANEL; c++) to[c] = c < columns ? from[c] : 0.0f;
        }
    }
}
