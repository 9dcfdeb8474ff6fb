// Checks of src/ops/pointwise.h (see tune/check.h).
#ifndef TUNE_CHECK_POINTWISE_H
#define TUNE_CHECK_POINTWISE_H

#include "tune/check.h"

// Values in [-size, size).
check_result check_silu(ops *o, int n, int h, int w, int c, float size);
check_result check_geglu(ops *o, int rows, int c, float size);
// gelu(g) of sizes up to 128: the largest relative error of a single value, which a norm would hide; what is below `tiny` is taken relative
// to that.
check_result check_gelu_tail(ops *o, float tiny);
check_result check_geglu_backward(ops *o, int rows, int c, float size, bool in_place);
// As check_gelu_tail, of its derivative; values near its zero, where terms cancel, are left out.
check_result check_gelu_slope_tail(ops *o, float tiny);
check_result check_channels_copy(ops *o, int rows, int c, int y_channels, int first);
check_result check_channels_slice(ops *o, int rows, int c, int x_channels, int first, bool add);
check_result check_upsample_nearest(ops *o, int n, int h, int w, int c);
check_result check_add(ops *o, int rows, int c); // onto x, then onto z
// Added to a random value. cancel: of x with itself, half of it negated, so that the terms cancel but for the last; the error is relative
// to the norms of x and z.
check_result check_dot_add(ops *o, int rows, int c, bool cancel);
check_result check_upsample_nearest_backward(ops *o, int n, int h, int w, int c, bool residual); // residual: dx itself
check_result check_scale(ops *o, int rows, int c);                                               // in place
check_result check_add_scaled(ops *o, int rows, int c);                                          // in place
// mix is y.
check_result check_epilogue(ops *o, int rows, int c, bool bias, bool residual, bool coupled);
// Both directions.
check_result check_pixel_shuffle(ops *o, int n, int h, int w, int planes, int r);

#endif
