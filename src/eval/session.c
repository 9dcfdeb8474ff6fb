// A session: device, network and weights put together from a configuration; planning of memory; reconstruction.
#include "eval/session.h"

#include "core/status.h"
#include "io/operator.h"
#include "io/weights.h"
#include "model/network.h"
#include "ops/matrix.h"
#include "tune/canary.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct idm_session {
    idm_config config;
    model_sizes sizes;
    double cs_ratio;
    float *phi; // of the weights file or from sensing.seed, N x measurements; null while only planning
    int measurements;
    context *ctx;
    ops o;
    tuning_choice tuning;
    network net;
    size_t budget; // bytes of device memory this session may hold
    struct {
        int height, width, measurements, batch; // what the memory is laid out for; batch 0: nothing
    } prepared;
};

static const double DEFAULT_RATIO = 0.1;

// ---- opening

static weights_options options_of(const idm_config *c)
{
    const char *start = strchr(c->train.init, ':');
    return (weights_options){
        .any_ratio = start && strcmp(start + 1, c->model.weights) == 0,
        .sizes = {{c->model.channels[0], c->model.channels[1]}, c->model.heads, c->model.groups, c->model.steps, c->sensing.block_size},
        .cs_ratio = c->sensing.cs_ratio,
        .seed = c->train.seed};
}

static void default_to(int *value, int otherwise)
{
    if (*value == 0) *value = otherwise;
}

static void published_where_unknown(weights_options *options)
{
    for (int i = 0; i < 2; i++) default_to(&options->sizes.channels[i], names_published_sizes.channels[i]);
    default_to(&options->sizes.steps, names_published_sizes.steps);
}

static idm_status load_weights(const idm_config *config, weights **w)
{
    weights_options options = options_of(config);
    if (config->model.weights[0]) return weights_load(config->model.weights, &options, w);
    published_where_unknown(&options);
    IDM_TRY(weights_init_random(&options.sizes, config->train.seed, w));
    (*w)->sizes = options.sizes;
    (*w)->cs_ratio = options.cs_ratio;
    return IDM_OK;
}

static idm_status settle_sizes(idm_session *s, const weights *w)
{
    s->sizes = w->sizes;
    s->cs_ratio = w->cs_ratio > 0 ? w->cs_ratio : DEFAULT_RATIO;
    default_to(&s->sizes.block, names_published_sizes.block);
    if (s->sizes.channels[0] == names_published_sizes.channels[0] && s->sizes.channels[1] == names_published_sizes.channels[1]) {
        default_to(&s->sizes.heads, names_published_sizes.heads);
        default_to(&s->sizes.groups, names_published_sizes.groups);
    }
    if (s->sizes.heads == 0 || s->sizes.groups == 0)
        return status_fail(IDM_USAGE, "%s does not say how many %s the network has; give model.%s",
                           s->config.model.weights[0] ? s->config.model.weights : "the configuration", s->sizes.heads ? "groups" : "heads",
                           s->sizes.heads ? "groups" : "heads");
    return IDM_OK;
}

static const float *weight_values(void *user, const parameter *which, size_t count)
{
    const weights *w = user;
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->parameters[i].name, which->name) == 0 && w->parameters[i].count == count) return w->values[i];
    (void)status_fail(IDM_BAD_INPUT, "the weights have no tensor '%s' of %zu values", which->name, count);
    return NULL;
}

static size_t choose_budget(const idm_config *config, const device_info *device)
{
    const uint64_t total = device->global_memory, gib = (uint64_t)1 << 30;
    if (config->memory.budget) return config->memory.budget;
    const uint64_t most = total / 10 * 9;
    return total > 2 * gib && total - gib < most ? total - gib : most;
}

// Sizes and Phi; w is left without phi.
static idm_status take_weights(idm_session *s, weights *w)
{
    IDM_TRY(settle_sizes(s, w));
    s->measurements = w->phi ? w->measurements : operator_measurements(s->sizes.block, s->cs_ratio);
    if (!w->phi) return operator_phi(s->sizes.block, s->measurements, s->config.sensing.seed, &s->phi);
    s->phi = w->phi;
    w->phi = NULL;
    return IDM_OK;
}

