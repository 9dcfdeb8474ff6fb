#include "ops/conv.h"

#include "ops/conv_variants.h"
#include <assert.h>

cost conv_cost(const conv_call *call)
{
    const weight *w = call->w;
    const double pixels = tensor_rows(call->y), values = (double)tensor_bytes(call->y);
    const int more = tensor_given(call->e->residual) + tensor_given(call->e->v);
    return (cost){2.0 * pixels * w->taps * w->in * w->out,
                  (double)tensor_bytes(call->x) + (double)tensor_bytes(w->plain) + (1 + more) * values};
}

int epilogue_parts(const epilogue *e)
{
    return (tensor_given(e->bias) ? 1 : 0) | (tensor_given(e->residual) ? 2 : 0) | (tensor_given(e->v) ? 4 : 0); // cl/epilogue.clh
}

void conv_run(ops *o, variant v, const conv_call *call)
{
    switch (v) {
    case VARIANT_CPU:
        conv_cpu(o, call);
        break;
    case VARIANT_GPU:
        conv_gpu(o, call);
        break;
    default:
        conv_generic(o, call);
        break;
    }
}

void conv_forward(ops *o, tensor x, const weight *w, int stride, bool upsample, const epilogue *e, tensor y)
{
    static const epilogue none;
    const conv_call call = {.x = x, .y = y, .w = w, .e = e ? e : &none, .stride = stride, .upsample = upsample};
    assert(w->taps == 9 && x.c == w->in && y.c == w->out && x.n == y.n);
    assert(!upsample || stride == 1);
    assert(y.h == ((x.h << upsample) + stride - 1) / stride && y.w == ((x.w << upsample) + stride - 1) / stride);
    conv_run(o, o->table.conv, &call);
}
