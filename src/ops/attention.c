#include "ops/attention.h"

#include <math.h>

typedef struct attention_call {
    tensor q, k, v, out, lse;
    int stride, heads, head_size, tokens;
} attention_call;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

// queries: of one head, by each work-group.
static void launch_attention(ops *o, const attention_call *a, kernel *k, size_t queries, size_t local_0, size_t local_1)
{
    const double tokens = a->tokens, values = (double)tensor_elements(a->out);
    const cost c = {.flops = 4 * tokens * values, .bytes = 4 * values * sizeof(float)};
    const work w = {.groups = {ceil_div((size_t)a->tokens, queries), (size_t)a->heads, (size_t)a->out.n}, .local = {local_0, local_1}};
    LAUNCH(o->ctx, k, w, c, T(a->q), T(a->k), T(a->v), T(a->out), T(a->lse), I(a->tokens), I(a->stride), I(a->heads),
           F((float)(M_LOG2E / sqrt(a->head_size))), I(tensor_given(a->lse)));
}

static void attention_cpu(ops *o, const attention_call *a)
{
    enum { QUERIES = 192 }; // cl/attention_cpu.cl
    kernel *k = kernel_get(o->ctx, "attention_cpu", "attention_forward", "-DHEAD=%d -DEXACT=%d", a->head_size, o->exact);
    launch_attention(o, a, k, QUERIES, 1, 1);
}

static size_t gpu_local_bytes(size_t head_size, size_t lanes, size_t item_rows)
{
    enum { KEYS = 32, PAD = 4, ITEM_QUERIES = 2 }; // cl/attention_gpu.cl
    return sizeof(float) * ((head_size + KEYS + lanes) * (ITEM_QUERIES * item_rows + PAD) + head_size * (KEYS + PAD));
}

static void attention_gpu(ops *o, const attention_call *a)
{
    const device_info *device = context_device(o->ctx);
    const size_t head_size = (size_t)a->head_size, most_items = smaller(device->max_work_group, 256);
    const size_t lanes = head_size <= 40 ? 8 : head_size <= 80 ? 16 : 32; // at most 5 channels per item keep it in registers
    size_t rows = 16;
    while (rows > 1 && (lanes * rows > most_items || gpu_local_bytes(head_size, lanes, rows) > device->local_memory)) rows /= 2;
    kernel *k = kernel_get(o->ctx, "attention_gpu", "attention_forward", "-DHEAD=%d -DEXACT=%d -DLANES=%zu -DITEM_ROWS=%zu", a->head_size,
                           o->exact, lanes, rows);
    launch_attention(o, a, k, 2 * rows, lanes, rows);
}

static void attention_generic(ops *o, const attention_call *a)
{
    size_t items = 64;
    while (items > 1 && items > context_device(o->ctx)->max_work_group) items /= 2;
    kernel *k =
        kernel_get(o->ctx, "attention_generic", "attention_forward", "-DHEAD=%d -DEXACT=%d -DITEMS=%zu", a->head_size, o->exact, items);
    launch_attention(o, a, k, 1, items, 1);
}

void attention_forward(ops *o, tensor q, tensor k, tensor v, int stride, int heads, tensor out, tensor lse)
{
    enum { HEAD_SIZE_MOST = 128 };
    if (heads < 1 || out.c % heads != 0 || out.c < heads || out.c / heads > HEAD_SIZE_MOST) {
        context_fail(o->ctx, IDM_USAGE, "attention: %d channels in %d heads; a head has 1 to %d channels", out.c, heads, HEAD_SIZE_MOST);
        return;
    }
    const attention_call call = {q, k, v, out, lse, stride, heads, out.c / heads, out.h * out.w};
    switch (o->table.attention) {
    case VARIANT_CPU:
        attention_cpu(o, &call);
        break;
    case VARIANT_GPU:
        attention_gpu(o, &call);
        break;
    default:
        attention_generic(o, &call);
        break;
    }
}
