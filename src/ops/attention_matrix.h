// Attention on the matrix unit (ops/matrix.h), for what is stored in 16 bits: such operands, weights rounded to them too, float32 sums.
// What is float32 is rounded on its way; nothing is widened in memory.
#ifndef OPS_ATTENTION_MATRIX_H
#define OPS_ATTENTION_MATRIX_H

#include "ops/attention_variants.h"

// Whether there is a unit, and room on the device for its kernels for heads of that size: of attention, and of its gradients.
bool attention_matrix_fits(const ops *o, int head_size);
bool attention_matrix_backward_fits(const ops *o, int head_size);

// Runs the call with its tensors as they are stored. False, and nothing is done: all is float32, or it does not fit.
bool attention_matrix(ops *o, const attention_call *a);

// The same of the gradients, in two passes or three; a->delta is not used.
bool attention_matrix_backward(ops *o, const attention_backward_call *a);

#endif
