#include "oracle/oracle_norm.h"

#include "oracle/oracle_pointwise.h"
#include <math.h>
#include <stddef.h>

// Mean and 1 / sqrt(biased variance + eps) of `count` channels from `first` in each of `rows` rows of c.
static void moments(const float *x, int rows, int c, int first, int count, double eps, double *mean, double *scale)
{
    double sum = 0, squares = 0;
    for (int r = 0; r < rows; r++)
        for (int k = first; k < first + count; k++) sum += x[(size_t)r * c + k];
    *mean = sum / ((double)rows * count);
    for (int r = 0; r < rows; r++)
        for (int k = first; k < first + count; k++) {
            const double d = x[(size_t)r * c + k] - *mean;
            squares += d * d;
        }
    *scale = 1 / sqrt(squares / ((double)rows * count) + eps);
}

void oracle_group_norm(const float *x, const float *gamma, const float *beta, int n, int pixels, int c, int groups, double eps, bool silu,
                       double *y)
{
    const int channels = c / groups;
    for (int s = 0; s < n; s++)
        for (int g = 0; g < groups; g++) {
            const size_t start = (size_t)s * pixels * c;
            double mean, scale;
            moments(x + start, pixels, c, g * channels, channels, eps, &mean, &scale);
            for (int p = 0; p < pixels; p++)
                for (int k = g * channels; k < (g + 1) * channels; k++) {
                    const size_t i = start + (size_t)p * c + k;
                    const double r = gamma[k] * (x[i] - mean) * scale + beta[k];
                    y[i] = silu ? oracle_silu(r) : r;
                }
        }
}

void oracle_layer_norm(const float *x, const float *gamma, const float *beta, int rows, int c, double eps, double *y)
{
    for (int r = 0; r < rows; r++) {
        double mean, scale;
        moments(x + (size_t)r * c, 1, c, 0, c, eps, &mean, &scale);
        for (int k = 0; k < c; k++) y[(size_t)r * c + k] = gamma[k] * (x[(size_t)r * c + k] - mean) * scale + beta[k];
    }
}

// Of rows x `count` channels from `first`, with one mean: adds to dgamma and dbeta, writes dx. d: dy, or its product with SiLU's slope.
static void gradient(const float *x, const float *gamma, const double *d, int rows, int c, int first, int count, double eps, double *dx,
                     double *dgamma, double *dbeta)
{
    double mean, scale, a = 0, b = 0;
    moments(x, rows, c, first, count, eps, &mean, &scale);
    for (int r = 0; r < rows; r++)
        for (int k = first; k < first + count; k++) {
            const size_t i = (size_t)r * c + k;
            const double h = (x[i] - mean) * scale;
            dgamma[k] += d[i] * h;
            dbeta[k] += d[i];
            a += gamma[k] * d[i] / ((double)rows * count);
            b += gamma[k] * d[i] * h / ((double)rows * count);
        }
    for (int r = 0; r < rows; r++)
        for (int k = first; k < first + count; k++) {
            const size_t i = (size_t)r * c + k;
            dx[i] = scale * (gamma[k] * d[i] - a - (x[i] - mean) * scale * b);
        }
}

void oracle_group_norm_backward(const float *x, const float *gamma, const float *beta, int n, int pixels, int c, int groups, double eps,
                                bool silu, const float *dy, double *dx, double *dgamma, double *dbeta)
{
    const int channels = c / groups;
    for (int s = 0; s < n; s++)
        for (int g = 0; g < groups; g++) {
            const size_t start = (size_t)s * pixels * c;
            double mean, scale;
            moments(x + start, pixels, c, g * channels, channels, eps, &mean, &scale);
            for (int p = 0; p < pixels; p++) // d takes dx's place
                for (int k = g * channels; k < (g + 1) * channels; k++) {
                    const size_t i = start + (size_t)p * c + k;
                    dx[i] = dy[i] * (silu ? oracle_silu_slope(gamma[k] * (x[i] - mean) * scale + beta[k]) : 1);
                }
            gradient(x + start, gamma, dx + start, pixels, c, g * channels, channels, eps, dx + start, dgamma, dbeta);
        }
}

void oracle_layer_norm_backward(const float *x, const float *gamma, int rows, int c, double eps, const float *dy, double *dx,
                                double *dgamma, double *dbeta)
{
    for (size_t i = 0; i < (size_t)rows * c; i++) dx[i] = dy[i];
    for (int r = 0; r < rows; r++) {
        const size_t start = (size_t)r * c;
        gradient(x + start, gamma, dx + start, 1, c, 0, c, eps, dx + start, dgamma, dbeta);
    }
}
