// One deterministic DDIM step with range-null-space correction (MODEL.md "Network", step_t), on image planes (n, H, W, 1).
#ifndef OPS_DDIM_H
#define OPS_DDIM_H

#include "ops/sensing.h"

// e: the noise estimate as the U-Net left it, (n, H/2, W/2, 4) (pixel_shuffle2 is done on reading). alpha_bar: T + 1 values on the device.
// t: the step, 1..T.
//   x0 = (x - sqrt(1-ab[t]) e) / sqrt(ab[t]);  x0 += A^T(y - A x0) with back_projection = A^T y;  r = sqrt(ab[t-1]) x0 + sqrt(1-ab[t-1]) e
// result = (1 - v) r + v mix when given in `c` (bias and residual unused), else r; result may be c->mix.
void ddim_step_forward(ops *o, const sensing *s, tensor x, tensor e, tensor alpha_bar, int t, tensor back_projection, const epilogue *c,
                       tensor result);

// alpha_bar[0] = 1, alpha_bar[t] = alpha[0] ... alpha[t-1]; alpha: T values on the device.
void alpha_bar_forward(ops *o, tensor alpha, tensor alpha_bar);

// x = sqrt(alpha_bar[T]) back_projection
void ddim_start(ops *o, tensor back_projection, tensor alpha_bar, int steps, tensor x);

// ---- Backward. dalpha_bar: T + 1 values, what is said is added to them; alpha_bar[0] is a constant and gets none.

// dr: gradient of the step's r (before any coupling). dx = its part that does not go through e, de in e's layout; dx may be dr, de may be
// e. Adds to dalpha_bar[t] and, where t > 1, [t - 1].
void ddim_step_backward(ops *o, const sensing *s, tensor x, tensor e, tensor alpha_bar, int t, tensor back_projection, tensor dr, tensor dx,
                        tensor de, tensor dalpha_bar);

// dx: gradient of ddim_start's x. Adds to dalpha_bar[T].
void ddim_start_backward(ops *o, tensor dx, tensor back_projection, tensor alpha_bar, int steps, tensor dalpha_bar);

// dalpha (T values) += the gradient by way of alpha_bar.
void alpha_bar_backward(ops *o, tensor alpha, tensor alpha_bar, tensor dalpha_bar, tensor dalpha);

#endif
