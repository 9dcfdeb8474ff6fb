#include "ops/weight.h"

#include "ops/conv_cpu.h"

static void make_panels(ops *o, const weight *w, int vectors, tensor panels)
{
    enum { ROWS_PER_ITEM = 256 };
    const int rows = w->taps * w->in;
    kernel *k = kernel_get(o->ctx, "weight", "weight_to_panels", "-DTILE_VECS=%d", vectors);
    LAUNCH(o->ctx, k, ((work){.groups = {ceil_div((size_t)w->out, 16 * (size_t)vectors), ceil_div((size_t)rows, ROWS_PER_ITEM)}}),
           ((cost){0, (double)tensor_bytes(w->plain) + (double)tensor_bytes(panels)}), T(w->plain), T(panels), I(rows), I(w->out),
           I(ROWS_PER_ITEM));
}

static tensor push_panels(ops *o, const weight *w, int vectors, pool p)
{
    const int panel = 16 * vectors;
    return arena_push(o->ctx, p, DTYPE_F32, 1, (int)ceil_div((size_t)w->out, (size_t)panel), w->taps * w->in, panel);
}

tensor weight_panels(ops *o, const weight *w, int vectors)
{
    if (tensor_given(w->panels)) return w->panels;
    const tensor panels = push_panels(o, w, vectors, POOL_ACTIVATIONS);
    make_panels(o, w, vectors, panels);
    return panels;
}

static bool reads_panels(const ops *o, const weight *w)
{
    return (w->taps == 1 ? o->table.gemm : o->table.conv) == VARIANT_CPU;
}

size_t weight_panels_bytes(const ops *o, const weight *w)
{
    if (!reads_panels(o, w)) return 0;
    const size_t panel = 16 * (size_t)conv_cpu_tile(o, w->out).vectors;
    return ceil_div((size_t)w->out, panel) * panel * (size_t)w->taps * (size_t)w->in * sizeof(float);
}

void weight_keep_panels(ops *o, weight *w)
{
    if (!reads_panels(o, w)) return;
    const int vectors = conv_cpu_tile(o, w->out).vectors;
    if (!tensor_given(w->panels)) w->panels = push_panels(o, w, vectors, POOL_DERIVED);
    make_panels(o, w, vectors, w->panels);
}
