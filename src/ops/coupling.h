// The coupling of a reversible module (MODEL.md "Reversible chain") by itself; where the module's last operation can, its epilogue does it
// (ops.h), to the same bits. f = body(x1), x2, y1, dy1: as many float32 values each, any shape; v: one value on the device.
#ifndef OPS_COUPLING_H
#define OPS_COUPLING_H

#include "ops/ops.h"

// y1 = (1 - v) f + v x2. y1 may be f or x2.
void coupling_forward(ops *o, tensor f, tensor x2, tensor v, tensor y1);
// x2 = (y1 - (1 - v) f) / v: what coupling_forward was given but for rounding errors, which 1 / v enlarges. x2 may be f or y1.
void coupling_invert(ops *o, tensor f, tensor y1, tensor v, tensor x2);
// dbody = (1 - v) dy1, dx2 = v dy1, dv += <x2 - f, dy1>. dbody and dx2 may each be any one of the arguments.
void coupling_backward(ops *o, tensor f, tensor x2, tensor v, tensor dy1, tensor dbody, tensor dx2, tensor dv);

#endif
