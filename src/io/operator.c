#include "io/operator.h"

#include "core/random.h"
#include "core/status.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

int operator_measurements(int block, double ratio)
{
    return (int)ceil(ratio * (block * block));
}

enum { LANES = 8 }; // partial sums, so that compilers can use vectors without changing the order of additions

static double dot(const double *a, const double *b, int n)
{
    double sums[LANES] = {0};
    for (int i = 0; i < n; i += LANES) { // n = block^2 is a multiple of 16
        for (int k = 0; k < LANES; k++) sums[k] += a[i + k] * b[i + k];
    }
    double sum = 0;
    for (int k = 0; k < LANES; k++) sum += sums[k];
    return sum;
}

// columns: m rows of n, the columns of the matrix. Dividing by a positive norm leaves no sign to choose, which makes the result Haar
// distributed.
static void orthonormalise(double *columns, int n, int m)
{
    for (int j = 0; j < m; j++) {
        double *column = columns + (size_t)j * n;
        for (int pass = 0; pass < 2; pass++) {
            for (int k = 0; k < j; k++) {
                const double *other = columns + (size_t)k * n;
                const double along = dot(column, other, n);
                for (int i = 0; i < n; i++) column[i] -= along * other[i];
            }
            const double scale = 1 / sqrt(dot(column, column, n));
            for (int i = 0; i < n; i++) column[i] *= scale;
        }
    }
}

idm_status operator_phi(int block, int measurements, uint64_t seed, float **phi)
{
    *phi = NULL;
    if (block < 4 || block % 4 != 0 || block > OPERATOR_BLOCK_MAX)
        return status_fail(IDM_USAGE, "block_size %d: must be a multiple of 4, at most %d", block, OPERATOR_BLOCK_MAX);
    const int n = block * block, m = measurements;
    if (m < 1 || m > n) return status_fail(IDM_USAGE, "%d measurements of blocks of %d pixels: cs_ratio must be above 0, at most 1", m, n);
    double *columns = malloc((size_t)n * m * sizeof *columns);
    *phi = malloc((size_t)n * m * sizeof **phi);
    if (!columns || !*phi) {
        free(columns);
        free(*phi);
        *phi = NULL;
        return status_fail(IDM_FAILED, "not enough memory for the %d x %d sampling matrix", n, m);
    }
    const uint64_t key = random_key(seed, "phi");
    for (size_t i = 0; i < (size_t)n * m; i++) columns[i] = random_normal(key, i);
    orthonormalise(columns, n, m);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < m; j++) (*phi)[(size_t)i * m + j] = (float)columns[(size_t)j * n + i];
    }
    free(columns);
    return IDM_OK;
}

void operator_permutation(uint64_t seed, const char *name, int32_t *perm, int count)
{
    char purpose[4200]; // longer names still count up to there
    (void)snprintf(purpose, sizeof purpose, "perm/%d/%s", count, name);
    random_permutation(random_key(seed, purpose), perm, (size_t)count);
}
