// Convolution 3x3 and linear layer (one tap), generic variant, NHWC: plain scalar code for any device, and the yardstick for the others.
//   y (pixels x out) = epilogue(sum over taps of x(pixel + tap) W[tap]),  x (n, h, w, in), y (n, oh, ow, out), W [TAPS][in][out]
// One item makes one output channel of PIXELS consecutive pixels; neighbouring items have neighbouring channels, so reads of W and writes
// of y are coalesced and reads of x are broadcasts. Pixels outside the picture count as zero. No local memory, no barriers. Items: out *
// ceil(pixels / PIXELS), in groups of ITEMS.
#include "common.clh"
#include "epilogue.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef ITEMS
#define ITEMS 64 // per group
#endif
#define PIXELS 2
#include "window.clh"
#define SCALAR(p) (*(p))

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void conv_generic(TENSOR(const float, x), TENSOR(const float, weights),
                                                                              EPILOGUE_ARGUMENTS, TENSOR(float, y), const int in,
                                                                              const int out, const int pixels, WINDOW_ARGUMENTS)
{
    START(x);
    START(weights);
    START(y);
    const int item = get_global_id(0), block = item / out, channel = item - block * out, first = block * PIXELS;
    if (first >= pixels) return;
    float sum[PIXELS];
#pragma unroll
    for (int p = 0; p < PIXELS; p++) sum[p] = 0.0f;

    for (int tap = 0; tap < TAPS; tap++) {
        int offset[PIXELS];
#pragma unroll
        for (int p = 0; p < PIXELS; p++) {
            int base, top, left;
            window_at(first + p, h, w, oh, ow, stride, &base, &top, &left);
            const int source = window_pixel(base, top, left, tap, h, w, doubled, dilate);
            offset[p] = first + p < pixels && source != OUTSIDE ? source * in : OUTSIDE;
        }
        __global const float *column = weights + tap * in * out + channel;
#pragma unroll 4 // more costs registers
        for (int k = 0; k < in; k++) {
            const float b = column[k * out];
#pragma unroll
            for (int p = 0; p < PIXELS; p++) sum[p] = fma(offset[p] >= 0 ? x[offset[p] + k] : 0.0f, b, sum[p]);
        }
    }

    EPILOGUE_START;
#pragma unroll
    for (int p = 0; p < PIXELS; p++) {
        const int at = (first + p) * out + channel;
        if (first + p < pixels) {
            EPILOGUE(float, SCALAR, sum[p], at, channel);
            y[at] = sum[p];
        }
    }
}
