// `idm bench`
#include "cli/bench.h"

#include "cli/interrupt.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/text.h"
#include "ops/matrix.h"
#include "train/train.h"
#include "tune/canary.h"
#include <math.h>
#include <string.h>

// ---- options

static idm_status whole_number(const cli_call *call, const char *name, int least, int most, int *value)
{
    const char *text = cli_value(call, name);
    int64_t number;
    if (!text) return IDM_OK;
    if (!text_to_int(text, &number) || number < least || number > most)
        return status_fail(IDM_USAGE, "--%s %.50s: a whole number from %d to %d is needed", name, text, least, most);
    *value = (int)number;
    return IDM_OK;
}

static idm_status positive_seconds(const cli_call *call, double *value)
{
    const char *text = cli_value(call, "seconds");
    if (text && (!text_to_double(text, value) || !(*value > 0)))
        return status_fail(IDM_USAGE, "--seconds %.50s: how long to measure, more than 0", text);
    return IDM_OK;
}

static bool wanted(const benchmark *b, const char *part)
{
    const char *only = cli_value(b->call, "only");
    return !only || strcmp(only, part) == 0;
}

static idm_status check_only(const cli_call *call)
{
    static const char *const parts[] = {"ceilings", "ops", "network"};
    const char *only = cli_value(call, "only");
    for (size_t i = 0; only && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(only, parts[i]) == 0) only = NULL;
    return only ? status_fail(IDM_USAGE, "--only %.50s: one of ceilings, ops, network", only) : IDM_OK;
}

static idm_status read_options(benchmark *b)
{
    const char *device = cli_value(b->call, "for");
    b->seconds = 120;
    IDM_TRY(check_only(b->call));
    IDM_TRY(positive_seconds(b->call, &b->seconds));
    if (device) {
        IDM_TRY(roofline_find(device, &b->planned));
        b->device = roofline_describe(b->planned);
    } else IDM_TRY(device_choose(b->call->config.device.device, &b->device));
    b->side = b->device.type == DEVICE_GPU ? 256 : 128;
    b->batch = b->device.type == DEVICE_GPU ? b->call->config.train.batch_size : 1;
    IDM_TRY(whole_number(b->call, "size", 4, 16384, &b->side));
    return whole_number(b->call, "batch", 1, 1024, &b->batch);
}

// ---- measuring

static void say_checking(void *user)
{
    const benchmark *b = user;
    cli_note(b->call, "first use of these kernels on this device: checking them (some seconds, once)");
}

// Sizes of the network, as a session would settle them.
static idm_status find_settings(benchmark *b, bench_settings *s)
{
    idm_session *dry;
    char note[1024];
    IDM_TRY(session_open_dry(&b->call->config, &b->device, &dry));
    if (!b->planned && session_tuning_note(dry, note, sizeof note)) cli_note(b->call, "%s", note);
    const session_parts parts = session_insides(dry);
    *s = (bench_settings){.sizes = parts.sizes, .cs_ratio = parts.cs_ratio, .side = b->side};
    idm_session_close(dry);
    if (b->side % s->sizes.block || b->side % 4)
        return status_fail(IDM_USAGE, "--size %d: a multiple of the sampling block, %d, is needed", b->side, s->sizes.block);
    return IDM_OK;
}

static idm_status run_parts(benchmark *b, ops *o, bench_settings *s)
{
    IDM_TRY(bench_report_begin(b, o, s));
    if (b->planned) b->ceilings = (ceilings){.flops = b->planned->flops, .bandwidth = b->planned->bandwidth};
    else IDM_TRY(ceilings_measure(o, fmin(4, 0.1 * b->seconds), &b->ceilings));
    bench_report_ceilings(b);
    if (!wanted(b, "ops")) return IDM_OK;
    const double now = clock_seconds();
    s->deadline = wanted(b, "network") ? now + 0.5 * (b->deadline - now) : b->deadline;
    s->flops = b->ceilings.flops;
    s->bandwidth = b->ceilings.bandwidth;
    s->predicted = b->planned;
    cJSON_AddArrayToObject(b->report, "ops");
    IDM_TRY(bench_ops(o, s, bench_report_op, b));
    return b->measured > 0 ? IDM_OK : status_fail(IDM_FAILED, "no operation could be measured: give more --seconds, or a smaller --size");
}

