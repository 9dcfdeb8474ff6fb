#include "ops/gemm.h"

#include "ops/conv_matrix.h"
#include "ops/conv_variants.h"
#include "ops/conv_weight_gradient.h"
#include "ops/pointwise.h"
#include "ops/storage.h"
#include <assert.h>

static bool same_place(tensor a, tensor b)
{
    return a.buffer == b.buffer && a.offset == b.offset;
}

// y = epilogue(x w), or epilogue(x w^T). Rows go in parts of a fixed number of operations, whatever max_launch_ms says: CLBlast may choose
// another kernel for another size, and with it other bits.
static void multiply_clblast(ops *o, tensor x, const weight *w, bool transposed, const epilogue *e, tensor y)
{
    const double PART_FLOPS = 2e10;
    const int rows = tensor_rows(y);
    int part = (int)(PART_FLOPS / (2.0 * w->in * w->out)) / 256 * 256;
    if (part < 256) part = 256;
    // the product takes y's place unless the epilogue still reads what is there
    const bool in_place = !same_place(e->mix, y) && !same_place(e->residual, y);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    for (int first = 0; first < rows; first += part) {
        const int count = rows - first < part ? rows - first : part;
        const arena_mark part_mark = arena_save(o->ctx, POOL_ACTIVATIONS);
        const tensor x_part = tensor_row_range(x, first, count), y_part = tensor_row_range(y, first, count);
        const tensor product = in_place ? y_part : arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, count, y.c);
        clblast_gemm(o->ctx, x_part, w->plain, product, count, y.c, x.c, false, transposed, 1.0f, 0.0f);
        if (epilogue_parts(e)) {
            epilogue e_part = *e;
            if (tensor_given(e->residual)) e_part.residual = tensor_row_range(e->residual, first, count);
            if (tensor_given(e->mix)) e_part.mix = tensor_row_range(e->mix, first, count);
            epilogue_forward(o, product, &e_part, y_part);
        }
        arena_release(o->ctx, POOL_ACTIVATIONS, part_mark);
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

static void gemm_clblast(ops *o, tensor x, const weight *w, bool transposed, const epilogue *e, tensor y)
{
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const epilogue wide = storage_widen_epilogue(o, e);
    const tensor place = storage_place(o, y);
    multiply_clblast(o, storage_widen(o, x), w, transposed, &wide, place);
    storage_narrow(o, place, y);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// Whether a linear layer, or by `op` a gradient of one, runs by CLBlast: as the table says, or where it leaves that to the tuning a row
// does.
static bool by_clblast(const ops *o, tuned_op op, int in, int out, int rows)
{
    const tuning_shape call = {.op = op, .variant = VARIANT_GPU, .in = in, .out = out, .pixels = rows};
    const bool usual = o->table.gemm == VARIANT_CLBLAST;
    return o->gemm_tuned ? tuning_value(tuning_find(o, &call), TUNE_CLBLAST, usual) : usual;
}

// The variant of the kernels that are not CLBlast's.
static variant own_variant(const ops *o)
{
    return o->table.gemm == VARIANT_CLBLAST ? o->table.conv : o->table.gemm;
}

void gemm_forward(ops *o, tensor x, const weight *w, const epilogue *e, tensor y)
{
    static const epilogue none;
    const conv_call call = {.x = tensor_matrix(x), .y = tensor_matrix(y), .w = w, .e = e ? e : &none, .stride = 1};
    assert(w->taps == 1 && x.c == w->in && y.c == w->out && tensor_rows(x) == tensor_rows(y));
    if (!conv_matrix_takes(o, x, y) && by_clblast(o, TUNED_LINEAR, x.c, y.c, tensor_rows(y)))
        gemm_clblast(o, call.x, w, false, call.e, call.y);
    else conv_run(o, own_variant(o), &call);
}

void gemm_backward_data(ops *o, tensor dy, const weight *w, const epilogue *e, tensor dx)
{
    static const epilogue none;
    conv_call call = {.x = tensor_matrix(dy), .y = tensor_matrix(dx), .w = w, .e = e ? e : &none, .stride = 1};
    assert(w->taps == 1 && dx.c == w->in && dy.c == w->out && tensor_rows(dx) == tensor_rows(dy));
    if (conv_matrix_takes(o, dy, dx)) {
        conv_matrix(o, &call, true);
        return;
    }
    if (by_clblast(o, TUNED_LINEAR, dy.c, dx.c, tensor_rows(dx))) {
        gemm_clblast(o, call.x, w, true, call.e, call.y);
        return;
    }
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const weight transposed = weight_transposed(o, w, WEIGHT_TAPS);
    call.w = &transposed;
    conv_run(o, own_variant(o), &call);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

// CLBlast sums all rows it is given in one chain, so it gets few at a time.
static void weight_gradient_clblast(ops *o, tensor x, tensor dy, tensor dw)
{
    enum { PART_ROWS = 1024 };
    const int rows = tensor_rows(x);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor product = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, x.c, dy.c);
    for (int first = 0; first < rows; first += PART_ROWS) {
        const int count = rows - first < PART_ROWS ? rows - first : PART_ROWS;
        clblast_gemm(o->ctx, tensor_row_range(x, first, count), tensor_row_range(dy, first, count), product, x.c, dy.c, count, true, false,
                     1.0f, first ? 1.0f : 0.0f);
    }
    weight_gradient_merge(o, product, 1, dw);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}

void gemm_backward_weight(ops *o, tensor x, tensor dy, tensor dw, tensor dbias)
{
    assert(tensor_rows(x) == tensor_rows(dy) && tensor_elements(dw) == (size_t)x.c * dy.c);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    weight_gradient_call call = {.x = tensor_matrix(x), .dy = tensor_matrix(dy), .dw = dw, .taps = 1, .stride = 1};
    if (conv_matrix_takes(o, x, dy)) conv_weight_gradient_matrix(o, &call);
    else {
        call.x = storage_widen(o, call.x);
        call.dy = storage_widen(o, call.dy);
        if (by_clblast(o, TUNED_LINEAR_WEIGHT_GRADIENT, x.c, dy.c, tensor_rows(dy))) weight_gradient_clblast(o, call.x, call.dy, dw);
        else conv_weight_gradient(o, own_variant(o), &call);
    }
    if (tensor_given(dbias)) bias_gradient(o, call.dy, dbias);
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
}
