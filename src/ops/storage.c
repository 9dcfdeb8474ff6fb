#include "ops/storage.h"

#include "ops/rows.h"

const char *storage_type_name(dtype type)
{
    return type == DTYPE_F16 ? "f16" : type == DTYPE_BF16 ? "bf16" : "f32"; // cl/storage.clh
}

void storage_convert(ops *o, tensor x, tensor y)
{
    x = rows_flat(x);
    const rows_grid g = rows_plan(o, 1, tensor_rows(x), x.c, ops_pointwise_width(o, x.c), 2 * x.c);
    kernel *k = kernel_get(o->ctx, "storage", "storage_convert", "%s -DX_TYPE=%s -DY_TYPE=%s", g.options, storage_type_name(x.type),
                           storage_type_name(y.type));
    LAUNCH(o->ctx, k, g.w, ((cost){0, (double)tensor_bytes(x) + (double)tensor_bytes(y)}), ROWS(g), T(x), T(y));
}

static bool wide(tensor t)
{
    return !tensor_given(t) || t.type == DTYPE_F32;
}

tensor storage_place(ops *o, tensor t)
{
    return wide(t) ? t : arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, t.n, t.h, t.w, t.c);
}

tensor storage_widen(ops *o, tensor t)
{
    if (wide(t)) return t;
    const tensor copy = storage_place(o, t);
    storage_convert(o, t, copy);
    return copy;
}

void storage_narrow(ops *o, tensor place, tensor t)
{
    if (!wide(t)) storage_convert(o, place, t);
}

epilogue storage_widen_epilogue(ops *o, const epilogue *e)
{
    if (!e) return (epilogue){0};
    return (epilogue){.bias = e->bias, .residual = storage_widen(o, e->residual), .v = e->v, .mix = storage_widen(o, e->mix)};
}
