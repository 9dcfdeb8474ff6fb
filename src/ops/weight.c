#include "ops/weight.h"

#include "ops/conv_cpu.h"

enum { WINOGRAD_VALUES = 36 };

static variant reader(const ops *o, const weight *w)
{
    return w->taps == 1 ? o->table.gemm : o->table.conv;
}

// An operand as kernels see it, `depth` times in rows of out columns; of the transposed one, in and out have changed places.
typedef struct operand {
    int taps, in, out, depth;
    weight_form form;
    bool transposed;
} operand;

static operand operand_of(const weight *w, weight_form form, bool transposed)
{
    return (operand){
        w->taps,   transposed ? w->out : w->in, transposed ? w->in : w->out, form == WEIGHT_WINOGRAD ? WINOGRAD_VALUES : w->taps, form,
        transposed};
}

// The form of an operand that is kept.
static weight_form form_of(tensor kept, int taps, int in)
{
    return kept.w == taps * in ? WEIGHT_TAPS : WEIGHT_WINOGRAD;
}

static void make_panels(ops *o, tensor plain, operand a, tensor panels)
{
    enum { ROWS_PER_ITEM = 256, CHANNELS_PER_ITEM = 16 };
    const int vectors = conv_cpu_tile(o, a.taps, a.in, a.out).vectors;
    const size_t across = ceil_div((size_t)a.out, 16 * (size_t)vectors);
    const cost c = {0, (double)tensor_bytes(plain) + (double)tensor_bytes(panels)};
    if (a.form == WEIGHT_WINOGRAD) {
        kernel *k = kernel_get(o->ctx, "weight_winograd", "weight_to_winograd", "-DTILE_VECS=%d -DTRANSPOSED=%d", vectors, a.transposed);
        LAUNCH(o->ctx, k, ((work){.groups = {across, ceil_div((size_t)a.in, CHANNELS_PER_ITEM)}}), c, T(plain), T(panels), I(a.in),
               I(a.out));
        return;
    }
    kernel *k = kernel_get(o->ctx, "weight", "weight_to_panels", "-DTILE_VECS=%d -DTRANSPOSED=%d", vectors, a.transposed);
    LAUNCH(o->ctx, k, ((work){.groups = {across, ceil_div((size_t)a.taps * (size_t)a.in, ROWS_PER_ITEM)}}), c, T(plain), T(panels),
           I(a.taps), I(a.in), I(a.out), I(ROWS_PER_ITEM));
}

static tensor push_panels(ops *o, operand a, pool p)
{
    const int panel = 16 * conv_cpu_tile(o, a.taps, a.in, a.out).vectors;
    return arena_push(o->ctx, p, DTYPE_F32, 1, (int)ceil_div((size_t)a.out, (size_t)panel), a.depth * a.in, panel);
}

static size_t panels_bytes(const ops *o, operand a)
{
    const size_t panel = 16 * (size_t)conv_cpu_tile(o, a.taps, a.in, a.out).vectors;
    return ceil_div((size_t)a.out, panel) * panel * (size_t)a.depth * (size_t)a.in * sizeof(float);
}

tensor weight_panels(ops *o, const weight *w, weight_form form)
{
    if (tensor_given(w->panels) && form_of(w->panels, w->taps, w->in) == form) return w->panels;
    const operand a = operand_of(w, form, false);
    const tensor panels = push_panels(o, a, POOL_ACTIVATIONS);
    make_panels(o, w->plain, a, panels);
    return panels;
}

size_t weight_panels_bytes(const ops *o, const weight *w, weight_form form)
{
    return reader(o, w) == VARIANT_CPU ? panels_bytes(o, operand_of(w, form, false)) : 0;
}

void weight_keep_panels(ops *o, weight *w, weight_form form)
{
    if (reader(o, w) != VARIANT_CPU) return;
    w->panels = push_panels(o, operand_of(w, form, false), POOL_DERIVED);
    make_panels(o, w->plain, operand_of(w, form, false), w->panels);
}

// ---- transposed

static tensor push_transposed(ops *o, const weight *w, weight_form form, pool p)
{
    const operand a = operand_of(w, form, true);
    if (reader(o, w) == VARIANT_CPU) return push_panels(o, a, p);
    return arena_push(o->ctx, p, DTYPE_F32, 1, 1, a.taps * a.in, a.out);
}

static void make_transposed(ops *o, const weight *w, weight_form form, tensor result)
{
    enum { SIDE = 16, LINES = SIDE / 4 }; // of the squares that are turned
    if (reader(o, w) == VARIANT_CPU) {
        make_panels(o, w->plain, operand_of(w, form, true), result);
        return;
    }
    kernel *k = kernel_get(o->ctx, "weight", "weight_transpose", "-DSIDE=%d", SIDE);
    LAUNCH(o->ctx, k,
           ((work){.groups = {ceil_div((size_t)w->out, SIDE), ceil_div((size_t)w->in, SIDE), (size_t)w->taps}, .local = {SIDE, LINES}}),
           ((cost){0, 2 * (double)tensor_bytes(w->plain)}), T(w->plain), T(result), I(w->taps), I(w->in), I(w->out));
}

weight weight_transposed(ops *o, const weight *w, weight_form form)
{
    tensor t = w->transposed;
    if (!tensor_given(t) || form_of(t, w->taps, w->out) != form) {
        t = push_transposed(o, w, form, POOL_ACTIVATIONS);
        make_transposed(o, w, form, t);
    }
    const bool panels = reader(o, w) == VARIANT_CPU;
    return (weight){.plain = panels ? NO_TENSOR : t, .taps = w->taps, .in = w->out, .out = w->in, .panels = panels ? t : NO_TENSOR};
}

size_t weight_transposed_bytes(const ops *o, const weight *w, weight_form form)
{
    const variant v = reader(o, w);
    if (v == VARIANT_CPU) return panels_bytes(o, operand_of(w, form, true));
    return v == VARIANT_CLBLAST ? 0 : tensor_bytes(w->plain);
}

void weight_keep_transposed(ops *o, weight *w, weight_form form)
{
    if (reader(o, w) == VARIANT_CLBLAST) return;
    w->transposed = push_transposed(o, w, form, POOL_DERIVED);
    make_transposed(o, w, form, w->transposed);
}

void weight_renew(ops *o, const weight *w)
{
    if (tensor_given(w->panels)) make_panels(o, w->plain, operand_of(w, form_of(w->panels, w->taps, w->in), false), w->panels);
    if (tensor_given(w->transposed)) make_transposed(o, w, form_of(w->transposed, w->taps, w->out), w->transposed);
}
