#include "ops/gemm.h"

#include "ops/conv_variants.h"
#include "ops/pointwise.h"
#include <assert.h>

static bool same_place(tensor a, tensor b)
{
    return a.buffer == b.buffer && a.offset == b.offset;
}

// Rows go in parts of a fixed number of operations, whatever max_launch_ms says: CLBlast may choose another kernel for another size, and
// with it other bits.
static void gemm_clblast(ops *o, const conv_call *call)
{
    const double PART_FLOPS = 2e10;
    const weight *w = call->w;
    const int rows = tensor_rows(call->y);
    int part = (int)(PART_FLOPS / (2.0 * w->in * w->out)) / 256 * 256;
    if (part < 256) part = 256;
    // the product takes y's place unless the epilogue still reads what is there
    const bool in_place = !same_place(call->e->mix, call->y) && !same_place(call->e->residual, call->y);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    for (int first = 0; first < rows; first += part) {
        const int count = rows - first < part ? rows - first : part;
        const arena_mark part_mark = arena_save(o->ctx, POOL_ACTIVATIONS);
        const tensor y = tensor_row_range(call->y, first, count);
        const tensor product = in_place ? y : arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, count, w->out);
        clblast_gemm(o->ctx, tensor_row_range(call->x, first, count), w->plain, product, count, w->out, w->in, false, 1.0f, 0.0f);
        if (epilogue_parts(call->e)) {
            epilogue e = *call->e;
            if (tensor_given(e.residual)) e.residual = tensor_row_range(e.residual, first, count);
            if (tensor_given(e.mix)) e.mix = tensor_row_range(e.mix, first, count);
            epilogue_forward(o, product, &e, y);
        }
        arena_release(o->ctx, POOL_ACTIVATIONS, part_mark);
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void gemm_forward(ops *o, tensor x, const weight *w, const epilogue *e, tensor y)
{
    static const epilogue none;
    const conv_call call = {.x = tensor_matrix(x), .y = tensor_matrix(y), .w = w, .e = e ? e : &none, .stride = 1};
    assert(w->taps == 1 && x.c == w->in && y.c == w->out && tensor_rows(x) == tensor_rows(y));
    if (o->table.gemm == VARIANT_CLBLAST) gemm_clblast(o, &call);
    else conv_run(o, o->table.gemm, &call);
}