// Ceilings and operations, in a context of their own: the network then has all of the device's memory.
static idm_status run_operations(benchmark *b, bench_settings *s, const tuning *t)
{
    const idm_config *c = &b->call->config;
    context *ctx;
    ops o;
    IDM_TRY(context_create(&b->device, &(context_options){.max_launch_ms = c->device.max_launch_ms}, &ctx));
    idm_status status = ops_create(ctx, c->device.variants, c->device.gemm, c->device.math, bench_max_channels(&s->sizes), &o);
    o.tuning = t;
    if (b->planned) o.storage = trainer_storage(c->train.precision);
    if (status == IDM_OK) status = matrix_choose(&o, c->device.matrix);
    if (status == IDM_OK) status = run_parts(b, &o, s);
    if (b->call->profile && !b->planned) context_profile_print(ctx, stderr);
    context_destroy(ctx);
    return status;
}

// What does not fit the device's memory does not cost the figures before it.
static void report_speed(benchmark *b, idm_session *session, const speed *result, idm_status status)
{
    context *ctx = session_context(session);
    const prediction predicted = b->planned ? prediction_of_context(ctx, b->planned) : (prediction){0};
    bench_report_network(b, result, status == IDM_OK ? NULL : idm_message(), &predicted);
    if (status != IDM_OK) context_clear_error(ctx);
}

static idm_status run_network(benchmark *b, idm_session *session)
{
    trainer_options options = train_options(&b->call->config);
    speed result;
    const int before = b->measured;
    options.height = options.width = b->side;
    options.batch = b->batch;
    cJSON_AddArrayToObject(b->report, "network");
    const double left = fmax(b->deadline - clock_seconds(), 1); // a pass and an iteration are timed even if it is over
    idm_status status = speed_forward(session, b->side, 0.2 * left, clock_seconds() + 0.3 * left, &result);
    report_speed(b, session, &result, status);
    const double now = clock_seconds(), share = fmax(b->deadline - now, 0.3 * left);
    status = speed_train(session, &options, 0.7 * share, now + share, &result);
    report_speed(b, session, &result, status);
    if (b->call->profile && !b->planned) context_profile_print(session_context(session), stderr);
    return b->measured > before || wanted(b, "ops") ? IDM_OK : status;
}

// What is to be trusted is checked before.
static idm_status run_checked_operations(benchmark *b, bench_settings *s, const tuning *t)
{
    if (!b->planned) IDM_TRY(canary_run(&b->device, &b->call->config, &s->sizes, s->cs_ratio, true, t, say_checking, b));
    b->deadline = clock_seconds() + b->seconds;
    return run_operations(b, s, t);
}

static idm_status run_all(benchmark *b)
{
    bench_settings settings;
    idm_session *session;
    tuning_choice tuned;
    IDM_TRY(find_settings(b, &settings));
    IDM_TRY(tuning_choose(b->call->config.device.tuning, &b->device, &tuned));
    const idm_status measured = run_checked_operations(b, &settings, &tuned.file.t);
    tuning_choice_free(&tuned);
    IDM_TRY(measured);
    if (!wanted(b, "network")) return IDM_OK;
    if (b->planned) IDM_TRY(session_open_dry(&b->call->config, &b->device, &session));
    else IDM_TRY(idm_session_open(&b->call->config, &session));
    const idm_status status = run_network(b, session);
    idm_session_close(session);
    return status;
}

// ---- the command

