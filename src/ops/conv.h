// 3x3 convolution in NHWC: cross-correlation, zero padding 1, stride 1 or 2.
#ifndef OPS_CONV_H
#define OPS_CONV_H

#include "ops/weight.h"

// y (n, ceil(h/stride), ceil(w/stride), out) = epilogue(conv3x3(x (n, h, w, in))); w->taps is 9. upsample: x is read through
// nearest-neighbour 2x upsampling, so y is (n, 2h, 2w, out) (stride 1). y does not overlap x. e may be null.
void conv_forward(ops *o, tensor x, const weight *w, int stride, bool upsample, const epilogue *e, tensor y);

// dx (n, h, w, in) = epilogue(gradient with respect to x of conv_forward with the same w, stride and upsample), dy (n, oh, ow, out) being
// the gradient with respect to y. e may be null; residual = dx adds to what is there. dx does not overlap dy.
void conv_backward_data(ops *o, tensor dy, const weight *w, int stride, bool upsample, const epilogue *e, tensor dx);

// dw (as weight.plain: [9][in][out]) += gradient with respect to w, dbias (out values) += that with respect to the bias; NO_TENSOR: not
// wanted. Float32 sums by blocks of pixels, rounded into dw and dbias once; their order depends on the sizes and the device, not on the
// run.
void conv_backward_weight(ops *o, tensor x, tensor dy, int stride, bool upsample, tensor dw, tensor dbias);

#endif
