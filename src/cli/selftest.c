// `idm selftest`
#include "tune/selftest.h"

#include "cli/cli.h"
#include "cli/sizes.h"
#include "ops/matrix.h"
#include "tune/tuning_choose.h"

typedef struct selftest {
    const cli_call *call;
    ops o;
    tuning_choice tuning;
    model_sizes sizes;
    double tolerance;
    cJSON *rows;
    int checks, wrong;
} selftest;

static bool add_row(void *user, const selftest_row *row)
{
    selftest *s = user;
    const bool right = row->error <= row->tolerance;
    s->checks++;
    s->wrong += !right;
    if (!s->call->json) printf("%-16s %-8s %-34s %9.2e  %s\n", row->op, row->variant, row->shape, row->error, right ? "ok" : "WRONG");
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "op", row->op);
    cJSON_AddStringToObject(object, "variant", row->variant);
    cJSON_AddStringToObject(object, "shape", row->shape);
    cli_json_number(object, "error", row->error);
    cli_json_number(object, "tolerance", row->tolerance);
    cJSON_AddBoolToObject(object, "pass", right);
    cJSON_AddItemToArray(s->rows, object);
    (void)fflush(stdout);
    return true;
}

static idm_status report(selftest *s, const device_info *device)
{
    if (s->call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "device", device->name);
        cJSON_AddItemToObject(object, "checks", s->rows);
        s->rows = NULL;
        cJSON_AddNumberToObject(object, "tolerance", s->tolerance);
        cJSON_AddBoolToObject(object, "pass", s->wrong == 0);
        IDM_TRY(cli_print_json(object));
    } else printf("%d of %d checks passed\n", s->checks - s->wrong, s->checks);
    if (s->wrong == 0) return IDM_OK;
    return status_fail(IDM_WRONG_RESULT,
                       "%d of %d checks are wrong on %s (driver %s): its results cannot be trusted; try --set device.variants=generic, or "
                       "another driver",
                       s->wrong, s->checks, device->name, device->driver);
}

static idm_status run_checks(selftest *s, const device_info *device)
{
    const idm_config *c = &s->call->config;
    const idm_math math = c->device.math_given ? c->device.math : IDM_MATH_EXACT;
    IDM_TRY(ops_create(s->o.ctx, c->device.variants, c->device.gemm, math, selftest_max_channels(&s->sizes), &s->o));
    s->o.tuning = &s->tuning.file.t;
    IDM_TRY(matrix_choose(&s->o, c->device.matrix));
    s->tolerance = selftest_tolerance(&s->o);
    cli_note(s->call, "%s (%d:%d), math %s, tuning %s, tolerance %.0e", device->name, device->platform, device->index,
             math == IDM_MATH_EXACT ? "exact" : "fast", s->tuning.name, s->tolerance);
    if (!s->call->json) printf("%-16s %-8s %-34s %9s\n", "operation", "variant", "channels", "error");
    IDM_TRY(selftest_run(&s->o, &s->sizes, sizes_ratio(c), true, add_row, s));
    if (s->call->profile) context_profile_print(s->o.ctx, stderr);
    return report(s, device);
}

static idm_status run(const cli_call *call)
{
    selftest s = {.call = call};
    device_info device;
    IDM_TRY(sizes_find(&call->config, &s.sizes));
    IDM_TRY(device_choose(call->config.device.device, &device));
    IDM_TRY(tuning_choose(call->config.device.tuning, &device, &s.tuning));
    const context_options options = {.max_launch_ms = call->config.device.max_launch_ms};
    const idm_status opened = context_create(&device, &options, &s.o.ctx);
    if (opened != IDM_OK) {
        tuning_choice_free(&s.tuning);
        return opened;
    }
    context *ctx = s.o.ctx;
    s.rows = cJSON_CreateArray();
    const idm_status status = run_checks(&s, &device);
    cJSON_Delete(s.rows);
    context_destroy(ctx);
    tuning_choice_free(&s.tuning);
    return status;
}

const cli_command selftest_command = {
    .name = "selftest",
    .arguments = "",
    .summary = "check every operation on this device against double precision",
    .description = "Runs each operation that the network needs, at its channel counts, with the kernel variants that this device and\n"
                   "configuration use, and compares with plain C in double precision. math = exact unless device.math is given. A row per\n"
                   "check: relative error in norm. Exit status 4 when one is above the tolerance.",
    .run = run,
};
