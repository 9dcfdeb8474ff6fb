// Convolution 3x3 and linear layer (one tap), matrix-unit variant, NHWC: implicit GEMM of 16-bit operands with float32 sums (matrix.clh).
//   y (pixels x out) = epilogue(sum over taps of x(pixel + tap) W[tap]),  x (n, h, w, in), y (n, oh, ow, out), W float32
// x, y, residual and mix as they are stored; float32 operands, W always, are rounded to MATRIX_TYPE on their way. W is [TAPS][in][out]; with TRANSPOSED 1, for
// the gradient with respect to x, the layer's own W [TAPS][out][in], whose taps are taken in reverse.
//
// A work-group makes a TILE_M x TILE_N tile of y (pixels of all samples in a row), walking taps and, within a tap, input channels in steps of TILE_K through
// local memory, where pairs of channels lie. Each of its teams (matrix.clh) makes a PART_M x PART_N part.
//
//          TILE_N                  local:  xs[TILE_M][ROW_STEP]            pairs of a pixel's channels; + 4: a team's loads meet every bank once
//        +--------+                        ws[TILE_K / 2][TILE_N + 8]      pairs across W's rows; TRANSPOSED: as xs, rows of outputs
//        |   ws   | TILE_K
// +------+--------+                Any pixels, in, out: edges and pixels outside the picture are loaded as zero, edges are not stored.
// |  xs  |   y    | TILE_M         Local size (ITEMS), groups (ceil(out / TILE_N), ceil(pixels / TILE_M)).
// +------+--------+                Sums run over taps, then channels, whatever the tile: every tile gives the same bits.
//  TILE_K
#include "common.clh"
#include "storage.clh"
#include "matrix.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef TILE_M
#define TILE_M 64 // pixels per group
#endif
#ifndef TILE_N
#define TILE_N 64 // outputs per group
#endif
#ifndef PART_M
#define PART_M 32 // pixels per team, a multiple of MATRIX_M
#endif
#ifndef PART_N
#define PART_N 32 // outputs per team, a multiple of MATRIX_N
#endif
#ifndef X_TYPE
#define X_TYPE MATRIX_TYPE // f32 or MATRIX_TYPE
#endif
#ifndef Y_TYPE
#define Y_TYPE MATRIX_TYPE // as the next two, any
#endif
#ifndef RESIDUAL_TYPE
#define RESIDUAL_TYPE f32
#endif
#ifndef MIX_TYPE
#define MIX_TYPE f32
#endif
#ifndef EIGHTS
#define EIGHTS 0 // 1: in and out are multiples of 8, x and W aligned to 16 bytes
#endif
#ifndef TRANSPOSED
#define TRANSPOSED 0
#endif
#define TILE_K 32
#define PAIRS (TILE_K / 2)
#define ROW_STEP (PAIRS + 4)
#define COLUMN_STEP (TILE_N + 8)
#define TEAMS_N (TILE_N / PART_N)
#define TEAMS (TILE_M / PART_M * TEAMS_N)
#define ITEMS (TEAMS * MATRIX_TEAM)
#define EIGHTS_K (TILE_K / 8)
#define LOADS_X (TILE_M * EIGHTS_K / ITEMS) // eights per item and step
#define QUADS_K (TILE_K / 4)
#define QUADS_N (TILE_N / 4)
#define SUMS_M (PART_M / MATRIX_M)
#define SUMS_N (PART_N / MATRIX_N)
#if TRANSPOSED
#define LOADS_W (TILE_N * QUADS_K / ITEMS) // float4 per item and step
#define W_PAIRS (TILE_N * ROW_STEP)
#define W_N_STEP ROW_STEP
#define W_K_STEP 1
#else
#define LOADS_W (PAIRS * QUADS_N / ITEMS) // two float4 per item and step
#define W_PAIRS (PAIRS * COLUMN_STEP)
#define W_N_STEP 1
#define W_K_STEP COLUMN_STEP
#endif
#include "epilogue.clh"
#include "matrix_load.clh"
#include "window.clh"

