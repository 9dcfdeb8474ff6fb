// The injector (IDM section 3.3, MODEL.md): x + pixel_unshuffle_r(conv1x1([p, A^T A p, A^T y])), p = conv1x1(pixel_shuffle_r(x)).
#ifndef OPS_INJECTOR_H
#define OPS_INJECTOR_H

#include "ops/sensing.h"

// x, y: (n, h, w, c), h*r = H, w*r = W, r = 1, 2 or 4, c a multiple of r^2; y may be e->mix. f2i: c/r^2 weights and its bias (1); i2f:
// weights (c/r^2, 3) row-major as [c/r^2][3] and bias (c/r^2). back_projection: A^T y (n, H, W, 1). The coupling in `e` (v, mix) is applied
// to x + injection; e->bias and e->residual are not used.
void injector_forward(ops *o, const sensing *s, tensor x, int r, tensor f2i_weight, tensor f2i_bias, tensor i2f_weight, tensor i2f_bias,
                      tensor back_projection, const epilogue *e, tensor y);

// Gradient of x + injection (before any coupling), from dy; what it needs of the forward pass is computed again. dx may be dy. The
// parameters' gradients, of the parameters' shapes, are added to.
void injector_backward(ops *o, const sensing *s, tensor x, int r, tensor f2i_weight, tensor f2i_bias, tensor i2f_weight,
                       tensor back_projection, tensor dy, tensor dx, tensor df2i_weight, tensor df2i_bias, tensor di2f_weight,
                       tensor di2f_bias);

#endif
