// The element-by-element operations and the pixel rearrangements in plain double precision; the terms of src/ops/pointwise.h.
#ifndef ORACLE_POINTWISE_H
#define ORACLE_POINTWISE_H

#include <stddef.h>

double oracle_silu(double x);
double oracle_silu_slope(double x);
double oracle_gelu(double x);
double oracle_gelu_slope(double x);

void oracle_geglu(const float *x, int rows, int c, double *y);
void oracle_geglu_backward(const float *x, const float *dy, int rows, int c, double *dx);
void oracle_upsample_nearest(const float *x, int n, int h, int w, int c, double *y);
// dx (n, h, w, c) from dy (n, 2h, 2w, c).
void oracle_upsample_nearest_backward(const float *dy, int n, int h, int w, int c, double *dx);
// bias, residual and mix may be null; v counts only with mix.
void oracle_epilogue(const float *x, const float *bias, const float *residual, double v, const float *mix, int rows, int c, double *y);
// Index of channel `channel` of feature pixel (sample, row, column), (n, h, w, planes r^2), in the plane (n, h r, w r, planes).
size_t oracle_plane_index(int h, int w, int planes, int r, int sample, int row, int column, int channel);

#endif