static idm_status open_on(idm_session *s, const device_info *device)
{
    const idm_config *c = &s->config;
    s->budget = choose_budget(c, device);
    IDM_TRY(context_create(device, &(context_options){.max_launch_ms = c->device.max_launch_ms}, &s->ctx));
    IDM_TRY(ops_create(s->ctx, c->device.variants, c->device.gemm, c->device.math, network_max_channels(&s->sizes), &s->o));
    IDM_TRY(tuning_choose(c->device.tuning, device, &s->tuning));
    s->o.tuning = &s->tuning.file.t;
    IDM_TRY(matrix_choose(&s->o, c->device.matrix));
    return network_create(&s->o, &s->sizes, &s->net);
}

static idm_status open_loaded(idm_session *s, weights *w)
{
    device_info device;
    IDM_TRY(take_weights(s, w));
    IDM_TRY(device_choose(s->config.device.device, &device));
    IDM_TRY(open_on(s, &device));
    return parameters_upload(&s->net.parameters, POOL_WEIGHTS, weight_values, w);
}

static idm_status new_session(const idm_config *config, idm_session **session)
{
    *session = calloc(1, sizeof **session);
    if (!*session) return status_fail(IDM_FAILED, "out of memory");
    (*session)->config = *config;
    return IDM_OK;
}

static idm_status finish_open(idm_session **session, idm_status status)
{
    if (status == IDM_OK) return IDM_OK;
    idm_session_close(*session);
    *session = NULL;
    return status;
}

idm_status idm_session_open(const idm_config *config, idm_session **session)
{
    weights *w = NULL;
    IDM_TRY(new_session(config, session));
    idm_status status = load_weights(config, &w);
    if (status == IDM_OK) status = open_loaded(*session, w);
    weights_free(w);
    return finish_open(session, status);
}

idm_status session_open_dry(const idm_config *config, const device_info *device, idm_session **session)
{
    device_info described = *device;
    described.device_id = NULL;
    weights_options known = options_of(config);
    weights *w = NULL;
    IDM_TRY(new_session(config, session));
    idm_session *s = *session;
    idm_status status = IDM_OK;
    if (config->model.weights[0]) {
        status = weights_load(config->model.weights, &known, &w);
    } else {
        published_where_unknown(&known);
    }
    const weights sizes_only = {.sizes = known.sizes, .cs_ratio = known.cs_ratio};
    if (status == IDM_OK) status = settle_sizes(s, w ? w : &sizes_only);
    s->measurements = w && w->phi ? w->measurements : operator_measurements(s->sizes.block, s->cs_ratio);
    if (status == IDM_OK) status = open_on(s, &described);
    weights_free(w);
    return finish_open(session, status);
}

session_parts session_insides(idm_session *s)
{
    return (session_parts){&s->config, &s->o, &s->net, s->sizes, s->cs_ratio, s->phi, s->measurements, s->budget};
}

void session_forget_plan(idm_session *s)
{
    s->prepared.batch = 0;
}

void idm_session_close(idm_session *s)
{
    if (!s) return;
    network_free(&s->net);
    context_destroy(s->ctx);
    tuning_choice_free(&s->tuning);
    free(s->phi);
    free(s);
}

int idm_session_block_size(const idm_session *s)
{
    return s->sizes.block;
}

double idm_session_cs_ratio(const idm_session *s)
{
    return s->cs_ratio;
}

context *session_context(idm_session *s)
{
    return s->ctx;
}

void session_describe(const idm_session *s, char *out, size_t size)
{
    const variant_table *t = &s->o.table;
    const bool matrix = s->o.matrix != MATRIX_NONE;
    (void)snprintf(out, size, "%s; gemm %s, conv %s, attention %s%s%s, math %s", context_device(s->ctx)->name, variant_name(t->gemm),
                   variant_name(t->conv), variant_name(t->attention), matrix ? ", matrix unit " : "",
                   matrix ? matrix_unit_name(s->o.matrix) : "", s->o.exact ? "exact" : "fast");
}

const tuning_choice *session_tuning(const idm_session *s)
{
    return &s->tuning;
}

