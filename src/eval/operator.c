// The sampling operator on the host.
#include "core/status.h"
#include <idm/idm.h>
#include <stdlib.h>
#include <string.h>

void idm_operator_free(idm_operator *op)
{
    free(op->phi);
    free(op->perm);
    *op = (idm_operator){0};
}

void idm_measure(const idm_operator *op, const float *x, int batch, float *y)
{
    const size_t pixels = (size_t)op->height * (size_t)op->width, n = (size_t)op->block_size * (size_t)op->block_size,
                 m = (size_t)op->measurements;
    double *sums = calloc(m ? m : 1, sizeof *sums);
    if (!sums) return;
    for (size_t b = 0; b < (size_t)batch; b++)
        for (size_t row = 0; row < pixels / n; row++) {
            memset(sums, 0, m * sizeof *sums);
            for (size_t i = 0; i < n; i++) {
                const double value = x[b * pixels + (size_t)op->perm[row * n + i]];
                for (size_t j = 0; j < m; j++) sums[j] += value * (double)op->phi[i * m + j];
            }
            for (size_t j = 0; j < m; j++) y[(b * (pixels / n) + row) * m + j] = (float)sums[j];
        }
    free(sums);
}

void idm_back_project(const idm_operator *op, const float *y, int batch, float *x)
{
    const size_t pixels = (size_t)op->height * (size_t)op->width, n = (size_t)op->block_size * (size_t)op->block_size,
                 m = (size_t)op->measurements, rows = pixels / n;
    for (size_t b = 0; b < (size_t)batch; b++)
        for (size_t i = 0; i < pixels; i++) {
            const float *measured = y + (b * rows + i / n) * m, *phi = op->phi + i % n * m;
            double sum = 0;
            for (size_t j = 0; j < m; j++) sum += (double)measured[j] * (double)phi[j];
            x[b * pixels + (size_t)op->perm[i]] = (float)sum;
        }
}
