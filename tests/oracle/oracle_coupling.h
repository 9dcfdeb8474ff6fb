// The reversible coupling and the L1 loss in plain double precision; the terms of src/ops/coupling.h and loss.h.
#ifndef ORACLE_COUPLING_H
#define ORACLE_COUPLING_H

#include <stddef.h>

void oracle_coupling(const float *f, const float *x2, double v, size_t count, double *y1);
void oracle_coupling_invert(const float *f, const float *y1, double v, size_t count, double *x2);
// Returns dv.
double oracle_coupling_backward(const float *f, const float *x2, double v, const float *dy1, size_t count, double *dbody, double *dx2);

// Returns weight times the sum of |out - x|; dout = slope times its derivative.
double oracle_l1_loss(const float *out, const float *x, double weight, double slope, size_t count, double *dout);

#endif
