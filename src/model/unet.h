// The noise estimator: Stable Diffusion 1.5's U-Net cut down to two levels, wired in reversible chains (MODEL.md "U-Net", IDM section 3).
#ifndef MODEL_UNET_H
#define MODEL_UNET_H

#include "core/sizes.h"
#include "model/chain.h"

typedef struct down_block {
    resnet first; // outside the chains, where the width changes
    bool has_first;
    chain chains[2];
    tensor help, merge; // 1 and 2 values
    layer downsampler;
    bool has_downsampler;
} down_block;

typedef struct up_block {
    resnet first; // outside the chain
    chain chain;
    tensor help, merge; // 1 value each
    layer upsampler;
    bool has_upsampler;
} up_block;

typedef struct unet {
    model_sizes sizes;
    layer conv_in, conv_out;
    norm_layer norm_out;
    down_block down[2];
    up_block up[2];
} unet;

static const float UNET_NORM_EPSILON = 1e-5f; // of norm_out

void unet_create(parameters *p, const model_sizes *sizes, unet *u);

// What a forward pass leaves for the backward pass, on POOL_ACTIVATIONS; the caller releases it. Skips and block inputs, and the chains'.
typedef struct down_tape {
    resnet_tape first;
    tensor outs[3]; // merge after each chain, downsampled
    chain_tape chains[2];
} down_tape;

typedef struct up_tape {
    resnet_tape first;
    chain_tape chain;
} up_tape;

typedef struct unet_tape {
    tensor x, in, middle, last; // the input, conv_in's output, the up blocks' outputs
    down_tape down[2];
    up_tape up[2];
} unet_tape;

// x, y: (n, H/2, W/2, 4), the pixel-unshuffled image and the estimate. H and W are multiples of 4. tape: filled for unet_backward (x must
// stay, and y may not be x), or null: then y may be x.
void unet_forward(const pass *p, unet *u, tensor x, tensor y, unet_tape *tape);

// dx from dy, both as x; the parameters' gradients are added to. Uses the tape up. (unet_backward.c)
void unet_backward(const pass *p, unet *u, unet_tape *tape, tensor dy, tensor dx);

// What both directions share: one of several values that lie side by side; a tensor like `like` with other channels, on POOL_ACTIVATIONS;
// the skips that up block `level` reads in order; and its resnets' skips and skip gradients set (gradients null: none).
tensor unet_value_at(tensor values, int i);
tensor unet_push(const pass *p, tensor like, int channels);
void unet_set_skips(up_block *b, const tensor skips[3], const tensor *gradients);
// cat[x, ..., x, skip] as up block's first resnet reads it: x as often as fits (the lowest level's channels are repeated).
tensor unet_push_up_input(const pass *p, const up_block *b, tensor x, tensor skip);

#endif
