// GroupNorm and LayerNorm in plain double precision; the terms of src/ops/norm.h.
#ifndef ORACLE_NORM_H
#define ORACLE_NORM_H

#include <stdbool.h>

void oracle_group_norm(const float *x, const float *gamma, const float *beta, int n, int pixels, int c, int groups, double eps, bool silu,
                       double *y);
void oracle_layer_norm(const float *x, const float *gamma, const float *beta, int rows, int c, double eps, double *y);

// dgamma and dbeta += theirs.
void oracle_group_norm_backward(const float *x, const float *gamma, const float *beta, int n, int pixels, int c, int groups, double eps,
                                bool silu, const float *dy, double *dx, double *dgamma, double *dbeta);
void oracle_layer_norm_backward(const float *x, const float *gamma, int rows, int c, double eps, const float *dy, double *dx,
                                double *dgamma, double *dbeta);

#endif
