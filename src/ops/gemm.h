// Linear layers = 1x1 convolutions in NHWC: Y (rows x out) = X (rows x in) W (in x out).
#ifndef OPS_GEMM_H
#define OPS_GEMM_H

#include "ops/weight.h"

// y = epilogue(x w). x: pixels x in (any n h w), y: as many pixels x out; w->taps is 1. y does not overlap x. e may be null: y = x w.
void gemm_forward(ops *o, tensor x, const weight *w, const epilogue *e, tensor y);

#endif
