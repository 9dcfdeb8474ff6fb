#include "ops/conv_variants.h"

void conv_generic(ops *o, const conv_call *call)
{
    enum { PIXELS = 2, ITEMS_MOST = 64 }; // PIXELS as in cl/conv_generic.cl
    const weight *w = call->w;
    const tensor x = call->x, y = call->y;
    const size_t most = context_device(o->ctx)->max_work_group, items = most < ITEMS_MOST ? most : ITEMS_MOST;
    const int pixels = tensor_rows(y);
    const size_t groups = ceil_div((size_t)w->out * ceil_div((size_t)pixels, PIXELS), items);
    kernel *k = kernel_get(o->ctx, "conv_generic", "conv_generic", "-DTAPS=%d -DITEMS=%d", w->taps, (int)items);
    LAUNCH(o->ctx, k, ((work){.groups = {groups}, .local = {items}}), conv_cost(call), T(x), T(w->plain), EPILOGUE(call->e), T(y), I(w->in),
           I(w->out), I(pixels), WINDOW(x, y, call->stride, call->upsample, call->dilate));
}
