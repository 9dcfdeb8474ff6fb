// Checks of the gradients of convolution and linear layers (src/tune/check.h).
#ifndef TUNE_CHECK_CONV_BACKWARD_H
#define TUNE_CHECK_CONV_BACKWARD_H

#include "tune/check_conv.h"

// Beside CHECK_RESIDUAL and CHECK_COUPLING: CHECK_IN_PLACE, with one or both: the residual, or with coupling mix, is dx itself;
// CHECK_KEPT: with a kept transposed weight.
enum { CHECK_KEPT = 16 };

// And the types of storage of check_conv.h: of dy and, by CHECK_NARROW, of all that the epilogue reads and writes; of both x and dy.

// conv_backward_data to dx (n, h, w, in).
check_result check_conv_backward_data(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample, int parts);
// gemm_backward_data to dx (rows x in).
check_result check_gemm_backward_data(ops *o, int rows, int in, int out, int parts);

// conv_backward_weight of x (n, h, w, in), called twice, the second time with a bias, adding to what was there: the worse of dw and dbias.
check_result check_conv_backward_weight(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample);
// gemm_backward_weight of x (rows x in), likewise.
check_result check_gemm_backward_weight(ops *o, int rows, int in, int out);
// The same with types of storage: CHECK_HALF or CHECK_BF16.
check_result check_stored_backward_weight(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts);

// dx, dw and dbias one after the other on such inputs (taps 9, or 1 with h = n = 1 and w rows), to compare bits; the caller's to free().
// Null after an error.
float *check_conv_backward_values(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts,
                                  size_t *count);

#endif
