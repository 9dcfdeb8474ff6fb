// A 3x3 weight [9][in][out] transformed for cl/conv_winograd.cl: [ceil(out / PANEL)][POSITIONS][in][PANEL], zero beyond out. With TRANSPOSED the operand, in x out, is
// read from the weight [9][out][in], the taps in reverse, as in weight.cl.
#include "common.clh"
#include "winograd.clh"
#ifndef TILE_VECS
#define TILE_VECS 5 // float16 vectors per row of a panel
#endif
#ifndef TRANSPOSED
#define TRANSPOSED 0
#endif
#define PANEL (16 * TILE_VECS)

// 16 x 16 values of one tap, from input channel k and output channel c on, zero beyond in and out.
static inline void load_square(__global const float *plain, const int tap, const int in, const int out, const int k, const int c, float square[16][16])
{
    const int rows = min(16, in - k), columns = min(16, out - c);
    if (rows < 16 || columns < 16)
        for (int i = 0; i < 16; i++) vstore16((float16)(0.0f), 0, square[i]);
#if TRANSPOSED
    __global const float *from = plain + ((size_t)(8 - tap) * out + c) * in + k;
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < rows; i++) square[i][j] = from[(size_t)j * in + i];
#else
    __global const float *from = plain + ((size_t)tap * in + k) * out + c;
    for (int i = 0; i < rows; i++)
        if (columns == 16) vstore16(vload16(0, from + (size_t)i * out), 0, square[i]);
        else
            for (int j = 0; j < columns; j++) square[i][j] = from[(size_t)i * out + j];
#endif
}

// One item per panel and 16 input channels.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void weight_to_winograd(TENSOR(const float, plain), TENSOR(float, panels), const int in, const int out)
{
    START(plain);
    START(panels);
    const int panel = GROUP_ID(0), first = GROUP_ID(1) * 16, rows = min(16, in - first);
    panels += (size_t)panel * POSITIONS * in * PANEL;
    for (int v = 0; v < TILE_VECS; v++) {
        float squares[9][16][16];
        for (int tap = 0; tap < 9; tap++) load_square(plain, tap, in, out, first, panel * PANEL + 16 * v, squares[tap]);
        for (int k = 0; k < rows; k++) {
            float16 columns[3][INPUTS];
#pragma unroll
            for (int j = 0; j < 3; j++) {
                float16 g[3];
#pragma unroll
                for (int i = 0; i < 3; i++) g[i] = vload16(0, squares[3 * i + j][k]);
                winograd_weight_transform(g, columns[j]);
            }
#pragma unroll
            for (int i = 0; i < INPUTS; i++) {
                const float16 g[3] = {columns[0][i], columns[1][i], columns[2][i]};
                float16 t[INPUTS];
                winograd_weight_transform(g, t);
#pragma unroll
                for (int j = 0; j < INPUTS; j++) STORE16(t[j], panels + ((size_t)(i * INPUTS + j) * in + first + k) * PANEL + 16 * v);
            }
        }
    }
}
