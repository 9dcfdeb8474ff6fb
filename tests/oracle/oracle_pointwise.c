#include "oracle/oracle_pointwise.h"

#include <math.h>

double oracle_silu(double x)
{
    return x / (1 + exp(-x));
}

double oracle_silu_slope(double x)
{
    const double s = 1 / (1 + exp(-x));
    return s + x * s * (1 - s);
}

double oracle_gelu(double x)
{
    return x * erfc(-x / sqrt(2)) / 2;
}

double oracle_gelu_slope(double x)
{
    return erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
}

void oracle_geglu(const float *x, int rows, int c, double *y)
{
    for (size_t r = 0; r < (size_t)rows; r++)
        for (int k = 0; k < c; k++) y[r * c + k] = x[r * 2 * c + k] * oracle_gelu(x[r * 2 * c + c + k]);
}

void oracle_geglu_backward(const float *x, const float *dy, int rows, int c, double *dx)
{
    for (size_t r = 0; r < (size_t)rows; r++)
        for (int k = 0; k < c; k++) {
            const double value = x[r * 2 * c + k], gate = x[r * 2 * c + c + k], d = dy[r * c + k];
            dx[r * 2 * c + k] = d * oracle_gelu(gate);
            dx[r * 2 * c + c + k] = d * value * oracle_gelu_slope(gate);
        }
}

void oracle_upsample_nearest(const float *x, int n, int h, int w, int c, double *y)
{
    for (int s = 0; s < n; s++)
        for (int row = 0; row < 2 * h; row++)
            for (int column = 0; column < 2 * w; column++)
                for (int k = 0; k < c; k++)
                    y[(((size_t)s * 2 * h + row) * 2 * w + column) * c + k] = x[(((size_t)s * h + row / 2) * w + column / 2) * c + k];
}

void oracle_upsample_nearest_backward(const float *dy, int n, int h, int w, int c, double *dx)
{
    for (size_t i = 0; i < (size_t)n * h * w * c; i++) dx[i] = 0;
    for (int row = 0; row < 2 * n * h; row++) // of all samples: their heights are even
        for (int column = 0; column < 2 * w; column++)
            for (int k = 0; k < c; k++) dx[((size_t)(row / 2) * w + column / 2) * c + k] += dy[((size_t)row * 2 * w + column) * c + k];
}

void oracle_epilogue(const float *x, const float *bias, const float *residual, double v, const float *mix, int rows, int c, double *y)
{
    for (size_t i = 0; i < (size_t)rows * c; i++) {
        const double r = x[i] + (bias ? (double)bias[i % c] : 0) + (residual ? (double)residual[i] : 0);
        y[i] = mix ? (1 - v) * r + v * mix[i] : r;
    }
}

size_t oracle_plane_index(int h, int w, int planes, int r, int sample, int row, int column, int channel)
{
    const int plane = channel / (r * r), i = channel / r % r, j = channel % r;
    const size_t plane_row = (size_t)row * r + i, plane_column = (size_t)column * r + j;
    return (((size_t)sample * h * r + plane_row) * w * r + plane_column) * planes + plane;
}
