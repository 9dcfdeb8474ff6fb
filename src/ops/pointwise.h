// Operations that only move bytes or work element by element.
#ifndef OPS_POINTWISE_H
#define OPS_POINTWISE_H

#include "ops/ops.h"

// y = silu(x) = x / (1 + exp(-x)). Same shapes; in place allowed.
void silu_forward(ops *o, tensor x, tensor y);

// GEGLU (Shazeer 2020) with the exact gelu:  y[r, j] = x[r, j] * gelu(x[r, c + j]),  gelu(g) = g (1 + erf(g / sqrt 2)) / 2;  x rows x 2c, y
// rows x c. exact: the device's erf; else a polynomial good to float rounding.
void geglu_forward(ops *o, tensor x, tensor y);
// Its gradient: x, dx rows x 2c, dy rows x c; dx may be x.
void geglu_backward(ops *o, tensor x, tensor dy, tensor dx);

// y[.., first .. first + x.c) = x; same n h w. Concatenation and repeat along channels are calls of this.
void channels_copy(ops *o, tensor x, tensor y, int first);
// Its gradient: y = x[.., first .. first + y.c), or y += it; same n h w.
void channels_slice(ops *o, tensor x, int first, bool add, tensor y);

// y (n, 2h, 2w, c) = nearest-neighbour upsampling of x (n, h, w, c).
void upsample_nearest(ops *o, tensor x, tensor y);
// dx (n, h, w, c) = epilogue(its transpose: sums of 2 x 2 pixels of dy (n, 2h, 2w, c)).
void upsample_nearest_backward(ops *o, tensor dy, const epilogue *e, tensor dx);

// y = x + z; y may be either.
void add(ops *o, tensor x, tensor z, tensor y);

// a (one value on the device) += <x, z>, x and z of as many values: a fixed order, partial sums over blocks added up in two floats.
void dot_add(ops *o, tensor x, tensor z, tensor a);

// y = a x, y = x + a z;  a: one value on the device. y may be x (or z).
void scale(ops *o, tensor x, tensor a, tensor y);
void add_scaled(ops *o, tensor x, tensor z, tensor a, tensor y);

// The epilogue alone: r = x (+ bias) (+ residual), y = r or (1 - v) r + v mix; for variants that cannot fuse it. y may be x.
void epilogue_forward(ops *o, tensor x, const epilogue *e, tensor y);

// Planes and features (MODEL.md, PyTorch's order): y (n, h*r, w*r, c/r^2) = pixel_shuffle(x (n, h, w, c)), in NHWC; and its inverse.
void pixel_shuffle(ops *o, tensor x, int r, tensor y);
void pixel_unshuffle(ops *o, tensor x, int r, tensor y);

#endif
