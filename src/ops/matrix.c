#include "ops/matrix.h"

#include "core/status.h"
#include "ops/conv_matrix.h"
#include "ops/storage.h"
#include <string.h>

static const struct {
    const char *name;
    matrix_shape shape;
} units[MATRIX_UNITS] = {
    [MATRIX_NONE] = {"none", {0}},
    [MATRIX_NVIDIA] = {"nvidia", {16, 8, 16, 32, 4, 2, 4, 512}},
    [MATRIX_AMD_WMMA] = {"amd wmma", {16, 16, 16, 32, 8, 8, 8, 512}},
    [MATRIX_AMD_MFMA] = {"amd mfma", {16, 16, 16, 64, 2, 2, 4, 512}},
    [MATRIX_INTEL_8] = {"intel, 8", {8, 8, 16, 8, 8, 8, 8, 32}}, // 4 threads of an execution unit, with all registers
    [MATRIX_INTEL_16] = {"intel, 16", {8, 16, 16, 16, 4, 8, 8, 64}},
};

const char *matrix_unit_name(matrix_unit unit)
{
    return matrix_is_emulated(unit) ? "emulated" : units[unit].name;
}

bool matrix_is_emulated(matrix_unit unit)
{
    return unit % 2 != 0;
}

matrix_unit matrix_emulation_of(matrix_unit unit)
{
    return matrix_is_emulated(unit) || unit == MATRIX_NONE ? unit : (matrix_unit)(unit - 1);
}

const matrix_shape *matrix_shape_of(matrix_unit unit)
{
    return &units[matrix_is_emulated(unit) ? unit + 1 : unit].shape;
}

size_t matrix_scratch_bytes(matrix_unit unit, size_t items)
{
    const matrix_shape *s = matrix_shape_of(unit);
    return matrix_is_emulated(unit) ? items * (size_t)(s->a_words + s->b_words) * 2 * sizeof(float) : 0;
}

const char *matrix_options(matrix_unit unit, dtype type, char options[MATRIX_OPTIONS_SIZE])
{
    const bool intel = unit == MATRIX_INTEL_8 || unit == MATRIX_INTEL_16;
    (void)snprintf(options, MATRIX_OPTIONS_SIZE, "-DMATRIX_UNIT=%d -DMATRIX_TYPE=%s%s", unit, storage_type_name(type),
                   intel ? " -cl-intel-256-GRF-per-thread" : "");
    return options;
}

idm_status matrix_run(context *ctx, matrix_unit unit, dtype type, const float *a, const float *b, const float *first, matrix_result *result)
{
    const matrix_shape *s = matrix_shape_of(unit);
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor ta = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, s->m, s->k);
    const tensor tb = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, s->k, s->n);
    const tensor tf = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, s->m, s->n);
    const tensor product = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, s->m, s->n);
    const tensor fragments = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_I32, 1, 1, s->team, s->a_words + s->b_words + s->values);
    char options[MATRIX_OPTIONS_SIZE];
    context_write(ctx, ta, a);
    context_write(ctx, tb, b);
    context_write(ctx, tf, first);
    kernel *k = kernel_get(ctx, "matrix", "matrix_probe", "%s", matrix_options(unit, type, options));
    LAUNCH(ctx, k, ((work){.groups = {1}, .local = {(size_t)s->team}}), ((cost){2.0 * s->m * s->n * s->k, 0}), T(ta), T(tb), T(tf),
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
    const matrix_shape *s = matrix_shape_of(unit);
    float a[MATRIX_SUM_MOST], b[MATRIX_SUM_MOST], first[MATRIX_SUM_MOST];
    matrix_result result;
    for (int i = 0; i < MATRIX_SUM_MOST; i++) {
        a[i] = probe_value(i, 1);
        b[i] = probe_value(i, 2);
        first[i] = probe_value(i, 3);
    }
    IDM_TRY(matrix_run(ctx, unit, type, a, b, first, &result));
    for (int m = 0; m < s->m; m++)
        for (int n = 0; n < s->n; n++) {
            float want = first[m * s->n + n];
            for (int k = 0; k < s->k; k++) want += a[m * s->k + k] * b[k * s->n + n];
            if (result.product[m * s->n + n] != want)
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

// AMD's name of a device begins with its architecture: "gfx90a:sramecc+:xnack-".
static matrix_unit amd_unit(const char *name)
{
    static const char *const mfma[] = {"gfx908", "gfx90a", "gfx94", "gfx95"};
    if (strncmp(name, "gfx11", strlen("gfx11")) == 0) return MATRIX_AMD_WMMA;
    for (size_t i = 0; i < sizeof mfma / sizeof *mfma; i++)
        if (strncmp(name, mfma[i], strlen(mfma[i])) == 0) return MATRIX_AMD_MFMA;
    return MATRIX_NONE;
}

matrix_unit matrix_of_device(const device_info *device)
{
    enum { SM_80 = 80 };
    if (device->nvidia_capability >= SM_80) return MATRIX_NVIDIA;
    if (strstr(device->vendor, "Advanced Micro Devices")) return amd_unit(device->name);
    if (!device->subgroups) return MATRIX_NONE;
    return device->intel_matrix == 8 ? MATRIX_INTEL_8 : device->intel_matrix == 16 ? MATRIX_INTEL_16 : MATRIX_NONE;
}

idm_status matrix_choose(ops *o, idm_matrix setting)
{
    const device_info *device = context_device(o->ctx);
    const matrix_unit unit = setting == IDM_MATRIX_EMULATE ? MATRIX_EMULATED : matrix_of_device(device);
    o->matrix = MATRIX_NONE;
    if (setting == IDM_MATRIX_OFF || unit == MATRIX_NONE || !conv_matrix_fits(device, unit)) return IDM_OK;
    if (unit == MATRIX_EMULATED) {
        if (device->device_id) IDM_TRY(probe_both(device, unit));
        o->matrix = unit;
        return IDM_OK;
    }
    if (o->table.conv == VARIANT_GPU && (!device->device_id || probe_both(device, unit) == IDM_OK)) o->matrix = unit;
    return IDM_OK;
}
