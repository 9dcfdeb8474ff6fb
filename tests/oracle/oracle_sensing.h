// The sampling operator, and what is built around it, in plain double precision; the terms of src/ops/sensing.h, injector.h and ddim.h.
// Planes are n images of height x width, measurements n times height * width / block_pixels rows.
#ifndef ORACLE_SENSING_H
#define ORACLE_SENSING_H

#include <stdint.h>

typedef struct oracle_operator {
    int height, width, block_pixels, measurements;
    const float *phi;    // block_pixels x measurements
    const int32_t *perm; // height * width
} oracle_operator;

void oracle_sensing_forward(const oracle_operator *a, const double *x, int n, double *y);
void oracle_sensing_adjoint(const oracle_operator *a, const double *y, int n, double *x);
// z = A^T A p, as a plane. False: no memory.
int oracle_sensing_normal(const oracle_operator *a, const double *p, int n, double *z);

typedef struct oracle_injector {
    int n, h, w, c, r;
    const float *f2i_weight, *f2i_bias, *i2f_weight, *i2f_bias;
} oracle_injector;

// y = x + injection, coupled with (v, mix) unless mix is null. False: no memory.
int oracle_injector_forward(const oracle_operator *a, const oracle_injector *f, const float *x, const float *back_projection, double v,
                            const float *mix, double *y);

// Gradients of <dy, x + injection>: dx is written, the others, of the parameters' shapes, are added to. False: no memory.
typedef struct oracle_injector_gradients {
    double *dx, *f2i_weight, *f2i_bias, *i2f_weight, *i2f_bias;
} oracle_injector_gradients;
int oracle_injector_backward(const oracle_operator *a, const oracle_injector *f, const float *x, const float *back_projection,
                             const float *dy, const oracle_injector_gradients *g);

// One step; noise: (n, H/2, W/2, 4). False: no memory.
int oracle_ddim_step(const oracle_operator *a, const float *x, const float *noise, const double *alpha_bar, int t,
                     const float *back_projection, int n, double v, const float *mix, double *result);

// Gradients of <dr, step>: dx (not by way of the noise) and de, as x and noise, are written; dalpha_bar[t], and [t - 1] where t > 1, added
// to. False: no memory.
int oracle_ddim_step_backward(const oracle_operator *a, const float *x, const float *noise, const double *alpha_bar, int t,
                              const float *back_projection, int n, const float *dr, double *dx, double *de, double *dalpha_bar);

#endif
