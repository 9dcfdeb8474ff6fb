// Weight gradient of a 3x3 convolution or linear layer (one tap), generic variant, NHWC: plain scalar code for any device, and the yardstick for the others.
//   partials [slice][tap][i][o] = sum over the slice's pixels of y of  x(pixel + tap)[i] dy(pixel)[o],  x (n, h, w, in), dy (n, oh, ow, out)
// One item makes one output channel of ROWS consecutive input channels; neighbouring items have neighbouring outputs, so reads of dy and writes are coalesced
// and reads of x are broadcasts. Sums are taken by blocks of BLOCK pixels, then over blocks. No local memory, no barriers.
// Items: out * taps * ceil(in / ROWS) * ceil(pixels / slice), in groups of ITEMS.
#include "common.clh"
#ifndef TAPS
#define TAPS 9 // 1 or 9
#endif
#ifndef ITEMS
#define ITEMS 64 // per group
#endif
#define ROWS 2
#define BLOCK 128
#include "window.clh"

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_weight_gradient_generic(TENSOR(const float, x), TENSOR(const float, dy), TENSOR(float, partials), const int in, const int out,
                             const int pixels, const int slice, WINDOW_ARGUMENTS)
{
    START(x);
    START(dy);
    START(partials);
    const int item = get_global_id(0), pairs = (in + ROWS - 1) / ROWS;
    const int channel = item % out, pair = item / out % pairs, tap = item / out / pairs % TAPS, part = item / out / pairs / TAPS;
    const int row = pair * ROWS, first = part * slice, last = min(pixels, first + slice);
    if (first >= pixels) return;
    float sum[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) sum[r] = 0.0f;

    for (int block = first; block < last; block += BLOCK) {
        float block_sum[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) block_sum[r] = 0.0f;
        for (int pixel = block; pixel < min(last, block + BLOCK); pixel++) {
            int base, top, left;
            window_at(pixel, h, w, oh, ow, stride, &base, &top, &left);
            const int source = window_pixel(base, top, left, tap, h, w, doubled, dilate);
            const float d = dy[pixel * out + channel];
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                block_sum[r] = fma(source != OUTSIDE && row + r < in ? x[source * in + row + r] : 0.0f, d, block_sum[r]);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) sum[r] += block_sum[r];
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (row + r < in) partials[((part * TAPS + tap) * in + row + r) * out + channel] = sum[r];
}
