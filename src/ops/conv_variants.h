// The variants behind src/ops/conv.h and gemm.h: a linear layer is the call with one tap.
#ifndef OPS_CONV_VARIANTS_H
#define OPS_CONV_VARIANTS_H

#include "ops/weight.h"

// y = convolution of x; or, for the gradient with respect to x: x is dy, y is dx, w is weight_transposed of the layer's.
typedef struct conv_call {
    tensor x, y; // (n, h, w, in), (n, oh, ow, out)
    const weight *w;
    const epilogue *e; // never null
    int stride;        // 1 or 2; y = ceil(x / stride)
    bool upsample;     // read x at half the coordinates: y is (n, 2h, 2w, out)
    bool dilate;       // read x at half the coordinates where both are even, else zeros: y is (n, 2h or 2h - 1, 2w or 2w - 1, out)
} conv_call;

// Any of them.
void conv_run(ops *o, variant v, const conv_call *call);
void conv_cpu(ops *o, const conv_call *call);
void conv_winograd(ops *o, const conv_call *call); // where conv_form says so
void conv_gpu(ops *o, const conv_call *call);
void conv_generic(ops *o, const conv_call *call);

// 2 * pixels * taps * in * out, and every operand once.
cost conv_cost(const conv_call *call);

// Where windows lie, as kernel arguments, in the order of WINDOW_ARGUMENTS (cl/window.clh).
#define WINDOW(x, y, stride, upsample, dilate) I((x).h), I((x).w), I((y).h), I((y).w), I(stride), I((upsample) || (dilate)), I(dilate)

// The epilogue as kernel arguments, in the order of EPILOGUE_ARGUMENTS (cl/epilogue.clh).
#define EPILOGUE(e) T((e)->bias), T((e)->residual), T((e)->v), T((e)->mix), I(epilogue_parts(e))
int epilogue_parts(const epilogue *e);

#endif
