// Convolution in double precision, straight from its definition: one loop per index.
#ifndef TESTS_ORACLE_CONV_H
#define TESTS_ORACLE_CONV_H

#include <stdbool.h>

// taps 9: 3x3, zero padding 1; 1: a linear layer. upsample: x is read through nearest-neighbour 2x upsampling. All dense NHWC float32.
typedef struct oracle_conv_shape {
    int n, h, w, in, out, taps, stride;
    bool upsample;
} oracle_conv_shape;

int oracle_conv_height(const oracle_conv_shape *s); // of y
int oracle_conv_width(const oracle_conv_shape *s);

// r = conv(x, weights [taps][in][out]) + bias + residual;  y = v ? (1 - v) r + v mix : r.  bias, residual, v may be null, mix too without
// v.
void oracle_conv(const oracle_conv_shape *s, const float *x, const float *weights, const float *bias, const float *residual, const float *v,
                 const float *mix, double *y);

// dx (as x) = gradient of sum(dy y) with respect to x, + residual, coupled as y above; residual, v and mix lie as dx.
void oracle_conv_backward_data(const oracle_conv_shape *s, const float *dy, const float *weights, const float *residual, const float *v,
                               const float *mix, double *dx);
// dw, dbias += gradients of sum(dy y) with respect to weights and bias.
void oracle_conv_backward_weight(const oracle_conv_shape *s, const float *x, const float *dy, double *dw, double *dbias);

#endif
