// `idm verify`
#include "cli/verify.h"

#include "cli/interrupt.h"
#include "cli/measured.h"
#include "core/text.h"
#include "eval/camera.h"
#include "eval/session.h"
#include <math.h>
#include <stdlib.h>

static size_t values_in_all(const measurement *m)
{
    return (size_t)m->count * (size_t)m->height * (size_t)m->width;
}

// The golden says the sizes that neither the configuration nor, later, the weights file do.
static void take_sizes(const tensor_file *file, const measurement *m, idm_config *config)
{
    static const char *const keys[] = {"heads", "groups", "steps"};
    int *const places[] = {&config->model.heads, &config->model.groups, &config->model.steps};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = tensor_file_metadata(file, keys[i]);
        int64_t value;
        if (*places[i] == 0 && text && text_to_int(text, &value) && value > 0 && value < 65536) *places[i] = (int)value;
    }
    if (config->sensing.block_size == 0) config->sensing.block_size = m->block;
    if (!config->device.math_given) config->device.math = IDM_MATH_EXACT;
}

static idm_status reconstruct(verification *v, const idm_config *config)
{
    idm_session *session = NULL;
    IDM_TRY(idm_session_open(config, &session));
    char text[256];
    session_describe(session, text, sizeof text);
    cli_note(v->call, "%s", text);
    const idm_operator op = camera_operator_of(&v->m);
    if (v->m.x) idm_measure(&op, v->m.x, v->m.count, v->m.y);
    const idm_status status = idm_session_reconstruct(session, &op, v->m.y, v->m.count, v->out, NULL, NULL);
    if (v->call->profile) context_profile_print(session_context(session), stderr);
    idm_session_close(session);
    return status;
}

static idm_status compute(verification *v)
{
    idm_config *config = malloc(sizeof *config);
    if (!config) return status_fail(IDM_FAILED, "out of memory");
    *config = v->call->config;
    take_sizes(v->file, &v->m, config);
    idm_status status = reconstruct(v, config);
    if (status == IDM_OK && v->m.x && !cli_flag(v->call, "output-only")) status = verify_gradients(v, config);
    if (status == IDM_OK && v->m.x && !cli_flag(v->call, "output-only")) status = verify_steps(v, config);
    free(config);
    return status;
}

static idm_status allocate(verification *v)
{
    const measurement *m = &v->m;
    const size_t rows = values_in_all(m) / ((size_t)m->block * (size_t)m->block);
    v->out = malloc(values_in_all(m) * sizeof *v->out);
    if (!v->m.y) v->m.y = malloc(rows * (size_t)m->measurements * sizeof *v->m.y);
    return v->out && v->m.y ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
}

// || got - want || / || want ||
static double relative_error(const float *got, const float *want, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    return sqrt(difference / norm);
}

static idm_status compare_output(verification *v)
{
    const measurement *m = &v->m;
    const tensor_entry *out = tensor_file_find(v->file, "out");
    if (!out) return IDM_OK;
    IDM_TRY(tensor_file_expect_shape(v->file, out, 4, (const int64_t[]){m->count, 1, m->height, m->width}));
    float *want = malloc(out->count * sizeof *want);
    idm_status status = want ? tensor_file_read_f32(v->file, out, want) : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) v->output_error = relative_error(v->out, want, out->count);
    free(want);
    return status;
}

// Against `loss`, or the first of `losses`, which is that before the first update.
static idm_status compare_loss(verification *v)
{
    const tensor_entry *entry = tensor_file_find(v->file, "loss");
    double sum = 0;
    if (!v->m.x) return IDM_OK;
    for (size_t i = 0; i < values_in_all(&v->m); i++) sum += fabs((double)v->out[i] - v->m.x[i]);
    v->loss = sum / (double)values_in_all(&v->m);
    if (!entry) entry = tensor_file_find(v->file, "losses");
    if (!entry || entry->count == 0) return IDM_OK;
    float *want = malloc(entry->count * sizeof *want);
    idm_status status = want ? tensor_file_read_f32(v->file, entry, want) : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) v->loss_error = fabs(v->loss - want[0]) / fabs((double)want[0]);
    free(want);
    return status;
}

static idm_status dump(verification *v, const char *path)
{
    const measurement *m = &v->m;
    const float loss = (float)v->loss;
    IDM_TRY(verify_dump_add(&v->dump, "", "out", 4, (const int64_t[4]){m->count, 1, m->height, m->width}, v->out, values_in_all(m)));
    if (m->x) IDM_TRY(verify_dump_add(&v->dump, "", "loss", 1, (const int64_t[4]){1}, &loss, 1));
    interrupt_hold();
    const idm_status status = safetensors_write(path, v->dump.tensors, v->dump.count, NULL, 0);
    interrupt_release();
    return status;
}

static const double ZERO_GRADIENT = 1e-5; // of the whole gradient's norm, for one that is truly zero

// What is wrong first; IDM_OK: nothing.
static idm_status judge(const verification *v)
{
    const char *path = tensor_file_path(v->file);
    const struct {
        const char *what;
        bool known;
        double error, most;
    } rows[] = {
        {"output error", !isnan(v->output_error), v->output_error, v->tolerance},
        {"loss error", !isnan(v->loss_error), v->loss_error, v->tolerance},
        {"error of a gradient", v->gradients.tensors > 0, v->gradients.worst, v->gradient_tolerance},
        {"gradient that should be zero", v->gradients.tensors > 0, v->gradients.zero, ZERO_GRADIENT},
        {"error of a loss in training", !isnan(v->training_error), v->training_error, v->tolerance},
        {"error of the trained parameters", v->parameters.tensors > 0, v->parameters.whole, v->gradient_tolerance},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].known && !(rows[i].error <= rows[i].most))
            return status_fail(IDM_WRONG_RESULT, "%s: %s %.3e is above the tolerance %.1e", path, rows[i].what, rows[i].error,
                               rows[i].most);
    return IDM_OK;
}

