#include "cli/verify.h"

#include "core/clock.h"
#include "core/text.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

idm_status verify_dump_add(verify_dump *d, const char *prefix, const char *name, int rank, const int64_t shape[4], const float *data,
                           size_t count)
{
    char full[160];
    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    if (d->count == d->capacity) {
        const size_t capacity = d->capacity ? 2 * d->capacity : 64;
        safetensors_tensor *grown = realloc(d->tensors, capacity * sizeof *grown);
        if (!grown) return status_fail(IDM_FAILED, "out of memory");
        d->tensors = grown;
        d->capacity = capacity;
    }
    float *copy = malloc((count ? count : 1) * sizeof *copy);
    char *label = strdup(full);
    if (!copy || !label) {
        free(copy);
        free(label);
        return status_fail(IDM_FAILED, "out of memory");
    }
    memcpy(copy, data, count * sizeof *copy);
    safetensors_tensor *t = &d->tensors[d->count++];
    *t = (safetensors_tensor){.name = label, .dtype = FILE_F32, .rank = rank, .data = copy};
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i];
    return IDM_OK;
}

void verify_dump_free(verify_dump *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free((void *)d->tensors[i].name);
        free((void *)d->tensors[i].data);
    }
    free(d->tensors);
    *d = (verify_dump){0};
}

typedef struct training_run {
    verification *v;
    idm_session *session;
    trainer *trainer;
    const char *prefix; // of dumped tensors
    float scale;        // of the gradients
} training_run;

static idm_status open_run(verification *v, const idm_config *config, bool optimiser, training_run *r)
{
    *r = (training_run){.v = v, .scale = 1};
    bool changed;
    trainer_options options = train_options(config);
    options.batch = v->m.count;
    options.height = v->m.height;
    options.width = v->m.width;
    options.optimiser = optimiser;
    options.ema = options.clip = 0;
    options.phi = v->m.phi;
    options.measurements = v->m.measurements;
    idm_status status = idm_session_open(config, &r->session);
    if (status == IDM_OK) status = trainer_create(r->session, &options, NULL, &changed, &r->trainer);
    if (status != IDM_OK) return status;
    char text[128];
    training_plan_text(trainer_plan(r->trainer), text, sizeof text);
    cli_note(v->call, "%s: %s", optimiser ? "Adam" : "gradients", text);
    return IDM_OK;
}

static void close_run(training_run *r)
{
    if (r->session && r->v->call->profile) context_profile_print(session_context(r->session), stderr);
    trainer_free(r->trainer);
    idm_session_close(r->session);
}

static idm_status dump_parameter(void *user, const parameter *which, const float *values, size_t count)
{
    training_run *r = user;
    int64_t shape[4];
    for (int i = 0; i < 4; i++) shape[i] = which->shape[i];
    IDM_TRY(verify_dump_add(&r->v->dump, r->prefix, which->name, which->rank, shape, values, count));
    float *kept = (float *)r->v->dump.tensors[r->v->dump.count - 1].data;
    for (size_t i = 0; i < count; i++) kept[i] /= r->scale;
    return IDM_OK;
}

// Everything of a pool against the golden, and into the dump.
static idm_status compare(training_run *r, pool where, const char *kind, golden_errors *errors)
{
    const parameters *p = &session_insides(r->session).net->parameters;
    char prefix[16];
    IDM_TRY(golden_compare(r->v->file, p, where, kind, r->scale, errors));
    if (!cli_value(r->v->call, "dump")) return IDM_OK;
    (void)snprintf(prefix, sizeof prefix, "%s/", kind);
    r->prefix = prefix;
    return parameters_download(p, where, dump_parameter, r);
}

static bool has_prefix(tensor_file *file, const char *prefix)
{
    for (size_t i = 0; i < tensor_file_count(file); i++)
        if (strncmp(tensor_file_at(file, i)->name, prefix, strlen(prefix)) == 0) return true;
    return false;
}

idm_status verify_gradients(verification *v, const idm_config *config)
{
    training_run r;
    if (!has_prefix(v->file, "grad/") && !has_prefix(v->file, "gradnorm/")) return IDM_OK;
    idm_status status = open_run(v, config, false, &r);
    if (status == IDM_OK) {
        trainer_state s;
        trainer_step(r.trainer, v->m.x, v->m.y, v->m.perm, 0);
        status = trainer_read(r.trainer, &s);
        r.scale = s.adam.scale;
        // in 16 bits the training pass is what is verified
        if (status == IDM_OK && config->train.precision != IDM_PRECISION_FP32) status = trainer_output(r.trainer, v->out);
        if (status == IDM_OK) status = compare(&r, POOL_GRADIENTS, "grad", &v->gradients);
    }
    close_run(&r);
    return status;
}

static idm_status take_steps(training_run *r, const float *want, float *got, size_t count, double rate)
{
    verification *v = r->v;
    v->training_error = 0;
    for (size_t i = 0; i < count; i++) {
        trainer_state s;
        const double began = clock_seconds();
        trainer_step(r->trainer, v->m.x, v->m.y, v->m.perm, rate);
        IDM_TRY(trainer_read(r->trainer, &s));
        const double seconds = clock_seconds() - began;
        if (i > 0 && !(v->step_seconds <= seconds)) v->step_seconds = seconds; // the first builds kernels
        got[i] = s.loss;
        const double error = fabs((double)got[i] - want[i]) / fabs((double)want[i]);
        if (!(error <= v->training_error)) v->training_error = isfinite(error) ? error : INFINITY;
        s.loss = 0;
        trainer_write(r->trainer, &s);
    }
    return compare(r, POOL_WEIGHTS, "param", &v->parameters);
}

idm_status verify_steps(verification *v, const idm_config *config)
{
    const tensor_entry *entry = tensor_file_find(v->file, "losses");
    const char *text = tensor_file_metadata(v->file, "lr");
    double rate;
    training_run r;
    if (!entry || entry->count == 0) return IDM_OK;
    if (!text || !text_to_double(text, &rate))
        return status_fail(IDM_BAD_INPUT, "%s: losses, but no learning rate 'lr' in the metadata", tensor_file_path(v->file));
    float *want = malloc(2 * entry->count * sizeof *want);
    if (!want) return status_fail(IDM_FAILED, "out of memory");
    float *got = want + entry->count;
    idm_status status = tensor_file_read_f32(v->file, entry, want);
    if (status == IDM_OK) {
        status = open_run(v, config, true, &r);
        if (status == IDM_OK) status = take_steps(&r, want, got, entry->count, rate);
        if (status == IDM_OK && cli_value(v->call, "dump"))
            status = verify_dump_add(&v->dump, "", "losses", 1, (const int64_t[4]){(int64_t)entry->count}, got, entry->count);
        close_run(&r);
    }
    free(want);
    return status;
}
