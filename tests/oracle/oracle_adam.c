#include "oracle/oracle_adam.h"

#include <math.h>

void oracle_adam_corrections(double beta1, double beta2, double lr, int t, double *step_size, double *correction)
{
    *step_size = lr / (1 - pow(beta1, t));
    *correction = sqrt(1 - pow(beta2, t));
}

double oracle_adam_step(const oracle_adam *a, double lr, int t, double scale, const float *g, size_t count, double *w, double *m, double *v,
                        double *average)
{
    double squares = 0, step_size, correction;
    oracle_adam_corrections(a->beta1, a->beta2, lr, t, &step_size, &correction);
    for (size_t i = 0; i < count; i++) squares += (g[i] / scale) * (g[i] / scale);
    const double norm = sqrt(squares), clipped = a->clip > 0 && norm + 1e-6 > a->clip ? a->clip / (norm + 1e-6) : 1;
    for (size_t i = 0; i < count; i++) {
        const double d = clipped * g[i] / scale;
        m[i] += (1 - a->beta1) * (d - m[i]);
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * d * d;
        w[i] -= step_size * m[i] / (sqrt(v[i]) / correction + a->eps);
        if (average) average[i] = a->decay * average[i] + (1 - a->decay) * w[i];
    }
    return norm;
}
