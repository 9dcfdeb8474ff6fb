// Central differences of a double-precision value with respect to floats that it reads, for verifying an oracle's gradient.
#ifndef TESTS_DIFFERENCES_H
#define TESTS_DIFFERENCES_H

#include "ops_fixture.h"
#include <math.h>

typedef double differences_value(void *user);

// The step that was really taken divides, so rounding to float does no harm.
static inline double differences_slope(differences_value *value, void *user, float *at, float step)
{
    const float before = *at;
    *at = before + step;
    const double above = *at, upper = value(user);
    *at = before - step;
    const double below = *at, lower = value(user);
    *at = before;
    return (upper - lower) / (above - below);
}

// `gradient` (count values) against the slopes at `at`, relative in norm.
static inline void differences_check(differences_value *value, void *user, float *at, size_t count, const double *gradient, float step,
                                     double tolerance, const char *what)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        const double slope = differences_slope(value, user, &at[i], step);
        difference += (gradient[i] - slope) * (gradient[i] - slope);
        norm += slope * slope;
    }
    const double error = sqrt(difference / norm);
    if (getenv("IDM_TEST_ERRORS")) print_message("%.2e (%.0e) differences, %s\n", error, tolerance, what);
    if (!(error <= tolerance)) fail_msg("%s: %.3e from its central differences", what, error);
}

#endif
