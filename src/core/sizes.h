// Sizes of a network, as weights files and [model] state them.
#ifndef CORE_SIZES_H
#define CORE_SIZES_H

typedef struct model_sizes {
    int channels[2]; // width of level 0 (at H/2 x W/2) and level 1 (at H/4 x W/4)
    int heads;       // of self-attention; divides both widths
    int groups;      // of GroupNorm; divides all widths met
    int steps;       // T, DDIM steps
    int block;       // B, sampling block size; N = B * B
} model_sizes;

#endif
