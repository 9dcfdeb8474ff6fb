// The variants behind conv_forward and gemm_forward: a linear layer is the call with one tap.
#ifndef OPS_CONV_VARIANTS_H
#define OPS_CONV_VARIANTS_H

#include "ops/weight.h"

typedef struct conv_call {
    tensor x, y; // (n, h, w, in), (n, oh, ow, out)
    const weight *w;
    const epilogue *e; // never null
    int stride;        // 1 or 2; y = ceil(x / stride)
    bool upsample;     // read x at half the coordinates: y is (n, 2h, 2w, out)
} conv_call;

// Any of them.
void conv_run(ops *o, variant v, const conv_call *call);
void conv_cpu(ops *o, const conv_call *call);
void conv_gpu(ops *o, const conv_call *call);
void conv_generic(ops *o, const conv_call *call);

// 2 * pixels * taps * in * out, and every operand once.
cost conv_cost(const conv_call *call);

// The epilogue as kernel arguments, in the order of EPILOGUE_ARGUMENTS (cl/epilogue.clh).
#define EPILOGUE(e) T((e)->bias), T((e)->residual), T((e)->v), T((e)->mix), I(epilogue_parts(e))
int epilogue_parts(const epilogue *e);

#endif
