// Weight gradient of a 3x3 convolution or linear layer (one tap), matrix-unit variant, NHWC: implicit GEMM over pixels of 16-bit operands with float32 sums
// (matrix.clh).
//   partials [slice][tap][i][o] = sum over the slice's pixels of y of  x(pixel + tap)[i] dy(pixel)[o],  x (n, h, w, in), dy (n, oh, ow, out)
// x and dy as they are stored; where that is float32 they are rounded to MATRIX_TYPE on their way. The rows (tap, i) stand in eights of input channels,
// ceil(in / 8) to a tap. A work-group makes a tile of TILE_M rows x TILE_N outputs of one slice, walking its pixels in steps of TILE_K through local memory,
// where pairs of pixels lie. Each of its teams (matrix.clh) makes a PART_M x PART_N part.
//
//          TILE_N                  local:  xs[TILE_K / 2][TILE_M + 8]      + 8: a team's loads meet every bank once
//        +--------+                        ys[TILE_K / 2][TILE_N + 8]
//        |   ys   | TILE_K
// +------+--------+                Any pixels, in, out: edges and pixels outside the picture are loaded as zero, edges are not stored.
// |  xs  |   dw   | TILE_M         Local size (ITEMS), groups (ceil(out / TILE_N), ceil(TAPS * ceil(in / 8) / (TILE_M / 8)), slices).
// +------+--------+
//  TILE_K
#include "common.clh"
#include "storage.clh"
#include "matrix.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef TILE_M
#define TILE_M 64 // rows per group
#endif
#ifndef TILE_N
#define TILE_N 64 // outputs per group
#endif
#ifndef PART_M
#define PART_M 32 // rows per team, a multiple of MATRIX_M
#endif
#ifndef PART_N
#define PART_N 32 // outputs per team, a multiple of MATRIX_N
#endif
#ifndef X_TYPE
#define X_TYPE MATRIX_TYPE // f32 or MATRIX_TYPE
#endif
#ifndef Y_TYPE
#define Y_TYPE MATRIX_TYPE // of dy, likewise
#endif
#ifndef EIGHTS
#define EIGHTS 0 // 1: in and out are multiples of 8, x and dy aligned to 16 bytes
#endif
#define TILE_K 32
#define PAIRS (TILE_K / 2)
#define X_STEP (TILE_M + 8)
#define Y_STEP (TILE_N + 8)
#define TEAMS_N (TILE_N / PART_N)
#define TEAMS (TILE_M / PART_M * TEAMS_N)
#define ITEMS (TEAMS * MATRIX_TEAM)
#define EIGHTS_M (TILE_M / 8)
#define EIGHTS_N (TILE_N / 8)
#define LOADS_X (PAIRS * EIGHTS_M / ITEMS) // eights of two pixels, per item and step
#define LOADS_Y (PAIRS * EIGHTS_N / ITEMS)
#define SUMS_M (PART_M / MATRIX_M)
#define SUMS_N (PART_N / MATRIX_N)
#include "matrix_load.clh"
#include "window.clh"

