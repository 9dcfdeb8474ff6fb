// ResNet block without time embedding (He et al. 2016 in Stable Diffusion's form): x or conv_shortcut(x) +
// conv2(silu(norm2(conv1(silu(norm1(x)))))).
#ifndef MODEL_RESNET_H
#define MODEL_RESNET_H

#include "model/parameters.h"

typedef struct resnet {
    int in, out, groups;
    norm_layer norm1, norm2;
    layer conv1, conv2, shortcut; // shortcut only where in != out
} resnet;

resnet resnet_create(parameters *p, int in, int out, int groups, const char *name);

// What the backward pass reads beside x: conv1's output.
typedef struct resnet_tape {
    tensor hidden;
} resnet_tape;

// Tensors for a tape, on POOL_ACTIVATIONS; the caller releases them. x: the input it will be for.
resnet_tape resnet_tape_push(ops *o, const resnet *r, tensor x);

// body(x), or with `coupling` (v, mix) the reversible module's (1 - v) body(x) + v mix. x (n, h, w, in), y (n, h, w, out), y does not
// overlap x; y may be mix. tape: filled for resnet_backward, or null. Scratch: three tensors as wide as x or y.
void resnet_forward(ops *o, const resnet *r, tensor x, const epilogue *coupling, tensor y, const resnet_tape *tape);

// dx = (add ? dx : 0) + body'(x)^T dy; the parameters' gradients are added to.
void resnet_backward(ops *o, const resnet *r, tensor x, const resnet_tape *tape, tensor dy, bool add, tensor dx);

#endif
