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

void unet_create(parameters *p, const model_sizes *sizes, unet *u);

// x, y: (n, H/2, W/2, 4), the pixel-unshuffled image and the estimate. H and W are multiples of 4.
void unet_forward(const pass *p, unet *u, tensor x, tensor y);

#endif