bool session_tuning_note(const idm_session *s, char *out, size_t size)
{
    const tuning_choice *t = &s->tuning;
    const char *reason = t->note[0] ? t->note : "`idm tune` searches faster kernel parameters, once";
    const bool tunable = s->o.table.conv != VARIANT_GENERIC || s->o.table.attention != VARIANT_GENERIC;
    if (!tunable || strcmp(s->config.device.tuning, "none") == 0) return false;
    if (t->origin == TUNING_NONE) (void)snprintf(out, size, "untuned on this device: %s", reason);
    else if (t->origin >= TUNING_ARCHITECTURE)
        (void)snprintf(out, size, "untuned on this device, with %s for %s: %s", t->file.predicted ? "untuned predictions" : "the table",
                       t->name, reason);
    else if (t->note[0]) (void)snprintf(out, size, "%s", t->note);
    else return false;
    return true;
}

idm_status session_canary(const idm_session *s, bool training, void (*running)(void *user), void *user)
{
    return canary_run(context_device(s->ctx), &s->config, &s->sizes, s->cs_ratio, training, &s->tuning.file.t, running, user);
}

idm_status idm_session_operator(const idm_session *s, int height, int width, const char *name, idm_operator *op)
{
    const size_t n = (size_t)s->sizes.block * (size_t)s->sizes.block, m = (size_t)s->measurements, pixels = (size_t)height * (size_t)width;
    *op = (idm_operator){
        .height = height, .width = width, .block_size = s->sizes.block, .measurements = s->measurements, .cs_ratio = s->cs_ratio};
    if (height < 1 || width < 1 || height % s->sizes.block || width % s->sizes.block || pixels > INT32_MAX)
        return status_fail(IDM_USAGE, "a picture of %d x %d: both sides must be multiples of the block size %d", height, width,
                           s->sizes.block);
    op->perm = malloc(pixels * sizeof *op->perm);
    op->phi = malloc(n * m * sizeof *op->phi);
    if (!op->perm || !op->phi) {
        idm_operator_free(op);
        return status_fail(IDM_FAILED, "out of memory");
    }
    memcpy(op->phi, s->phi, n * m * sizeof *op->phi);
    operator_permutation(s->config.sensing.seed, name, op->perm, (int)pixels);
    return IDM_OK;
}

// ---- planning and running

typedef struct job {
    const idm_operator *op; // phi and perm are not read in a dry run
    int batch;
    const float *y;
    float *out;
    const network_progress *progress;
} job;

static void run(idm_session *s, const job *j)
{
    const idm_operator *op = j->op;
    const int n = op->block_size * op->block_size, rows = op->height / op->block_size * (op->width / op->block_size);
    const arena_mark operator_mark = arena_save(s->ctx, POOL_OPERATOR), mark = arena_save(s->ctx, POOL_ACTIVATIONS);
    sensing a;
    sensing_create(&s->o, op->phi, n, op->measurements, op->perm, op->height, op->width, &a);
    const tensor y = arena_push(s->ctx, POOL_ACTIVATIONS, DTYPE_F32, j->batch, 1, rows, op->measurements);
    const tensor out = arena_push(s->ctx, POOL_ACTIVATIONS, DTYPE_F32, j->batch, op->height, op->width, 1);
    context_write(s->ctx, y, j->y);
    network_forward(&s->net, &a, y, out, j->progress);
    if (j->out) (void)context_read(s->ctx, out, j->out);
    arena_release(s->ctx, POOL_ACTIVATIONS, mark);
    arena_release(s->ctx, POOL_OPERATOR, operator_mark);
}

static size_t planned_bytes(const idm_session *s)
{
    size_t sum = CONTEXT_BYTES + context_staging_bytes(s->ctx) + arena_held(s->ctx, POOL_WEIGHTS);
    for (pool p = 0; p < POOL_COUNT; p++)
        if (p != POOL_WEIGHTS && p != POOL_DERIVED) sum += arena_peak(s->ctx, p);
    return sum;
}

// Bytes that the job needs beside the layouts kept now.
static idm_status plan(idm_session *s, const job *j, size_t *bytes, double *flops)
{
    context_plan_begin(s->ctx);
    context_reset_cost(s->ctx);
    run(s, j);
    *bytes = planned_bytes(s);
    *flops = context_cost(s->ctx).flops;
    context_set_dry(s->ctx, false);
    return context_status(s->ctx);
}

