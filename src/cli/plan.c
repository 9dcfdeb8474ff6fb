// `idm plan`
#include "cli/cli.h"
#include "core/files.h"
#include "train/train.h"
#include "tune/prediction.h"
#include <string.h>

static const char *const pool_names[POOL_COUNT] = {
    [POOL_WEIGHTS] = "weights", [POOL_GRADIENTS] = "gradients", [POOL_MOMENT1] = "moment1",   [POOL_MOMENT2] = "moment2",
    [POOL_EMA] = "ema",         [POOL_DERIVED] = "layouts",     [POOL_OPERATOR] = "operator", [POOL_ACTIVATIONS] = "activations",
    [POOL_CLBLAST] = "clblast",
};

typedef struct planning {
    const cli_call *call;
    idm_session *session;
    trainer *trainer;
    roofline_device here;
    bool here_known;
    const roofline_device *named; // by --for, or null
} planning;

// The device to plan for: the one named by --for, else the configured one if it is here, else a common card.
static idm_status choose_device(planning *p, device_info *device)
{
    const char *name = cli_value(p->call, "for");
    if (name) {
        IDM_TRY(roofline_find(name, &p->named));
        *device = roofline_describe(p->named);
    } else if (device_choose(p->call->config.device.device, device) != IDM_OK) {
        cli_note(p->call, "no OpenCL device here (%s): planned for an %s", idm_message(), roofline_devices[0].name);
        *device = roofline_describe(&roofline_devices[0]);
    }
    p->here_known = roofline_of(device, &p->here);
    return IDM_OK;
}

static double seconds_on(const planning *p, const roofline_device *device)
{
    return roofline_seconds(session_context(p->session), device);
}

static size_t parameter_count(const planning *p)
{
    const parameters *list = &session_insides(p->session).net->parameters;
    size_t sum = 0;
    for (size_t i = 0; i < list->count; i++) sum += tensor_elements(list->list[i].value);
    return sum;
}

static void add_estimate(cJSON *list, const char *device, double seconds)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "device", device);
    cJSON_AddNumberToObject(row, "seconds", seconds);
    cJSON_AddItemToArray(list, row);
}

static void add_prediction(cJSON *object, const planning *p)
{
    const prediction t = prediction_of_context(session_context(p->session), p->named);
    cJSON *row = cJSON_AddObjectToObject(object, "prediction");
    cJSON_AddStringToObject(row, "device", p->named->name);
    cJSON_AddNumberToObject(row, "seconds", t.seconds);
    cJSON_AddNumberToObject(row, "least", t.least);
    cJSON_AddNumberToObject(row, "most", t.most);
    cJSON_AddNumberToObject(row, "unreported", t.unreported);
    cJSON_AddNumberToObject(row, "inexact", t.inexact);
    cJSON_AddNumberToObject(row, "library", t.library);
    cJSON_AddStringToObject(row, "bottleneck", bottleneck_names[prediction_bottleneck(&t)]);
    cJSON *by = cJSON_AddObjectToObject(row, "by");
    for (int i = 0; i < BOTTLENECKS; i++) cJSON_AddNumberToObject(by, bottleneck_names[i], t.by[i]);
}

static void print_prediction(const planning *p)
{
    const prediction t = prediction_of_context(session_context(p->session), p->named);
    char time[32], least[32], most[32];
    printf("prediction, not measured (bench/VENDORS.md says how it is made, and how far off it was elsewhere):\n");
    printf("  %-18s %s an iteration, from %s to %s\n  bound by", p->named->name, cli_time_text(time, t.seconds),
           cli_time_text(least, t.least), cli_time_text(most, t.most));
    bool shown[BOTTLENECKS] = {false};
    for (int rank = 0; rank < BOTTLENECKS; rank++) {
        int best = -1;
        for (int i = 0; i < BOTTLENECKS; i++)
            if (!shown[i] && (best < 0 || t.by[i] > t.by[best])) best = i;
        shown[best] = true;
        const double percent = 100 * t.by[best] / t.seconds;
        if (percent >= 0.5) printf("%s %s %.0f%%", rank ? "," : "", bottleneck_names[best], percent);
    }
    puts("");
    if (t.unreported > 0.02 * t.seconds)
        printf("  %.0f%% of it are kernels that no compiler's report describes\n", 100 * t.unreported / t.seconds);
    if (t.library > 0) printf("  %.0f%% of it are CLBlast's products, taken at half the peak\n", 100 * t.library / t.seconds);
}

