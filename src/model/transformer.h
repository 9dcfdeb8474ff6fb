// Transformer block over pixels as tokens (MODEL.md "attention"; Vaswani et al. 2017, GEGLU of Shazeer 2020), without cross-attention.
#ifndef MODEL_TRANSFORMER_H
#define MODEL_TRANSFORMER_H

#include "model/parameters.h"

typedef struct transformer {
    int channels, heads, groups;
    norm_layer norm, norm1, norm3;
    layer proj_in, to_q, to_k, to_v, to_out, ff_proj, ff_out, proj_out;
} transformer;

transformer transformer_create(parameters *p, int channels, int heads, int groups, const char *name);

// What the backward pass reads beside x: the token streams before and after each half (z0 -> z1 -> z2), attention's operands and result,
// and the feed-forward layer's first product, `wide`; without that one (NO_TENSOR) it is made again, some tokens at a time.
typedef struct transformer_tape {
    tensor z0, q, k, v, lse, attended, z1, wide, z2;
} transformer_tape;

// Tensors for a tape, on POOL_ACTIVATIONS; the caller releases them. x: the input it will be for.
transformer_tape transformer_tape_push(ops *o, const transformer *t, tensor x, bool keep_wide);

// body(x), or coupled, as resnet_forward. x, y (n, h, w, channels). tape: filled for transformer_backward, or null. Scratch: five tensors
// as x and a chunk of the feed-forward layer.
void transformer_forward(ops *o, const transformer *t, tensor x, const epilogue *coupling, tensor y, const transformer_tape *tape);

// dx += body'(x)^T dy; the parameters' gradients are added to. The tape's `wide` is overwritten.
void transformer_backward(ops *o, const transformer *t, tensor x, const transformer_tape *tape, tensor dy, tensor dx);

#endif