static idm_status print_json(const verification *v, bool right)
{
    cJSON *object = cJSON_CreateObject();
    cli_json_number(object, "output_error", v->output_error);
    cli_json_number(object, "loss_error", v->loss_error);
    if (v->gradients.tensors) {
        cJSON *gradient = cJSON_AddObjectToObject(object, "gradient_error");
        cli_json_number(gradient, "whole", v->gradients.whole);
        cli_json_number(gradient, "median", v->gradients.median);
        cli_json_number(gradient, "worst", v->gradients.worst);
        cJSON_AddStringToObject(gradient, "worst_name", v->gradients.worst_name);
    }
    if (!isnan(v->training_error)) {
        cJSON *training = cJSON_AddObjectToObject(object, "training");
        cli_json_number(training, "worst_loss_error", v->training_error);
        cli_json_number(training, "step_seconds", v->step_seconds);
        if (v->parameters.tensors) cli_json_number(training, "parameter_error", v->parameters.whole);
    }
    cJSON_AddBoolToObject(object, "pass", right);
    return cli_print_json(object);
}

static void print_text(const verification *v, bool right)
{
    const golden_errors *g = &v->gradients, *p = &v->parameters;
    if (!isnan(v->output_error)) printf("output error %.3e\n", v->output_error);
    if (!isnan(v->loss_error)) printf("loss error   %.3e\n", v->loss_error);
    if (g->tensors)
        printf("gradients    %.3e whole, %.3e median of %zu, %.3e worst (%s)\n", g->whole, g->median, g->tensors, g->worst, g->worst_name);
    if (!isnan(v->training_error)) printf("training     %.3e worst loss\n", v->training_error);
    if (!isnan(v->step_seconds)) printf("a step       %.3f s\n", v->step_seconds);
    if (p->tensors) printf("parameters   %.3e whole, %.3e median, %.3e worst (%s)\n", p->whole, p->median, p->worst, p->worst_name);
    printf("%s (tolerance %.1e, gradients %.1e)\n", right ? "pass" : "WRONG", v->tolerance, v->gradient_tolerance);
}

static idm_status report(const verification *v)
{
    const idm_status status = judge(v);
    if (!v->call->json) print_text(v, status == IDM_OK);
    else if (print_json(v, status == IDM_OK) != IDM_OK) return IDM_FAILED;
    return judge(v); // its message last
}

static idm_status verify_file(verification *v)
{
    const char *path = tensor_file_path(v->file), *dump_path = cli_value(v->call, "dump");
    IDM_TRY(measurement_read(v->file, NULL, false, &v->m));
    IDM_TRY(allocate(v));
    IDM_TRY(compute(v));
    IDM_TRY(compare_output(v));
    IDM_TRY(compare_loss(v));
    if (dump_path) IDM_TRY(dump(v, dump_path));
    if (isnan(v->output_error) && isnan(v->loss_error))
        return status_fail(IDM_BAD_INPUT, "%s: holds neither out nor loss: nothing to verify", path);
    return report(v);
}

static idm_status read_tolerance(const cli_call *call, const char *name, double *value)
{
    const char *text = cli_value(call, name);
    if (text && (!text_to_double(text, value) || !(*value > 0)))
        return status_fail(IDM_USAGE, "--%s %.50s: a positive number is needed, such as 1e-4", name, text);
    return IDM_OK;
}

static idm_status verify_run(const cli_call *call)
{
    verification v = {.call = call,
                      .tolerance = 1e-4,
                      .gradient_tolerance = 1e-2,
                      .output_error = NAN,
                      .loss_error = NAN,
                      .training_error = NAN,
                      .step_seconds = NAN};
    IDM_TRY(read_tolerance(call, "tolerance", &v.tolerance));
    IDM_TRY(read_tolerance(call, "gradient-tolerance", &v.gradient_tolerance));
    if (!call->config.model.weights[0]) return status_fail(IDM_USAGE, "verify needs --weights FILE");
    IDM_TRY(tensor_file_open(call->inputs[0], &v.file));
    const idm_status status = verify_file(&v);
    tensor_file_close(v.file);
    measurement_free(&v.m);
    verify_dump_free(&v.dump);
    free(v.out);
    return status;
}

static const cli_option verify_options[] = {
    {"dump", 0, "OUT.safetensors", "write what was computed: out, loss, grad/NAME, losses, param/NAME"},
    {"tolerance", 0, "E", "largest relative error of output and losses that passes (default 1e-4)"},
    {"output-only", 0, NULL, "leave out gradients and Adam's steps"},
    {"gradient-tolerance", 0, "E", "the same of every tensor's gradient (default 1e-2)"},
    {0},
};

const cli_command verify_command = {
    .name = "verify",
    .arguments = "GOLDEN --weights FILE",
    .summary = "run a recorded problem and compare with the recorded truth",
    .description =
        "GOLDEN: a .safetensors file with x (or y), phi, perm, and what must come out: out, loss, gradients, losses and parameters\n"
        "of Adam's steps. y = A x is computed in double precision where x is there. Prints relative errors; exit status 4 above a\n"
        "tolerance. math = exact unless device.math is given; memory.recompute and train.precision choose how gradients are made.",
    .least = 1,
    .most = 1,
    .options = verify_options,
    .run = verify_run,
};