static idm_status print_json(const planning *p)
{
    const training_plan *plan = trainer_plan(p->trainer);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "peak_bytes", (double)plan->peak);
    cJSON *pools = cJSON_AddObjectToObject(object, "pools");
    for (int i = 0; i < POOL_COUNT; i++) cJSON_AddNumberToObject(pools, pool_names[i], (double)plan->pools[i]);
    cJSON_AddNumberToObject(pools, "staging", (double)plan->staging);
    cJSON_AddNumberToObject(object, "parameters", (double)parameter_count(p));
    cJSON_AddNumberToObject(object, "forward_flops", plan->forward_flops);
    cJSON_AddNumberToObject(object, "flops_per_iteration", plan->flops);
    cJSON_AddNumberToObject(object, "forward_equivalents", plan->flops / plan->forward_flops);
    cJSON_AddNumberToObject(object, "bytes_per_iteration", plan->bytes);
    cJSON_AddNumberToObject(object, "micro_batch", plan->micro_batch);
    cJSON_AddStringToObject(object, "recompute", training_plan_mode(plan));
    cJSON *estimates = cJSON_AddArrayToObject(object, "estimate");
    if (p->here_known) add_estimate(estimates, p->here.name, seconds_on(p, &p->here));
    for (const roofline_device *d = roofline_devices; d->name; d++) add_estimate(estimates, d->name, seconds_on(p, d));
    if (p->named) add_prediction(object, p);
    return cli_print_json(object);
}

static void print_text(const planning *p)
{
    const training_plan *plan = trainer_plan(p->trainer);
    char text[128], bytes[32], time[32];
    training_plan_text(plan, text, sizeof text);
    printf("parameters           %zu\n", parameter_count(p));
    printf("plan                 %s\n", text);
    printf("peak device memory   %s\n", cli_bytes_text(bytes, (double)plan->peak));
    for (int i = 0; i < POOL_COUNT; i++)
        if (plan->pools[i]) printf("  %-18s %s\n", pool_names[i], cli_bytes_text(bytes, (double)plan->pools[i]));
    printf("forward pass         %.3f TFLOP\n", plan->forward_flops / 1e12);
    printf("iteration            %.3f TFLOP = %.2f forward passes, %s moved\n", plan->flops / 1e12, plan->flops / plan->forward_flops,
           cli_bytes_text(bytes, plan->bytes));
    printf("at least, by roofline (peak float32 rate and bandwidth; no device reaches it):\n");
    if (p->here_known) printf("  %-18.40s %s an iteration\n", p->here.name, cli_time_text(time, seconds_on(p, &p->here)));
    for (const roofline_device *d = roofline_devices; d->name; d++)
        printf("  %-18s %s an iteration\n", d->name, cli_time_text(time, seconds_on(p, d)));
    if (p->named) print_prediction(p);
    else puts("`idm plan --for GPU` also predicts what one of these GPUs will take");
}

static idm_status run_planned(planning *p)
{
    bool changed;
    const trainer_options options = train_options(&p->call->config);
    IDM_TRY(trainer_create(p->session, &options, NULL, &changed, &p->trainer));
    if (p->call->json) return print_json(p);
    print_text(p);
    return IDM_OK;
}

static idm_status plan_run(const cli_call *call)
{
    planning p = {.call = call};
    device_info device;
    idm_config config = call->config;
    IDM_TRY(choose_device(&p, &device));
    // sizes are all that counts, and what training starts from may not be here yet
    const char *file = strncmp(config.train.init, "weights:", 8) == 0 ? config.train.init + 8 : "";
    if (files_exists(file)) memcpy(config.model.weights, file, strlen(file) + 1);
    IDM_TRY(session_open_dry(&config, &device, &p.session));
    const idm_status status = run_planned(&p);
    trainer_free(p.trainer);
    idm_session_close(p.session);
    return status;
}

static const cli_option plan_options[] = {
    {"for", 0, "GPU",
     "plan for a GPU that is not here, and predict its time: rtx3090, rtx3060, rtx4090, rtx4060ti,\n"
     "                     a100-40, a100-80, h100, rx7900xtx, mi210, a770, iris-xe"},
    {0},
};

const cli_command plan_command = {
    .name = "plan",
    .arguments = "[-c FILE.ini]",
    .summary = "what training will take: device memory, operations, time by roofline",
    .description =
        "Goes through one training iteration without computing: exact peak of device memory by pool, FLOPs and bytes, the chosen\n"
        "micro-batch and recompute mode, and the least time that peak rates allow on this device and on known GPUs. Needs no\n"
        "device. With --for also a prediction of the time, from what the GPU's compiler reports of each kernel: with a range, and with\n"
        "what the kernels wait for. Nothing of it was measured on that GPU.",
    .options = plan_options,
    .run = plan_run,
};
