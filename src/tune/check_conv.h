// Checks of convolution and linear layers (src/tune/check.h).
#ifndef TUNE_CHECK_CONV_H
#define TUNE_CHECK_CONV_H

#include "tune/check.h"

// Parts of the epilogue in use. CHECK_IN_PLACE, with CHECK_COUPLING: mix is y itself.
enum { CHECK_BIAS = 1, CHECK_RESIDUAL = 2, CHECK_COUPLING = 4, CHECK_IN_PLACE = 8 };

// Beside them: CHECK_HALF or CHECK_BF16: x (and dy) is stored in 16 bits, and it and the weights are such values from the start, so that
// results differ by sums' rounding alone; CHECK_NARROW with one of them: so is all that the epilogue reads and writes but for the bias.
enum { CHECK_HALF = 32, CHECK_BF16 = 64, CHECK_NARROW = 128 };
static inline dtype check_type(int parts)
{
    return parts & CHECK_HALF ? DTYPE_F16 : parts & CHECK_BF16 ? DTYPE_BF16 : DTYPE_F32;
}
static inline dtype check_output_type(int parts)
{
    return parts & CHECK_NARROW ? check_type(parts) : DTYPE_F32;
}

// conv_forward on x (n, h, w, in).
check_result check_conv(ops *o, int n, int h, int w, int in, int out, int stride, bool upsample, int parts);
// gemm_forward on x (rows x in).
check_result check_gemm(ops *o, int rows, int in, int out, int parts);

// The op's result on the same inputs as check_conv (taps 9) or check_gemm (taps 1, h = n = 1, w rows), to compare bits; the caller's to
// free(). Null after an error.
float *check_conv_values(ops *o, int n, int h, int w, int in, int out, int taps, int stride, bool upsample, int parts, size_t *count);

#endif
