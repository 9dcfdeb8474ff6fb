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

// body(x), or coupled, as resnet_forward. x, y (n, h, w, channels). Scratch: five tensors as x and a chunk of the feed-forward layer.
void transformer_forward(ops *o, const transformer *t, tensor x, const epilogue *coupling, tensor y);

#endif
