// Convolutions and linear layers on the matrix unit (ops/matrix.h), for what is stored in 16 bits: such operands, float32 sums. Operands
// that are float32, weights always, are rounded on their way; nothing is widened in memory.
#ifndef OPS_CONV_MATRIX_H
#define OPS_CONV_MATRIX_H

#include "ops/conv_variants.h"
#include "ops/conv_weight_gradient.h"

// Whether a call with x and y (or dy) stored as they are runs on the unit: there is one, and either is stored in 16 bits.
bool conv_matrix_takes(const ops *o, tensor x, tensor y);

// Whether the kernels' smallest tile fits the device.
bool conv_matrix_fits(const device_info *device, matrix_unit unit);

// y as by conv_run. call->w is the layer's own weight, plain; with `transposed` the call is the gradient with respect to x, and in and out
// of the weight change places.
void conv_matrix(ops *o, const conv_call *call, bool transposed);

// dw += gradient, as conv_weight_gradient.
void conv_weight_gradient_matrix(ops *o, const weight_gradient_call *call);

#endif
