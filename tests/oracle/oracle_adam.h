// Adam as torch.optim.Adam, clipping as torch.nn.utils.clip_grad_norm_, in plain double precision.
#ifndef ORACLE_ADAM_H
#define ORACLE_ADAM_H

#include <stddef.h>

// sqrt(1 - beta2^t) and lr / (1 - beta1^t)
void oracle_adam_corrections(double beta1, double beta2, double lr, int t, double *step_size, double *correction);

typedef struct oracle_adam {
    double beta1, beta2, eps, clip, decay; // clip 0: none
} oracle_adam;

// Step t >= 1 over `count` values; g is multiplied by clip's factor and divided by `scale`. average may be null. Returns the gradient's
// norm.
double oracle_adam_step(const oracle_adam *a, double lr, int t, double scale, const float *g, size_t count, double *w, double *m, double *v,
                        double *average);

#endif
