// Checks of src/ops/norm.h (see tune/check.h).
#ifndef TUNE_CHECK_NORM_H
#define TUNE_CHECK_NORM_H

#include "tune/check.h"

// mean: added to values in [-2, 2); in_place: y is x.
check_result check_group_norm(ops *o, int n, int h, int w, int c, int groups, bool silu, float mean, bool in_place);
check_result check_layer_norm(ops *o, int rows, int c, float mean);

#endif
