// Convolution 3x3 and linear layer (one tap), CPU register-tile variant, NHWC.
//   y (pixels x out) = epilogue(sum over taps of x(pixel + tap) W[tap]),  x (n, h, w, in), y (n, oh, ow, out)
//   W in panels of PANEL outputs: [ceil(out / PANEL)][TAPS][in][PANEL], zero beyond out.
// One item per group; it owns one panel and `block` output pixels, and holds a TILE_ROWS x PANEL tile of y in vector registers: per input channel TILE_VECS
// vector loads of W, TILE_ROWS broadcasts of x, TILE_ROWS * TILE_VECS FMAs. Pixels outside the picture are read from a row of zeros. No local memory, no barriers.
// A panel of all taps may be larger than a core's L2 cache, so the taps go in passes of `taps_per_pass` over SUB_TILES tiles, whose sums wait in private memory.
// Groups: (panels, ceil(pixels / block)).
#include "common.clh"
#include "epilogue.clh"
#include "tile.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef SUB_TILES
#define SUB_TILES 16 // tiles that share one pass over the panel
#endif
#include "window.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_cpu(TENSOR(const float, x), TENSOR(const float, panels), TENSOR(const float, zeros),
                                                                      EPILOGUE_ARGUMENTS, TENSOR(float, y), const int in, const int out, const int pixels,
                                                                      const int block, WINDOW_ARGUMENTS, const int taps_per_pass)
{
    START(x);
    START(panels);
    START(zeros);
    START(y);
    EPILOGUE_START;
    const int panel = GROUP_ID(0), channel = panel * PANEL;
    const int first = GROUP_ID(1) * block, last = min(pixels, first + block);
    float16 sums[SUB_TILES][TILE_ROWS][TILE_VECS];
    panels += (size_t)panel * TAPS * in * PANEL;

    for (int sub = first; sub < last; sub += SUB_TILES * TILE_ROWS)
        for (int tap0 = 0; tap0 < TAPS; tap0 += taps_per_pass)
            for (int tile = 0; tile < SUB_TILES; tile++) {
                const int pixel = sub + tile * TILE_ROWS;
                if (pixel >= last) break;
                float16 acc[TILE_ROWS][TILE_VECS];
                int base[TILE_ROWS], top[TILE_ROWS], left[TILE_ROWS];
#pragma unroll
                for (int r = 0; r < TILE_ROWS; r++) {
                    if (TAPS > 1) window_at(min(pixel + r, pixels - 1), h, w, oh, ow, stride, &base[r], &top[r], &left[r]);
#pragma unroll
                    for (int v = 0; v < TILE_VECS; v++) {
                        acc[r][v] = tap0 ? sums[tile][r][v] : (float16)(0.0f);
                        PREFETCH_STORE(y + (size_t)(pixel + r) * out + channel + 16 * v);
                    }
                }
                for (int tap = tap0; tap < tap0 + taps_per_pass; tap++) {
                    __global const float *a[TILE_ROWS];
#pragma unroll
                    for (int r = 0; r < TILE_ROWS; r++) {
                        const int source = TAPS > 1 ? window_pixel(base[r], top[r], left[r], tap, h, w, doubled, dilate) : min(pixel + r, pixels - 1);
                        a[r] = source != OUTSIDE ? x + (size_t)source * in : zeros;
                    }
                    accumulate(acc, a, panels + (size_t)tap * in * PANEL, in);
                }
                if (tap0 + taps_per_pass < TAPS) {
#pragma unroll
                    for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                        for (int v = 0; v < TILE_VECS; v++) sums[tile][r][v] = acc[r][v];
                    continue;
                }
#pragma unroll
                for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                    for (int v = 0; v < TILE_VECS; v++) {
                        const int c = channel + 16 * v, count = out - c;
                        const size_t at = (size_t)(pixel + r) * out + c;
                        if (pixel + r < last && count >= 16) {
                            EPILOGUE(float16, LOAD_ALL, acc[r][v], at, c);
                            STORE16(acc[r][v], y + at);
                        } else if (pixel + r < last && count > 0) {
                            EPILOGUE(float16, LOAD_SOME, acc[r][v], at, c);
                            store_some(acc[r][v], y + at, count);
                        }
                    }
            }
}
