#include "oracle/oracle_coupling.h"

#include <math.h>

void oracle_coupling(const float *f, const float *x2, double v, size_t count, double *y1)
{
    for (size_t i = 0; i < count; i++) y1[i] = (1 - v) * f[i] + v * x2[i];
}

void oracle_coupling_invert(const float *f, const float *y1, double v, size_t count, double *x2)
{
    for (size_t i = 0; i < count; i++) x2[i] = (y1[i] - (1 - v) * f[i]) / v;
}

double oracle_coupling_backward(const float *f, const float *x2, double v, const float *dy1, size_t count, double *dbody, double *dx2)
{
    double dv = 0;
    for (size_t i = 0; i < count; i++) {
        dv += ((double)x2[i] - f[i]) * dy1[i];
        dbody[i] = (1 - v) * dy1[i];
        dx2[i] = v * dy1[i];
    }
    return dv;
}

double oracle_l1_loss(const float *out, const float *x, double weight, double slope, size_t count, double *dout)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += fabs((double)out[i] - x[i]);
        dout[i] = slope * weight * ((out[i] > x[i]) - (out[i] < x[i]));
    }
    return weight * sum;
}
