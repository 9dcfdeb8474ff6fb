#include "tune/canary.h"

#include "core/files.h"
#include "core/random.h"
#include "core/status.h"
#include "model/network.h"
#include "opencl/program.h"
#include "ops/matrix.h"
#include "tune/canary_golden.h"
#include "tune/selftest.h"
#include "tune/trial.h"
#include "tune/tuning_file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TOLERANCE = 1e-5; // of the network's output; a right device stays near 1e-6

// ---- the tiny network, its numbers functions of their names (the same rules: tests/data/make_canary.py)

static float uniform(const char *name, uint64_t index)
{
    return (float)(2 * random_uniform(random_key(CANARY_SEED, name), index) - 1);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static const float *canary_values(void *user, const parameter *which, size_t count)
{
    float **values = user, base = 0, spread = 0.1f;
    free(*values);
    *values = malloc(count * sizeof **values);
    if (!*values) {
        (void)status_fail(IDM_FAILED, "out of memory");
        return NULL;
    }
    if (which->rank > 1) {
        double fan_in = 1;
        for (int d = 1; d < which->rank; d++) fan_in *= which->shape[d];
        const float bound = (float)sqrt(fan_in);
        for (size_t i = 0; i < count; i++) (*values)[i] = uniform(which->name, i) / bound;
        return *values;
    }
    if (ends_with(which->name, ".v")) base = 0.5f;
    else if (ends_with(which->name, "alpha")) base = 0.8f;
    else if (ends_with(which->name, "input_help_scale_factor") || ends_with(which->name, ".weight")) base = 1;
    for (size_t i = 0; i < count; i++) (*values)[i] = base + spread * uniform(which->name, i);
    return *values;
}

static idm_status run_network(network *n, const model_sizes *z, float *out)
{
    enum { PIXELS = CANARY_HEIGHT * CANARY_WIDTH };
    ops *o = n->o;
    const int block_pixels = z->block * z->block, rows = PIXELS / block_pixels;
    float phi[64 * CANARY_MEASUREMENTS], y[PIXELS];
    int32_t perm[PIXELS];
    for (int i = 0; i < block_pixels * CANARY_MEASUREMENTS; i++) phi[i] = uniform("phi", (uint64_t)i) / 8;
    for (int i = 0; i < rows * CANARY_MEASUREMENTS; i++) y[i] = uniform("y", (uint64_t)i);
    for (int i = 0; i < PIXELS; i++) perm[i] = (37 * i + 11) % PIXELS;
    sensing s;
    sensing_create(o, phi, block_pixels, CANARY_MEASUREMENTS, perm, CANARY_HEIGHT, CANARY_WIDTH, &s);
    const tensor measured = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, rows, CANARY_MEASUREMENTS);
    const tensor result = arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, CANARY_HEIGHT, CANARY_WIDTH, 1);
    context_write(o->ctx, measured, y);
    network_forward(n, &s, measured, result, NULL);
    return context_read(o->ctx, result, out);
}

static idm_status check_network(context *ctx, const idm_config *c, const tuning *t)
{
    const model_sizes sizes = {{16, 32}, 2, 4, 2, 8};
    ops o;
    network n = {0};
    float out[CANARY_HEIGHT * CANARY_WIDTH], *values = NULL;
    IDM_TRY(ops_create(ctx, c->device.variants, c->device.gemm, c->device.math, network_max_channels(&sizes), &o));
    o.tuning = t;
    IDM_TRY(matrix_choose(&o, c->device.matrix));
    idm_status status = network_create(&o, &sizes, &n);
    if (status == IDM_OK) status = parameters_upload(&n.parameters, POOL_WEIGHTS, canary_values, &values);
    if (status == IDM_OK) status = run_network(&n, &sizes, out);
    network_free(&n);
    free(values);
    IDM_TRY(status);
    double difference = 0, norm = 0;
    for (int i = 0; i < CANARY_HEIGHT * CANARY_WIDTH; i++) {
        difference += (out[i] - canary_golden[i]) * (out[i] - canary_golden[i]);
        norm += canary_golden[i] * canary_golden[i];
    }
    const double error = sqrt(difference / norm);
    if (error <= TOLERANCE) return IDM_OK;
    return status_fail(IDM_WRONG_RESULT, "a tiny network comes out wrong (error %.1e)", error);
}

// ---- the operations

typedef struct worst_row {
    char text[160]; // of the first wrong one
} worst_row;

static bool note_wrong(void *user, const selftest_row *row)
{
    worst_row *w = user;
    if (row->error <= row->tolerance) return true;
    (void)snprintf(w->text, sizeof w->text, "%s (%s, variant %s) is wrong, error %.1e", row->op, row->shape, row->variant, row->error);
    return false;
}

