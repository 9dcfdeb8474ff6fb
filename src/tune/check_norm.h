// Checks of src/ops/norm.h (see tune/check.h).
#ifndef TUNE_CHECK_NORM_H
#define TUNE_CHECK_NORM_H

#include "tune/check.h"

// mean: added to values in [-2, 2); in_place: y is x.
check_result check_group_norm(ops *o, int n, int h, int w, int c, int groups, bool silu, float mean, bool in_place);
check_result check_layer_norm(ops *o, int rows, int c, float mean);

// Where the gradient's residual and result lie.
typedef enum gradient_places {
    GRADIENT_PLAIN, // no residual, dx apart
    GRADIENT_ONTO_DY,
    GRADIENT_RESIDUAL,      // three apart
    GRADIENT_ONTO_RESIDUAL, // residual is dx
    GRADIENT_RESIDUAL_DY,   // residual is dy, dx apart
    GRADIENT_ALL_ONE,       // residual is dy, which is dx
} gradient_places;

// The worst of dx, dgamma and dbeta, the last two added to random values.
check_result check_group_norm_backward(ops *o, int n, int h, int w, int c, int groups, bool silu, float mean, gradient_places places);
check_result check_layer_norm_backward(ops *o, int rows, int c, float mean, gradient_places places);

#endif
