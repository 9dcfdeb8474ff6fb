#include "ops/conv.h"

#include "ops/conv_matrix.h"
#include "ops/conv_variants.h"
#include "ops/conv_weight_gradient.h"
#include "ops/conv_winograd.h"
#include "ops/pointwise.h"
#include "ops/storage.h"
#include <assert.h>

cost conv_cost(const conv_call *call)
{
    const weight *w = call->w;
    const double pixels = tensor_rows(call->y), values = (double)tensor_bytes(call->y);
    const int more = tensor_given(call->e->residual) + tensor_given(call->e->v);
    return (cost){2.0 * pixels * w->taps * w->in * w->out,
                  (double)tensor_bytes(call->x) + 4.0 * w->taps * w->in * w->out + (1 + more) * values};
}

int epilogue_parts(const epilogue *e)
{
    return (tensor_given(e->bias) ? 1 : 0) | (tensor_given(e->residual) ? 2 : 0) | (tensor_given(e->v) ? 4 : 0); // cl/epilogue.clh
}

static weight_form form_of(const ops *o, const conv_call *call, int in, int out)
{
    return conv_form(o, in, out, call->stride, call->y.h, call->y.w);
}

static void run_variant(ops *o, variant v, const conv_call *call)
{
    const weight *w = call->w;
    switch (v) {
    case VARIANT_CPU:
        if (w->taps == 9 && form_of(o, call, w->in, w->out) == WEIGHT_WINOGRAD) conv_winograd(o, call);
        else conv_cpu(o, call);
        break;
    case VARIANT_GPU:
        conv_gpu(o, call);
        break;
    default:
        conv_generic(o, call);
        break;
    }
}

void conv_run(ops *o, variant v, const conv_call *call)
{
    if (conv_matrix_takes(o, call->x, call->y)) {
        conv_matrix(o, call, false);
        return;
    }
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const epilogue e = storage_widen_epilogue(o, call->e);
    conv_call wide = *call;
    wide.x = storage_widen(o, call->x);
    wide.y = storage_place(o, call->y);
    wide.e = &e;
    run_variant(o, v, &wide);
    storage_narrow(o, wide.y, call->y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// Whether x (the layer's input) and y (its output) belong together; for assertions.
static inline bool sizes_fit(tensor x, tensor y, int stride, bool upsample)
{
    return x.n == y.n && (!upsample || stride == 1) && y.h == ((x.h << upsample) + stride - 1) / stride &&
           y.w == ((x.w << upsample) + stride - 1) / stride;
}

void conv_forward(ops *o, tensor x, const weight *w, int stride, bool upsample, const epilogue *e, tensor y)
{
    static const epilogue none;
    const conv_call call = {.x = x, .y = y, .w = w, .e = e ? e : &none, .stride = stride, .upsample = upsample};
    assert(w->taps == 9 && x.c == w->in && y.c == w->out && sizes_fit(x, y, stride, upsample));
    conv_run(o, o->table.conv, &call);
}

void conv_backward_data(ops *o, tensor dy, const weight *w, int stride, bool upsample, const epilogue *e, tensor dx)
{
    static const epilogue none;
    assert(w->taps == 9 && dx.c == w->in && dy.c == w->out && sizes_fit(dx, dy, stride, upsample));
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    conv_call call = {.x = dy, .y = dx, .e = e ? e : &none, .stride = 1, .dilate = stride == 2};
    if (upsample) {
        call.y = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, dx.n, dy.h, dy.w, dx.c);
        call.e = &none;
    }
    call.w = w;
    if (conv_matrix_takes(o, call.x, call.y)) conv_matrix(o, &call, true);
    else {
        const weight transposed = weight_transposed(o, w, form_of(o, &call, w->out, w->in));
        call.w = &transposed;
        conv_run(o, o->table.conv, &call);
    }
    if (upsample) upsample_nearest_backward(o, call.y, e ? e : &none, dx);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void conv_backward_weight(ops *o, tensor x, tensor dy, int stride, bool upsample, tensor dw, tensor dbias)
{
    assert(sizes_fit(x, dy, stride, upsample) && tensor_elements(dw) == (size_t)9 * x.c * dy.c);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    weight_gradient_call call = {.x = x, .dy = dy, .dw = dw, .taps = 9, .stride = stride, .upsample = upsample};
    if (conv_matrix_takes(o, x, dy)) conv_weight_gradient_matrix(o, &call);
    else {
        call.x = storage_widen(o, x);
        call.dy = storage_widen(o, dy);
        conv_weight_gradient(o, o->table.conv, &call);
    }
    if (tensor_given(dbias)) bias_gradient(o, call.dy, dbias);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
