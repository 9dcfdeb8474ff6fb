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

// Channels of the (perhaps upsampled) pixel (py, px) of sample b; null outside the picture.
static const float *pixel(const oracle_conv_shape *s, const float *x, int b, int py, int px)
{
    const int scale = s->upsample ? 2 : 1;
    if (py < 0 || px < 0 || py >= scale * s->h || px >= scale * s->w) return NULL;
    return x + (((size_t)b * s->h + py / scale) * s->w + px / scale) * s->in;
}

static double dot(const oracle_conv_shape *s, const float *x, const float *weights, int b, int oy, int ox, int channel)
{
    const int side = s->taps == 9 ? 3 : 1, border = side / 2;
    double sum = 0;
    for (int dy = 0; dy < side; dy++)
        for (int dx = 0; dx < side; dx++) {
            const float *p = pixel(s, x, b, oy * s->stride + dy - border, ox * s->stride + dx - border);
            for (int k = 0; p && k < s->in; k++) sum += (double)p[k] * weights[((size_t)(dy * side + dx) * s->in + k) * s->out + channel];
        }
    return sum;
}

void oracle_conv(const oracle_conv_shape *s, const float *x, const float *weights, const float *bias, const float *residual, const float *v,
                 const float *mix, double *y)
{
    size_t at = 0;
    for (int b = 0; b < s->n; b++)
        for (int oy = 0; oy < oracle_conv_height(s); oy++)
            for (int ox = 0; ox < oracle_conv_width(s); ox++)
                for (int channel = 0; channel < s->out; channel++, at++) {
                    double r = dot(s, x, weights, b, oy, ox, channel);
                    if (bias) r += bias[channel];
                    if (residual) r += residual[at];
                    y[at] = v ? (1.0 - *v) * r + (double)*v * mix[at] : r;
                }
}
