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
