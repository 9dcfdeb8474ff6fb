#include "ops/weight.h"

#include "ops/conv_cpu.h"

static variant reader(const ops *o, const weight *w)
{
    return w->taps == 1 ? o->table.gemm : o->table.conv;
}

// An operand as kernels see it: taps * in rows of out columns; of the transposed one, in and out have changed places.
typedef struct operand {
    int taps, in, out;
    bool transposed;
} operand;

static operand operand_of(const weight *w, bool transposed)
{
    return (operand){w->taps, transposed ? w->out : w->in, transposed ? w->in : w->out, transposed};
}

static void make_panels(ops *o, tensor plain, operand a, int vectors, tensor panels)
{
    enum { ROWS_PER_ITEM = 256 };
    const int rows = a.taps * a.in;
    kernel *k = kernel_get(o->ctx, "weight", "weight_to_panels", "-DTILE_VECS=%d -DTRANSPOSED=%d", vectors, a.transposed);
    LAUNCH(o->ctx, k, ((work){.groups = {ceil_div((size_t)a.out, 16 * (size_t)vectors), ceil_div((size_t)rows, ROWS_PER_ITEM)}}),
           ((cost){0, (double)tensor_bytes(plain) + (double)tensor_bytes(panels)}), T(plain), T(panels), I(a.taps), I(a.in), I(a.out),
           I(ROWS_PER_ITEM));
}

static tensor push_panels(ops *o, operand a, int vectors, pool p)
{
    const int panel = 16 * vectors;
    return arena_push(o->ctx, p, DTYPE_F32, 1, (int)ceil_div((size_t)a.out, (size_t)panel), a.taps * a.in, panel);
}

static size_t panels_bytes(const ops *o, operand a)
{
    const size_t panel = 16 * (size_t)conv_cpu_tile(o, a.taps, a.in, a.out).vectors;
    return ceil_div((size_t)a.out, panel) * panel * (size_t)a.taps * (size_t)a.in * sizeof(float);
}

tensor weight_panels(ops *o, const weight *w, int vectors)
{
    if (tensor_given(w->panels)) return w->panels;
    const operand a = operand_of(w, false);
    const tensor panels = push_panels(o, a, vectors, POOL_ACTIVATIONS);
    make_panels(o, w->plain, a, vectors, panels);
    return panels;
}

size_t weight_panels_bytes(const ops *o, const weight *w)
{
    return reader(o, w) == VARIANT_CPU ? panels_bytes(o, operand_of(w, false)) : 0;
}

void weight_keep_panels(ops *o, weight *w)
{
    if (reader(o, w) != VARIANT_CPU) return;
    const operand a = operand_of(w, false);
    const int vectors = conv_cpu_tile(o, a.taps, a.in, a.out).vectors;
    if (!tensor_given(w->panels)) w->panels = push_panels(o, a, vectors, POOL_DERIVED);
    make_panels(o, w->plain, a, vectors, w->panels);
}

// ---- transposed

static tensor push_transposed(ops *o, const weight *w, pool p)
{
    const operand a = operand_of(w, true);
    if (reader(o, w) == VARIANT_CPU) return push_panels(o, a, conv_cpu_tile(o, a.taps, a.in, a.out).vectors, p);
    return arena_push(o->ctx, p, DTYPE_F32, 1, 1, a.taps * a.in, a.out);
}

static void make_transposed(ops *o, const weight *w, tensor result)
{
    enum { SIDE = 16, LINES = SIDE / 4 }; // of the squares that are turned
    const operand a = operand_of(w, true);
    if (reader(o, w) == VARIANT_CPU) {
        make_panels(o, w->plain, a, conv_cpu_tile(o, a.taps, a.in, a.out).vectors, result);
        return;
    }
    kernel *k = kernel_get(o->ctx, "weight", "weight_transpose", "-DSIDE=%d", SIDE);
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div((size_t)w->out, SIDE), ceil_div((size_t)w->in, SIDE), (size_t)w->taps}, .local = {SIDE, LINES}}),
           ((cost){0, 2 * (double)tensor_bytes(w->plain)}), T(w->plain), T(result), I(w->taps), I(w->in), I(w->out));
}

weight weight_transposed(ops *o, const weight *w)
{
    tensor t = w->transposed;
    if (!tensor_given(t)) {
        t = push_transposed(o, w, POOL_ACTIVATIONS);
        make_transposed(o, w, t);
    }
    const bool panels = reader(o, w) == VARIANT_CPU;
    return (weight){.plain = panels ? NO_TENSOR : t, .taps = w->taps, .in = w->out, .out = w->in, .panels = panels ? t : NO_TENSOR};
}

size_t weight_transposed_bytes(const ops *o, const weight *w)
{
    const variant v = reader(o, w);
    if (v == VARIANT_CPU) return panels_bytes(o, operand_of(w, true));
    return v == VARIANT_CLBLAST ? 0 : tensor_bytes(w->plain);
}

void weight_keep_transposed(ops *o, weight *w)
{
    if (reader(o, w) == VARIANT_CLBLAST) return;
    if (!tensor_given(w->transposed)) w->transposed = push_transposed(o, w, POOL_DERIVED);
    make_transposed(o, w, w->transposed);
}