// The pixel of x under a tap of the window at a pixel of y, or OUTSIDE.
static inline int source_pixel(const int pixel, const int tap, const int h, const int w, const int oh, const int ow, const int stride, const int doubled,
                               const int dilate)
{
#if TAPS == 1
    return pixel;
#else
    int base, top, left;
    window_at(pixel, h, w, oh, ow, stride, &base, &top, &left);
    return window_pixel(base, top, left, tap, h, w, doubled, dilate);
#endif
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) MATRIX_ATTRIBUTES void
conv_weight_gradient_matrix(TENSOR(const OPERAND(X_TYPE), x), TENSOR(const OPERAND(Y_TYPE), dy), TENSOR(float, partials), const int in, const int out,
                            const int pixels, const int slice, WINDOW_ARGUMENTS)
{
    __local uint4 xs_quads[PAIRS * X_STEP / 4], ys_quads[PAIRS * Y_STEP / 4];
    MATRIX_SCRATCH(scratch, TEAMS);
    START(x);
    START(dy);
    START(partials);
    __local const uint *xs = (__local const uint *)xs_quads, *ys = (__local const uint *)ys_quads;
    const int item = get_local_id(0), lane = item % MATRIX_TEAM, team = item / MATRIX_TEAM;
    const int first = GROUP_ID(2) * slice, last = min(pixels, first + slice), first_out = GROUP_ID(0) * TILE_N, first_eight = GROUP_ID(1) * EIGHTS_M;
    const int part_m = team / TEAMS_N * PART_M, part_n = team % TEAMS_N * PART_N, eights = (in + 7) / 8;

    // what this item loads: one eight of rows, and one of outputs
    const int x_eight = item % EIGHTS_M, x_tap = (first_eight + x_eight) / eights, x_channel = (first_eight + x_eight - x_tap * eights) * 8;
    const int y_eight = item % EIGHTS_N, y_out = first_out + 8 * y_eight;
    matrix_sum sum[SUMS_M][SUMS_N];
#pragma unroll MATRIX_UNROLL
    for (int m = 0; m < SUMS_M; m++)
#pragma unroll MATRIX_UNROLL
        for (int n = 0; n < SUMS_N; n++) sum[m][n] = 0.0f;

    for (int step = first; step < last; step += TILE_K) {
#pragma unroll MATRIX_UNROLL
        for (int i = 0; i < LOADS_X; i++) {
            const int pair = item / EIGHTS_M + i * (ITEMS / EIGHTS_M);
            uint4 v[2];
#pragma unroll MATRIX_UNROLL
            for (int j = 0; j < 2; j++) {
                const int pixel = step + 2 * pair + j;
                int source = OUTSIDE;
                if (pixel < last && x_tap < TAPS) source = source_pixel(pixel, x_tap, h, w, oh, ow, stride, doubled, dilate);
                v[j] = LOAD_EIGHT(X_TYPE, x + source * in + x_channel, source != OUTSIDE ? in - x_channel : 0);
            }
            across_rows(v[0], v[1], &v[0], &v[1]);
            xs_quads[(pair * X_STEP) / 4 + 2 * x_eight] = v[0];
            xs_quads[(pair * X_STEP) / 4 + 2 * x_eight + 1] = v[1];
        }
#pragma unroll MATRIX_UNROLL
        for (int i = 0; i < LOADS_Y; i++) {
            const int pair = item / EIGHTS_N + i * (ITEMS / EIGHTS_N);
            uint4 v[2];
#pragma unroll MATRIX_UNROLL
            for (int j = 0; j < 2; j++) {
                const int pixel = step + 2 * pair + j;
                v[j] = LOAD_EIGHT(Y_TYPE, dy + pixel * out + y_out, pixel < last ? out - y_out : 0);
            }
            across_rows(v[0], v[1], &v[0], &v[1]);
            ys_quads[(pair * Y_STEP) / 4 + 2 * y_eight] = v[0];
            ys_quads[(pair * Y_STEP) / 4 + 2 * y_eight + 1] = v[1];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll MATRIX_UNROLL
        for (int p = 0; p < PAIRS; p += MATRIX_K / 2) {
            matrix_a a[SUMS_M];
            matrix_b b[SUMS_N];
#pragma unroll MATRIX_UNROLL
            for (int m = 0; m < SUMS_M; m++) a[m] = matrix_load_a(xs + part_m + m * MATRIX_M + p * X_STEP, 1, X_STEP, lane);
#pragma unroll MATRIX_UNROLL
            for (int n = 0; n < SUMS_N; n++) b[n] = matrix_load_b(ys + part_n + n * MATRIX_N + p * Y_STEP, 1, Y_STEP, lane);
#pragma unroll MATRIX_UNROLL
            for (int m = 0; m < SUMS_M; m++)
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_N; n++) sum[m][n] = matrix_multiply_add(sum[m][n], a[m], b[n], lane, scratch);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#pragma unroll MATRIX_UNROLL_ROWS
    for (int m = 0; m < SUMS_M; m++) {
        MATRIX_ROW(row_sums, sum, SUMS_M, SUMS_N, m);
#pragma unroll MATRIX_UNROLL
        for (int n = 0; n < SUMS_N; n++) {
            float r[MATRIX_VALUES];
            matrix_values(row_sums[n], r);
#pragma unroll MATRIX_UNROLL
            for (int i = 0; i < MATRIX_VALUES; i++) {
                const int row = part_m + m * MATRIX_M + matrix_row(lane, i), o = first_out + part_n + n * MATRIX_N + matrix_column(lane, i);
                const int row_eight = first_eight + row / 8, tap = row_eight / eights, channel = (row_eight - tap * eights) * 8 + row % 8;
                if (tap < TAPS && channel < in && o < out) partials[((GROUP_ID(2) * TAPS + tap) * in + channel) * out + o] = r[i];
            }
        }
    }
}