// One step's part of W, channels k0 on of a tap, outputs first_out on.
static inline void load_weights(__local uint *ws, __global const float *weights, const int tap, const int k0, const int first_out, const int in, const int out)
{
    const int item = get_local_id(0);
#pragma unroll MATRIX_UNROLL
    for (int i = 0; i < LOADS_W; i++) {
        const int at = item + i * ITEMS;
#if TRANSPOSED
        const int n = at / QUADS_K, quad = at % QUADS_K, o = first_out + n, k = k0 + 4 * quad;
        const float4 v = four_floats(weights + ((TAPS - 1 - tap) * out + o) * in + k, o < out ? in - k : 0);
        *(__local uint2 *)(ws + n * ROW_STEP + 2 * quad) = (uint2)(matrix_pair(v.x, v.y), matrix_pair(v.z, v.w));
#else
        const int pair = at / QUADS_N, quad = at % QUADS_N, o = first_out + 4 * quad, k = k0 + 2 * pair;
        __global const float *from = weights + (tap * in + k) * out + o;
        const float4 a = four_floats(from, k < in ? out - o : 0), b = four_floats(from + out, k + 1 < in ? out - o : 0);
        *(__local uint4 *)(ws + pair * COLUMN_STEP + 4 * quad) =
            (uint4)(matrix_pair(a.x, b.x), matrix_pair(a.y, b.y), matrix_pair(a.z, b.z), matrix_pair(a.w, b.w));
#endif
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) MATRIX_ATTRIBUTES void conv_matrix(TENSOR(const OPERAND(X_TYPE), x), TENSOR(const float, weights),
                                                                                               EPILOGUE_ARGUMENTS, TENSOR(ELEMENT(Y_TYPE), y), const int in,
                                                                                               const int out, const int pixels, WINDOW_ARGUMENTS)
{
    __local uint4 xs_quads[TILE_M * ROW_STEP / 4], ws_quads[W_PAIRS / 4];
    MATRIX_SCRATCH(scratch, TEAMS);
    START(x);
    START(weights);
    START(y);
    __local uint *xs = (__local uint *)xs_quads, *ws = (__local uint *)ws_quads;
    const int item = get_local_id(0), lane = item % MATRIX_TEAM, team = item / MATRIX_TEAM;
    const int first_pixel = GROUP_ID(1) * TILE_M, first_out = GROUP_ID(0) * TILE_N;
    const int part_m = team / TEAMS_N * PART_M, part_n = team % TEAMS_N * PART_N;

    // what this item loads of x: eight channels of the pixels x_pixel + i * ITEMS / EIGHTS_K
    const int eight = item % EIGHTS_K, x_pixel = item / EIGHTS_K;
    int base[LOADS_X], top[LOADS_X], left[LOADS_X];
#pragma unroll MATRIX_UNROLL
    for (int i = 0; i < LOADS_X; i++) {
        const int pixel = first_pixel + x_pixel + i * (ITEMS / EIGHTS_K);
        window_at(pixel, h, w, oh, ow, stride, &base[i], &top[i], &left[i]);
        if (pixel >= pixels) top[i] = -4; // no tap of it is inside
    }
    matrix_sum sum[SUMS_M][SUMS_N];
#pragma unroll MATRIX_UNROLL
    for (int m = 0; m < SUMS_M; m++)
#pragma unroll MATRIX_UNROLL
        for (int n = 0; n < SUMS_N; n++) sum[m][n] = 0.0f;

    for (int tap = 0; tap < TAPS; tap++) {
        int offset[LOADS_X];
#pragma unroll MATRIX_UNROLL
        for (int i = 0; i < LOADS_X; i++) {
            const int source = window_pixel(base[i], top[i], left[i], tap, h, w, doubled, dilate);
            offset[i] = source != OUTSIDE ? source * in : OUTSIDE;
        }
        for (int k0 = 0; k0 < in; k0 += TILE_K) {
#pragma unroll MATRIX_UNROLL
            for (int i = 0; i < LOADS_X; i++) {
                const int k = k0 + 8 * eight;
                xs_quads[(x_pixel + i * (ITEMS / EIGHTS_K)) * (ROW_STEP / 4) + eight] =
                    LOAD_EIGHT(X_TYPE, x + offset[i] + k, offset[i] != OUTSIDE ? in - k : 0);
            }
            load_weights(ws, weights, tap, k0, first_out, in, out);
            barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll MATRIX_UNROLL
            for (int p = 0; p < PAIRS; p += MATRIX_K / 2) {
                matrix_a a[SUMS_M];
                matrix_b b[SUMS_N];
#pragma unroll MATRIX_UNROLL
                for (int m = 0; m < SUMS_M; m++) a[m] = matrix_load_a(xs + (part_m + m * MATRIX_M) * ROW_STEP + p, ROW_STEP, 1, lane);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_N; n++) b[n] = matrix_load_b(ws + (part_n + n * MATRIX_N) * W_N_STEP + p * W_K_STEP, W_N_STEP, W_K_STEP, lane);
#pragma unroll MATRIX_UNROLL
                for (int m = 0; m < SUMS_M; m++)
#pragma unroll MATRIX_UNROLL
                    for (int n = 0; n < SUMS_N; n++) sum[m][n] = matrix_multiply_add(sum[m][n], a[m], b[n], lane, scratch);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }

    EPILOGUE_START;
#pragma unroll MATRIX_UNROLL_ROWS
    for (int m = 0; m < SUMS_M; m++) {
        MATRIX_ROW(row_sums, sum, SUMS_M, SUMS_N, m);
#pragma unroll MATRIX_UNROLL
        for (int n = 0; n < SUMS_N; n++) {
            float r[MATRIX_VALUES];
            matrix_values(row_sums[n], r);
#pragma unroll MATRIX_UNROLL
            for (int i = 0; i < MATRIX_VALUES; i++) {
                const int pixel = first_pixel + part_m + m * MATRIX_M + matrix_row(lane, i);
                const int o = first_out + part_n + n * MATRIX_N + matrix_column(lane, i), at = pixel * out + o;
                if (pixel >= pixels || o >= out) continue;
                EPILOGUE1(r[i], at, o);
                STORE1(Y_TYPE, r[i], y + at);
            }
        }
    }
}
