// Linear layers = 1x1 convolutions in NHWC: Y (rows x out) = X (rows x in) W (in x out), and the weights that GEMM-like ops read.
#ifndef OPS_GEMM_H
#define OPS_GEMM_H

#include "ops/ops.h"

// A weight matrix or kernel on the device, [taps][in][out] row-major float32 (taps 1 or 9, row by row from the top left), and what a
// variant wants otherwise.
typedef struct weight {
    tensor plain; // w = taps * in rows of c = out
    int taps, in, out;
    tensor panels;     // kept copy in panels for the CPU variant (POOL_DERIVED), or NO_TENSOR: then made per use in scratch
    int panel_vectors; // float16 vectors per row of a panel
    unsigned version;  // of plain, when panels were made
} weight;

// Columns [first, first + count) of X may be given by x.c < stride: rows of x are `x_stride` floats apart; y likewise. 0: dense.
typedef struct gemm_strides {
    int x, y;
} gemm_strides;

// y = epilogue(x w). x: rows x in (any n h w), y: rows x out. y must not overlap x. accumulate-free.
void gemm_forward(ops *o, tensor x, const weight *w, gemm_strides strides, const epilogue *e, tensor y);

#endif
