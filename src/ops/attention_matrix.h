// Attention on the matrix unit (ops/matrix.h), for what is stored in 16 bits: such operands, weights rounded to them too, float32 sums.
// What is float32 is rounded on its way; nothing is widened in memory.
#ifndef OPS_ATTENTION_MATRIX_H
#define OPS_ATTENTION_MATRIX_H

#include "ops/attention_variants.h"

// Runs the call with its tensors as they are stored. False, and nothing is done: there is no unit, all is float32, or the kernel does not
// fit the device.
bool attention_matrix(ops *o, const attention_call *a);

// The same of the gradients, always in two passes; a->delta is not used.
bool attention_matrix_backward(ops *o, const attention_backward_call *a);

#endif