static idm_status check_budget(const idm_session *s, const job *j, size_t bytes)
{
    if (bytes <= s->budget) return IDM_OK;
    return status_fail(IDM_FAILED,
                       "%d x %d pixels need %.2f GiB of device memory, the budget on '%s' is %.2f GiB; use a smaller picture, tiles "
                       "(measure --tile), or raise memory.budget",
                       j->op->height, j->op->width, (double)bytes / 1073741824, context_device(s->ctx)->name,
                       (double)s->budget / 1073741824);
}

// Plans; layouts kept for other jobs give way where this one reads others, or the budget is short.
static idm_status plan_within_budget(idm_session *s, const job *j, size_t *bytes, double *flops)
{
    IDM_TRY(plan(s, j, bytes, flops));
    if (arena_held(s->ctx, POOL_DERIVED) &&
        (*bytes + arena_held(s->ctx, POOL_DERIVED) > s->budget || !network_layouts_suit(&s->net, j->op->height, j->op->width))) {
        network_drop_layouts(&s->net);
        IDM_TRY(plan(s, j, bytes, flops));
    }
    return check_budget(s, j, *bytes);
}

// Memory for the job, exactly; what the budget leaves goes to kept layouts.
static idm_status prepare(idm_session *s, const job *j)
{
    size_t bytes;
    double flops;
    if (s->prepared.height == j->op->height && s->prepared.width == j->op->width && s->prepared.measurements == j->op->measurements &&
        s->prepared.batch == j->batch)
        return IDM_OK;
    s->prepared.batch = 0;
    IDM_TRY(plan_within_budget(s, j, &bytes, &flops));
    if (arena_held(s->ctx, POOL_DERIVED) == 0) network_keep_layouts(&s->net, j->op->height, j->op->width, s->budget - bytes, false);
    context_plan_begin(s->ctx);
    run(s, j);
    IDM_TRY(context_plan_commit(s->ctx));
    s->prepared.height = j->op->height;
    s->prepared.width = j->op->width;
    s->prepared.measurements = j->op->measurements;
    s->prepared.batch = j->batch;
    return IDM_OK;
}

static idm_status check_operator(const idm_session *s, const idm_operator *op, int batch)
{
    if (op->block_size != s->sizes.block)
        return status_fail(IDM_USAGE, "measured in blocks of %d, the network reconstructs blocks of %d", op->block_size, s->sizes.block);
    if (batch < 1 || op->height < 1 || op->width < 1 || op->height % op->block_size || op->width % op->block_size || op->measurements < 1)
        return status_fail(IDM_USAGE, "a batch of %d pictures of %d x %d with %d measurements per block is not possible", batch, op->height,
                           op->width, op->measurements);
    return IDM_OK;
}

idm_status idm_session_plan(idm_session *s, int height, int width, int batch, size_t *bytes, double *flops)
{
    const idm_operator op = {.height = height, .width = width, .block_size = s->sizes.block, .measurements = s->measurements};
    IDM_TRY(check_operator(s, &op, batch));
    const job j = {.op = &op, .batch = batch};
    s->prepared.batch = 0; // layouts may be dropped
    return plan_within_budget(s, &j, bytes, flops);
}

static idm_status check_finite(const float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(out[i]))
            return status_fail(IDM_WRONG_RESULT,
                               "the reconstruction is not finite: alpha_bar outside (0, 1), or weights or measurements that are too large");
    return IDM_OK;
}

idm_status idm_session_reconstruct(idm_session *s, const idm_operator *op, const float *y, int batch, float *out, idm_progress *progress,
                                   void *user)
{
    const network_progress report = {progress, user};
    const job j = {.op = op, .batch = batch, .y = y, .out = out, .progress = progress ? &report : NULL};
    IDM_TRY(check_operator(s, op, batch));
    IDM_TRY(prepare(s, &j));
    run(s, &j);
    IDM_TRY(context_finish(s->ctx));
    return check_finite(out, (size_t)batch * (size_t)op->height * (size_t)op->width);
}
