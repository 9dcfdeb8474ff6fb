// Normalisation: GroupNorm (Wu & He 2018) over pixels and the group's channels, LayerNorm over channels. Biased variance, statistics in
// float32 by chunk-wise mean and squared deviation merged as Chan et al. 1979, so large means do not cancel.
#ifndef OPS_NORM_H
#define OPS_NORM_H

#include "ops/ops.h"

// y = silu?(gamma (x - mean) / sqrt(var + eps) + beta), per sample and group. x, y: (n, h, w, c), may be the same; gamma, beta: c values;
// groups divides c. Scratch for the statistics comes from POOL_ACTIVATIONS.
void group_norm_forward(ops *o, tensor x, tensor gamma, tensor beta, int groups, float eps, bool silu, tensor y);

// y = gamma (x - mean) / sqrt(var + eps) + beta per pixel (token) over its c channels.
void layer_norm_forward(ops *o, tensor x, tensor gamma, tensor beta, float eps, tensor y);

// Gradients, from x alone: the statistics are computed again. dx = the gradient with respect to x (+ residual); dgamma and dbeta (c values
// each) += theirs. dx, dy: as x; residual: as x or NO_TENSOR; dx may be dy, x or residual. eps, groups and silu as forward.
void group_norm_backward(ops *o, tensor x, tensor gamma, tensor beta, int groups, float eps, bool silu, tensor dy, tensor residual,
                         tensor dx, tensor dgamma, tensor dbeta);
void layer_norm_backward(ops *o, tensor x, tensor gamma, float eps, tensor dy, tensor residual, tensor dx, tensor dgamma, tensor dbeta);

#endif
