// Linear layers = 1x1 convolutions in NHWC: Y (rows x out) = X (rows x in) W (in x out).
#ifndef OPS_GEMM_H
#define OPS_GEMM_H

#include "ops/weight.h"

// y = epilogue(x w). x: pixels x in (any n h w), y: as many pixels x out; w->taps is 1. y does not overlap x. e may be null: y = x w.
void gemm_forward(ops *o, tensor x, const weight *w, const epilogue *e, tensor y);

// dx (pixels x in) = epilogue(dy w^T), the gradient with respect to x. e may be null; residual = dx adds to what is there. dx does not
// overlap dy.
void gemm_backward_data(ops *o, tensor dy, const weight *w, const epilogue *e, tensor dx);

// dw (in x out) += x^T dy, dbias (out values) += column sums of dy; NO_TENSOR: not wanted. As conv_backward_weight.
void gemm_backward_weight(ops *o, tensor x, tensor dy, tensor dw, tensor dbias);

#endif
