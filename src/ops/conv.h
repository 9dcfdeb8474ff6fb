// 3x3 convolution in NHWC: cross-correlation, zero padding 1, stride 1 or 2.
#ifndef OPS_CONV_H
#define OPS_CONV_H

#include "ops/weight.h"

// y (n, ceil(h/stride), ceil(w/stride), out) = epilogue(conv3x3(x (n, h, w, in))); w->taps is 9. upsample: x is read through
// nearest-neighbour 2x upsampling, so y is (n, 2h, 2w, out) (stride 1). y does not overlap x. e may be null.
void conv_forward(ops *o, tensor x, const weight *w, int stride, bool upsample, const epilogue *e, tensor y);

#endif