// A row's kernel at a class's own size, or where it is for any at the network's.
static idm_status check_row(ops *o, const model_sizes *z, const tuning_row *row)
{
    tuning_shape call = row->shape;
    char text[TUNING_LINE_SIZE];
    if (call.in == 0) call.in = z->channels[0];
    if (call.out == 0) call.out = z->channels[0];
    if (call.head == 0) call.head = z->channels[0] / z->heads;
    const check_result result = trial_check(o, &call, row);
    tuning_row_format(row, text);
    if (result.status != IDM_OK) return status_prefix(result.status, "tuned %s", text);
    if (result.error <= selftest_tolerance(o)) return IDM_OK;
    return status_fail(IDM_WRONG_RESULT, "tuned %s is wrong, error %.1e", text, result.error);
}

static idm_status check_rows(ops *o, const model_sizes *z, bool training, const tuning *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const tuning_row *row = &t->rows[i];
        const tuned_op op = row->shape.op;
        const bool backward = op == TUNED_CONV_WEIGHT_GRADIENT || op == TUNED_LINEAR_WEIGHT_GRADIENT || op == TUNED_ATTENTION_BACKWARD;
        if (row->shape.variant == (int)o->table.conv && (training || !backward)) IDM_TRY(check_row(o, z, row));
    }
    return IDM_OK;
}

static idm_status check_operations(context *ctx, const idm_config *c, const model_sizes *sizes, double cs_ratio, bool training,
                                   const tuning *t)
{
    ops o;
    IDM_TRY(ops_create(ctx, c->device.variants, c->device.gemm, c->device.math, selftest_max_channels(sizes), &o));
    o.tuning = t;
    IDM_TRY(matrix_choose(&o, c->device.matrix));
    IDM_TRY(check_rows(&o, sizes, training, t));
    worst_row wrong = {0};
    IDM_TRY(selftest_run(&o, sizes, cs_ratio, training, note_wrong, &wrong));
    return wrong.text[0] ? status_fail(IDM_WRONG_RESULT, "%s", wrong.text) : IDM_OK;
}

// ---- remembering

static bool marker_path(const device_info *d, const idm_config *c, const model_sizes *z, bool training, const tuning *t, char *path,
                        size_t size)
{
    char key[1024];
    uint64_t source = 0;
    for (const struct embedded_source *s = embedded_sources; s->name; s++) source = random_key(source, s->text);
    const char *limits = getenv("IDM_LIMITS");
    (void)snprintf(key, sizeof key, "%s|%s|%s|%s|%s|%016llx|%s|%d %d %d %d|%d,%d %d %d %d|%d|%016llx", d->name, d->vendor, d->driver,
                   d->version, d->platform_name, (unsigned long long)source, limits ? limits : "", c->device.variants, c->device.gemm,
                   c->device.matrix, c->device.math, z->channels[0], z->channels[1], z->heads, z->groups, z->block, training,
                   (unsigned long long)tuning_hash(t));
    return program_cache_path("canary", key, path, size);
}

static idm_status run_checks(const device_info *device, const idm_config *config, const model_sizes *sizes, double cs_ratio, bool training,
                             const tuning *t)
{
    context *ctx;
    const context_options options = {.max_launch_ms = config->device.max_launch_ms};
    IDM_TRY(context_create(device, &options, &ctx));
    idm_status status = check_network(ctx, config, t);
    context_destroy(ctx);
    // the operations even if the network was wrong: they name the culprit
    if (status != IDM_OK && status != IDM_WRONG_RESULT) return status;
    IDM_TRY(context_create(device, &options, &ctx));
    const idm_status operations = check_operations(ctx, config, sizes, cs_ratio, training, t);
    context_destroy(ctx);
    return operations != IDM_OK ? operations : status;
}

idm_status canary_run(const device_info *device, const idm_config *config, const model_sizes *sizes, double cs_ratio, bool training,
                      const tuning *t, void (*running)(void *user), void *user)
{
    char marker[4096], folder[4096];
    const char *sources = getenv("IDM_CL_DIR"); // kernels under development are checked every time
    const bool remembered = !(sources && *sources) && marker_path(device, config, sizes, training, t, marker, sizeof marker);
    if (remembered && files_exists(marker)) return IDM_OK;
    if (running) running(user);
    const idm_status status = run_checks(device, config, sizes, cs_ratio, training, t);
    if (status == IDM_WRONG_RESULT)
        return status_fail(IDM_WRONG_RESULT,
                           "%s on '%s', driver %s: its results cannot be trusted; try --set device.tuning=none, --set "
                           "device.variants=generic, or another driver",
                           idm_message(), device->name, device->driver);
    if (status == IDM_OK && remembered && files_folder_of(folder, sizeof folder, marker) == IDM_OK && files_make_folders(folder) == IDM_OK)
        (void)files_write_whole(marker, "ok\n", 3); // not remembered: checked again next time
    return status;
}
