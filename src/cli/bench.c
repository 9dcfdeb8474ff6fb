// `idm bench`
#include "cli/bench.h"

#include "core/files.h"
#include "eval/session.h"
#include "tune/canary.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- options

static idm_status whole_number(const cli_call *call, const char *name, int least, int most, int *value)
{
    const char *text = cli_value(call, name);
    if (!text) return IDM_OK;
    char *end;
    const double number = strtod(text, &end);
    if (end == text || *end || !(number >= least) || number > most || number != floor(number))
        return status_fail(IDM_USAGE, "--%s %.50s: a whole number from %d to %d is needed", name, text, least, most);
    *value = (int)number;
    return IDM_OK;
}

static idm_status positive_seconds(const cli_call *call, double *value)
{
    const char *text = cli_value(call, "seconds");
    if (!text) return IDM_OK;
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value > 0) || !isfinite(*value))
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
    IDM_TRY(session_open_dry(&b->call->config, &b->device, &dry));
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
    if (wanted(b, "ops")) {
        const double now = stopwatch_clock();
        s->deadline = cli_value(b->call, "only") ? b->deadline : now + 0.5 * (b->deadline - now);
        s->flops = b->ceilings.flops;
        s->bandwidth = b->ceilings.bandwidth;
        cJSON_AddArrayToObject(b->report, "ops");
        IDM_TRY(bench_ops(o, s, bench_report_op, b));
    }
    return IDM_OK;
}

static idm_status run_on_device(benchmark *b)
{
    const idm_config *c = &b->call->config;
    bench_settings settings;
    context *ctx;
    ops o;
    IDM_TRY(find_settings(b, &settings));
    if (!b->planned) IDM_TRY(canary_run(&b->device, c, &settings.sizes, settings.cs_ratio, true, say_checking, b));
    b->deadline = stopwatch_clock() + b->seconds;
    IDM_TRY(context_create(&b->device, &(context_options){.max_launch_ms = c->device.max_launch_ms}, &ctx));
    idm_status status = ops_create(ctx, c->device.variants, c->device.gemm, c->device.math, bench_max_channels(&settings.sizes), &o);
    if (status == IDM_OK) status = run_parts(b, &o, &settings);
    if (b->call->profile) context_profile_print(ctx, stderr);
    context_destroy(ctx);
    return status;
}

static idm_status run(const cli_call *call)
{
    benchmark b = {.call = call};
    IDM_TRY(read_options(&b));
    idm_status status = run_on_device(&b);
    if (status == IDM_OK && call->json) {
        status = cli_print_json(b.report);
        b.report = NULL;
    }
    cJSON_Delete(b.report);
    return status;
}

static const cli_option bench_options[] = {
    {"only", 0, "PART", "ceilings, ops or network"},
    {"size", 0, "SIDE", "of the picture; 256 on GPUs, 128 on CPUs"},
    {"batch", 0, "N", "pictures of a training iteration; train.batch_size on GPUs, 1 on CPUs"},
    {"seconds", 0, "S", "about how long to measure in all (default 120); what is slow gets fewer runs, the last may get none"},
    {"out", 'o', "FILE.json", "keep the figures"},
    {"compare", 0, "FILE.json", "set the figures beside those of an earlier --out"},
    {"for", 0, "GPU", "measure nothing, say what peak rates allow: rtx3090, a100-40, a100-80, h100, rx7900xtx, mi210, a770"},
    {0},
};

const cli_command bench_command = {
    .name = "bench",
    .arguments = "[OTHER.json --compare FILE.json]",
    .summary = "how fast each operation and the whole network run on this device",
    .description =
        "Measures what the device reaches at most (multiply-adds, memory, launches), then every operation at the shapes of the\n"
        "configured network, then the whole network, forward and a training iteration. Medians after a warm-up, with the spread\n"
        "from fastest to slowest; % is of the time that the measured ceilings allow, counting the published operations whatever a\n"
        "kernel does instead. Where a kernel's operands fit into caches, or it does less than the published operations, more than\n"
        "100 % is possible. First the kernels are checked. --compare refuses figures of another workload version; with OTHER.json\n"
        "nothing is measured, and the two files are compared.",
    .most = 1,
    .options = bench_options,
    .run = run,
};
