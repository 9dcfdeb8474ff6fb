// `idm verify`
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/measured.h"
#include "core/text.h"
#include "eval/session.h"
#include "io/safetensors.h"
#include <math.h>
#include <stdlib.h>

typedef struct verification {
    const cli_call *call;
    tensor_file *file;
    measurement m;
    float *out; // what was computed
    double loss, tolerance;
    double output_error, loss_error; // NaN: nothing to compare with
} verification;

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

static idm_status compute(verification *v)
{
    idm_config *config = malloc(sizeof *config);
    if (!config) return status_fail(IDM_FAILED, "out of memory");
    *config = v->call->config;
    take_sizes(v->file, &v->m, config);
    idm_session *session = NULL;
    idm_status status = idm_session_open(config, &session);
    free(config);
    if (status != IDM_OK) return status;
    char text[256];
    session_describe(session, text, sizeof text);
    cli_note(v->call, "%s", text);
    const idm_operator op = measured_operator(&v->m);
    if (v->m.x) idm_measure(&op, v->m.x, v->m.count, v->m.y);
    status = idm_session_reconstruct(session, &op, v->m.y, v->m.count, v->out, NULL, NULL);
    if (v->call->profile) context_profile_print(session_context(session), stderr);
    idm_session_close(session);
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

static idm_status dump(const verification *v, const char *path)
{
    const measurement *m = &v->m;
    const float loss = (float)v->loss;
    const safetensors_tensor tensors[] = {
        {.name = "out", .dtype = FILE_F32, .rank = 4, .shape = {m->count, 1, m->height, m->width}, .data = v->out},
        {.name = "loss", .dtype = FILE_F32, .rank = 1, .shape = {1}, .data = &loss},
    };
    interrupt_hold();
    const idm_status status = safetensors_write(path, tensors, m->x ? 2 : 1, NULL, 0);
    interrupt_release();
    return status;
}

static idm_status report(const verification *v)
{
    const char *path = tensor_file_path(v->file);
    const bool output_wrong = !isnan(v->output_error) && !(v->output_error <= v->tolerance);
    const bool loss_wrong = !isnan(v->loss_error) && !(v->loss_error <= v->tolerance);
    if (v->call->json) {
        cJSON *object = cJSON_CreateObject();
        cli_json_number(object, "output_error", v->output_error);
        cli_json_number(object, "loss_error", v->loss_error);
        cJSON_AddBoolToObject(object, "pass", !output_wrong && !loss_wrong);
        IDM_TRY(cli_print_json(object));
    } else {
        if (!isnan(v->output_error)) printf("output error %.3e\n", v->output_error);
        if (!isnan(v->loss_error)) printf("loss error   %.3e\n", v->loss_error);
        printf("%s (tolerance %.1e)\n", output_wrong || loss_wrong ? "WRONG" : "pass", v->tolerance);
    }
    if (output_wrong)
        return status_fail(IDM_WRONG_RESULT, "%s: output error %.3e is above the tolerance %.1e", path, v->output_error, v->tolerance);
    if (loss_wrong)
        return status_fail(IDM_WRONG_RESULT, "%s: loss error %.3e is above the tolerance %.1e", path, v->loss_error, v->tolerance);
    return IDM_OK;
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

static idm_status verify_run(const cli_call *call)
{
    verification v = {.call = call, .tolerance = 1e-4, .output_error = NAN, .loss_error = NAN};
    const char *tolerance = cli_value(call, "tolerance");
    if (tolerance && (!text_to_double(tolerance, &v.tolerance) || !(v.tolerance > 0)))
        return status_fail(IDM_USAGE, "--tolerance %.50s: a positive number is needed, such as 1e-4", tolerance);
    if (!call->config.model.weights[0]) return status_fail(IDM_USAGE, "verify needs --weights FILE");
    IDM_TRY(tensor_file_open(call->inputs[0], &v.file));
    const idm_status status = verify_file(&v);
    tensor_file_close(v.file);
    measurement_free(&v.m);
    free(v.out);
    return status;
}

static const cli_option verify_options[] = {
    {"dump", 0, "OUT.safetensors", "write what was computed: out, loss"},
    {"tolerance", 0, "E", "largest relative error that passes (default 1e-4)"},
    {0},
};

const cli_command verify_command = {
    .name = "verify",
    .arguments = "GOLDEN --weights FILE",
    .summary = "run a recorded problem and compare with the recorded truth",
    .description =
        "GOLDEN: a .safetensors file with x (or y), phi, perm, and what must come out: out, loss. y = A x is computed in double\n"
        "precision where x is there. Prints relative errors; exit status 4 above the tolerance. math = exact unless device.math\n"
        "is given.",
    .least = 1,
    .most = 1,
    .options = verify_options,
    .run = verify_run,
};
