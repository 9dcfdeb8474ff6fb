// An oracle's gradient against its own forward pass, by central differences in double precision.
#ifndef TESTS_GRADIENT_FIXTURE_H
#define TESTS_GRADIENT_FIXTURE_H

#include <math.h>
#include <stddef.h>

// The function of all values whose gradient is looked at.
typedef double gradient_function(void *user);

// Relative error in norm of `gradient`, f's derivatives by the `count` values from x on, which are moved one by one. Differences over 1 and
// 2 steps, so the error left is of 4th order. Values are to be multiples of 2^-23 below 4, so that a step of 2^-7 is exact.
static inline double gradient_error(gradient_function *f, void *user, float *x, size_t count, const double *gradient)
{
    const float h = 0.0078125f;
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        const float before = x[i];
        double at[5];
        for (int k = -2; k <= 2; k++) {
            x[i] = before + (float)k * h;
            at[k + 2] = f(user);
        }
        x[i] = before;
        const double d = (8 * (at[3] - at[1]) - (at[4] - at[0])) / (12 * (double)h);
        difference += (d - gradient[i]) * (d - gradient[i]);
        norm += gradient[i] * gradient[i];
    }
    return sqrt(difference / norm);
}

#endif
