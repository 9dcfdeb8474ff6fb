#include "ops/matrix.h"

#include "core/status.h"
#include "ops/conv_matrix.h"
#include "ops/storage.h"

const char *matrix_unit_name(matrix_unit unit)
{
    static const char *const names[] = {[MATRIX_NONE] = "none", [MATRIX_EMULATED] = "emulated", [MATRIX_NVIDIA] = "nvidia"};
    return names[unit];
}

idm_status matrix_run(context *ctx, matrix_unit unit, dtype type, const float *a, const float *b, const float *first, matrix_result *result)
{
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor ta = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, MATRIX_M, MATRIX_K);
    const tensor tb = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, MATRIX_K, MATRIX_N);
    const tensor tf = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, MATRIX_M, MATRIX_N);
    const tensor product = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, MATRIX_M, MATRIX_N);
    const tensor fragments = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_I32, 1, 1, MATRIX_TEAM, MATRIX_FRAGMENT);
    context_write(ctx, ta, a);
    context_write(ctx, tb, b);
    context_write(ctx, tf, first);
    kernel *k = kernel_get(ctx, "matrix", "matrix_probe", "-DMATRIX_UNIT=%d -DMATRIX_TYPE=%s", unit, storage_type_name(type));
    LAUNCH(ctx, k, ((work){.groups = {1}, .local = {MATRIX_TEAM}}), ((cost){2.0 * MATRIX_M * MATRIX_N * MATRIX_K, 0}), T(ta), T(tb), T(tf),
           T(product), T(fragments));
    idm_status status = context_read(ctx, product, result->product);
    if (status == IDM_OK) status = context_read(ctx, fragments, result->fragments);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
    return status;
}

// A small integer, no pattern among neighbours.
static float probe_value(int i, int salt)
{
    return (float)((i * 73 + salt * 41 + i * i * 7) % 17 - 8);
}

// A product of small integers: exact in either type, whatever the order of its sums.
static idm_status probe(context *ctx, matrix_unit unit, dtype type)
{
    float a[MATRIX_M * MATRIX_K], b[MATRIX_K * MATRIX_N], first[MATRIX_M * MATRIX_N];
    matrix_result result;
    for (int i = 0; i < MATRIX_M * MATRIX_K; i++) a[i] = probe_value(i, 1);
    for (int i = 0; i < MATRIX_K * MATRIX_N; i++) b[i] = probe_value(i, 2);
    for (int i = 0; i < MATRIX_M * MATRIX_N; i++) first[i] = probe_value(i, 3);
    IDM_TRY(matrix_run(ctx, unit, type, a, b, first, &result));
    for (int m = 0; m < MATRIX_M; m++)
        for (int n = 0; n < MATRIX_N; n++) {
            float want = first[m * MATRIX_N + n];
            for (int k = 0; k < MATRIX_K; k++) want += a[m * MATRIX_K + k] * b[k * MATRIX_N + n];
            if (result.product[m * MATRIX_N + n] != want)
                return status_fail(IDM_WRONG_RESULT,
                                   "the matrix unit (%s) of '%s', driver %s, gives wrong products; try device.matrix = off",
                                   matrix_unit_name(unit), context_device(ctx)->name, context_device(ctx)->driver);
        }
    return IDM_OK;
}

static idm_status probe_both(const device_info *device, matrix_unit unit)
{
    context *ctx;
    IDM_TRY(context_create(device, &(context_options){0}, &ctx));
    idm_status status = probe(ctx, unit, DTYPE_F16);
    if (status == IDM_OK) status = probe(ctx, unit, DTYPE_BF16);
    context_destroy(ctx);
    return status;
}

idm_status matrix_choose(ops *o, idm_matrix setting)
{
    enum { SM_80 = 80 };
    const device_info *device = context_device(o->ctx);
    o->matrix = MATRIX_NONE;
    if (setting == IDM_MATRIX_OFF || !conv_matrix_fits(device, MATRIX_EMULATED)) return IDM_OK;
    if (setting == IDM_MATRIX_EMULATE) {
        if (device->device_id) IDM_TRY(probe_both(device, MATRIX_EMULATED));
        o->matrix = MATRIX_EMULATED;
        return IDM_OK;
    }
    if (o->table.conv == VARIANT_GPU && device->nvidia_capability >= SM_80 &&
        (!device->device_id || probe_both(device, MATRIX_NVIDIA) == IDM_OK))
        o->matrix = MATRIX_NVIDIA;
    return IDM_OK;
}
