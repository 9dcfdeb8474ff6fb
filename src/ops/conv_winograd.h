// Which 3x3 convolutions the CPU variant makes by Winograd's F(4x4, 3x3).
#ifndef OPS_CONV_WINOGRAD_H
#define OPS_CONV_WINOGRAD_H

#include "ops/weight.h"

// WEIGHT_WINOGRAD where a convolution of `in` channels to `out`, (oh, ow) pixels a picture, is made that way: math = fast, stride 1,
// pictures and channels so many that it is faster, or the tuning says that it is, and memory in pieces large enough. The same for any
// batch, so that the batch shapes no bits. The gradient of w goes the way of the forward pass unless its own tuning says no.
weight_form conv_form(const ops *o, int in, int out, int stride, int oh, int ow);

#endif