static idm_status keep(const char *path, cJSON *report)
{
    char *text = cJSON_Print(report);
    if (!text) return status_fail(IDM_FAILED, "out of memory");
    interrupt_hold();
    const idm_status status = files_write_whole(path, text, strlen(text));
    interrupt_release();
    cJSON_free(text);
    return status;
}

// The new report, or the file that stands for it.
static idm_status make_report(benchmark *b)
{
    if (b->call->input_count > 0) return bench_compare_load(b->call->inputs[0], &b->report);
    IDM_TRY(read_options(b));
    IDM_TRY(run_all(b));
    const char *out = cli_value(b->call, "out");
    return out ? keep(out, b->report) : IDM_OK;
}

static idm_status check_call(const cli_call *call)
{
    static const char *const measuring[] = {"only", "size", "batch", "seconds", "out", "for"};
    if (call->input_count == 0) return IDM_OK;
    if (!cli_value(call, "compare"))
        return status_fail(IDM_USAGE, "bench: '%.200s': a file is only read with --compare; usage: idm bench %s", call->inputs[0],
                           call->command->arguments);
    for (size_t i = 0; i < sizeof measuring / sizeof *measuring; i++)
        if (cli_value(call, measuring[i]))
            return status_fail(IDM_USAGE, "bench: two files are compared and nothing is measured: --%s has no meaning", measuring[i]);
    return IDM_OK;
}

static idm_status run(const cli_call *call)
{
    benchmark b = {.call = call};
    const char *old_name = cli_value(call, "compare");
    cJSON *old = NULL;
    IDM_TRY(check_call(call));
    if (old_name) IDM_TRY(bench_compare_load(old_name, &old)); // before anything is measured
    idm_status status = make_report(&b);
    if (status == IDM_OK && old) status = bench_compare(call, b.report, old, old_name);
    if (status == IDM_OK && call->json) {
        status = cli_print_json(b.report);
        b.report = NULL;
    }
    cJSON_Delete(b.report);
    cJSON_Delete(old);
    return status;
}

static const cli_option bench_options[] = {
    {"only", 0, "PART", "ceilings, ops or network"},
    {"size", 0, "SIDE", "of the picture; 256 on GPUs, 128 on CPUs"},
    {"batch", 0, "N", "pictures of a training iteration; train.batch_size on GPUs, 1 on CPUs"},
    {"seconds", 0, "S", "about how long to measure in all (default 120); what is slow gets fewer runs, the last may get none"},
    {"out", 'o', "FILE.json", "keep the figures"},
    {"compare", 0, "FILE.json", "set the figures beside those of an earlier --out"},
    {"for", 0, "GPU",
     "measure nothing, predict for a GPU that is not here: rtx3090, rtx3060, rtx4090, rtx4060ti,\n"
     "                     a100-40, a100-80, h100, rx7900xtx, mi210, a770, iris-xe"},
    {0},
};

const cli_command bench_command = {
    .name = "bench",
    .arguments = "[OTHER.json --compare FILE.json]",
    .summary = "how fast each operation and the whole network run on this device",
    .description =
        "Measures what the device reaches at most (multiply-adds, memory, launches), then every operation at the shapes of the\n"
        "configured network, then the whole network, forward and a training iteration. Medians after a warm-up, with the spread\n"
        "between quartiles; % is of the time that the measured ceilings allow, counting the published operations whatever a\n"
        "kernel does instead. Where a kernel's operands fit into caches, or it does less than the published operations, more than\n"
        "100 % is possible. Operations run in float32, the iteration as train.precision and memory.* say. First the kernels are\n"
        "checked. --compare refuses figures of another workload version; with OTHER.json nothing is measured, and the two files are\n"
        "compared. --for gives predictions, of operations too as train.precision says, from what the GPU's compiler reports of each\n"
        "kernel, with a range and with what bounds it; % is of the time that the data sheet's float32 rate allows.",
    .most = 1,
    .options = bench_options,
    .run = run,
};
