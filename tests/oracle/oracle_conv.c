#include "oracle/oracle_conv.h"

#include <stddef.h>

static int extent(const oracle_conv_shape *s, int x)
{
    return ((s->upsample ? 2 * x : x) + s->stride - 1) / s->stride;
}

int oracle_conv_height(const oracle_conv_shape *s)
{
    return extent(s, s->h);
}

int oracle_conv_width(const oracle_conv_shape *s)
{
    return extent(s, s->w);
}

enum { OUTSIDE = -1 };

// Index in x of the first channel under tap `tap` of the window at pixel (oy, ox) of sample b of y.
static ptrdiff_t under(const oracle_conv_shape *s, int b, int oy, int ox, int tap)
{
    const int side = s->taps == 9 ? 3 : 1, scale = s->upsample ? 2 : 1;
    const int py = oy * s->stride + tap / side - side / 2, px = ox * s->stride + tap % side - side / 2;
    if (py < 0 || px < 0 || py >= scale * s->h || px >= scale * s->w) return OUTSIDE;
    return (((ptrdiff_t)b * s->h + py / scale) * s->w + px / scale) * s->in;
}

// Sums of all channels of one pixel. The weights are walked as they lie: a network's widest ones are larger than a cache.
static void sum_pixel(const oracle_conv_shape *s, const float *x, const float *weights, int b, int oy, int ox, double *sum)
{
    for (int channel = 0; channel < s->out; channel++) sum[channel] = 0;
    for (int tap = 0; tap < s->taps; tap++) {
        const ptrdiff_t at = under(s, b, oy, ox, tap);
        const float *row = weights + (size_t)tap * s->in * s->out;
        for (int k = 0; at != OUTSIDE && k < s->in; k++, row += s->out)
            for (int channel = 0; channel < s->out; channel++) sum[channel] += (double)x[at + k] * row[channel];
    }
}

void oracle_conv(const oracle_conv_shape *s, const float *x, const float *weights, const float *bias, const float *residual, const float *v,
                 const float *mix, double *y)
{
    size_t at = 0;
    for (int b = 0; b < s->n; b++)
        for (int oy = 0; oy < oracle_conv_height(s); oy++)
            for (int ox = 0; ox < oracle_conv_width(s); ox++) {
                sum_pixel(s, x, weights, b, oy, ox, y + at);
                for (int channel = 0; channel < s->out; channel++, at++) {
                    double r = y[at];
                    if (bias) r += bias[channel];
                    if (residual) r += residual[at];
                    y[at] = v ? (1.0 - *v) * r + (double)*v * mix[at] : r;
                }
            }
}

void oracle_conv_backward_data(const oracle_conv_shape *s, const float *dy, const float *weights, const float *residual, const float *v,
                               const float *mix, double *dx)
{
    const size_t count = (size_t)s->n * s->h * s->w * s->in;
    for (size_t i = 0; i < count; i++) dx[i] = residual ? residual[i] : 0;
    for (int b = 0; b < s->n; b++)
        for (int oy = 0; oy < oracle_conv_height(s); oy++)
            for (int ox = 0; ox < oracle_conv_width(s); ox++, dy += s->out)
                for (int tap = 0; tap < s->taps; tap++) {
                    const ptrdiff_t at = under(s, b, oy, ox, tap);
                    for (int k = 0; at != OUTSIDE && k < s->in; k++)
                        for (int c = 0; c < s->out; c++) dx[at + k] += (double)dy[c] * weights[((size_t)tap * s->in + k) * s->out + c];
                }
    for (size_t i = 0; v && i < count; i++) dx[i] = (1.0 - *v) * dx[i] + (double)*v * mix[i];
}

void oracle_conv_backward_weight(const oracle_conv_shape *s, const float *x, const float *dy, double *dw, double *dbias)
{
    for (int b = 0; b < s->n; b++)
        for (int oy = 0; oy < oracle_conv_height(s); oy++)
            for (int ox = 0; ox < oracle_conv_width(s); ox++, dy += s->out) {
                for (int tap = 0; tap < s->taps; tap++) {
                    const ptrdiff_t at = under(s, b, oy, ox, tap);
                    for (int k = 0; at != OUTSIDE && k < s->in; k++)
                        for (int c = 0; c < s->out; c++) dw[((size_t)tap * s->in + k) * s->out + c] += (double)x[at + k] * dy[c];
                }
                for (int c = 0; c < s->out; c++) dbias[c] += dy[c];
            }
}
