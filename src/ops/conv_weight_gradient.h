// The gradients of weights and biases behind src/ops/conv.h and gemm.h.
#ifndef OPS_CONV_WEIGHT_GRADIENT_H
#define OPS_CONV_WEIGHT_GRADIENT_H

#include "ops/conv_cpu.h"

typedef struct weight_gradient_call {
    tensor x, dy; // (n, h, w, in), (n, oh, ow, out)
    tensor dw;    // [taps][in][out]
    int taps;     // 9; 1: a linear layer, x and dy matrices
    int stride;   // as conv_call (ops/conv_variants.h)
    bool upsample;
} weight_gradient_call;

// The tuning's row for a call, or null.
const tuning_row *weight_gradient_tuned(const ops *o, variant v, const weight_gradient_call *call);

// dw += gradient, by a variant of the table (not CLBlast).
void conv_weight_gradient(ops *o, variant v, const weight_gradient_call *call);

// The GPU variant: partial sums for its own number of slices of the pixels, merged.
void conv_weight_gradient_gpu(ops *o, const weight_gradient_call *call);

// The CPU variant by Winograd's F(4x4, 3x3), with that register tile of input channels and outputs: where conv_form says that the layer is
// made so.
void conv_weight_gradient_winograd(ops *o, const weight_gradient_call *call, cpu_tile tile);

// Partial sums, (slices, 1, taps * in, out) on POOL_ACTIVATIONS.
tensor weight_gradient_partials(ops *o, const weight_gradient_call *call, int slices);
// dw += sum of the slices.
void weight_gradient_merge(ops *o, tensor partials, int slices, tensor dw);
// 2 * pixels * taps * in * out, and every operand once.
cost weight_gradient_cost(const weight_gradient_call *call, tensor partials);

// dbias (c values) += column sums of dy, as sums of 64 rows and the sum of these.
void bias_gradient(ops *o, tensor dy, tensor dbias);

#endif
