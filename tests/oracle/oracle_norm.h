// GroupNorm and LayerNorm in plain double precision; the terms of src/ops/norm.h.
#ifndef ORACLE_NORM_H
#define ORACLE_NORM_H

#include <stdbool.h>

void oracle_group_norm(const float *x, const float *gamma, const float *beta, int n, int pixels, int c, int groups, double eps, bool silu,
                       double *y);
void oracle_layer_norm(const float *x, const float *gamma, const float *beta, int rows, int c, double eps, double *y);

#endif
