// The training loss (MODEL.md "Training recipe"): L1.
#ifndef OPS_LOSS_H
#define OPS_LOSS_H

#include "ops/ops.h"

// loss (one value) += weight sum |out - x|;  dout = scale weight sign(out - x), 0 where both are equal, not a number where out is not. The
// mean over a batch that comes in parts: weight = 1 / values of the whole batch. scale: one value on the device (of loss scaling), or
// NO_TENSOR for 1. out, x, dout: as many float32 values each; dout may be out or x.
void l1_loss(ops *o, tensor out, tensor x, float weight, tensor scale, tensor loss, tensor dout);

#endif
