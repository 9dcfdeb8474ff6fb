// `idm tune`
#include "tune/tune.h"

#include "cli/cli.h"
#include "cli/sizes.h"
#include "core/text.h"
#include <string.h>

static void say(void *user, const char *text)
{
    cli_note(user, "%s", text);
}

static idm_status read_number(const cli_call *call, const char *name, double least, double most, double *value)
{
    const char *text = cli_value(call, name);
    if (!text || (text_to_double(text, value) && *value >= least && *value <= most)) return IDM_OK;
    return status_fail(IDM_USAGE, "--%s takes a number from %.0f to %.0f, not '%.60s'", name, least, most, text);
}

static idm_status read_options(const cli_call *call, tune_options *o)
{
    enum { SECONDS = 60, SIDE_MOST = 4096 };
    const idm_config *c = &call->config;
    double side;
    *o = (tune_options){.config = c, .seconds = SECONDS, .cs_ratio = sizes_ratio(c), .out = cli_value(call, "out")};
    IDM_TRY(sizes_find(c, &o->sizes));
    const int block = o->sizes.block;
    side = c->data.patch_size < SIDE_MOST ? c->data.patch_size : SIDE_MOST;
    IDM_TRY(read_number(call, "seconds", 2, 1e6, &o->seconds));
    IDM_TRY(read_number(call, "size", block, SIDE_MOST, &side));
    o->side = ((int)side + block - 1) / block * block;
    o->training = cli_flag(call, "training") || c->data.train[0];
    return IDM_OK;
}

static idm_status report(const cli_call *call, const tune_result *r)
{
    if (call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "file", r->path);
        cJSON_AddNumberToObject(object, "classes", r->groups);
        cJSON_AddNumberToObject(object, "rows", r->improved);
        cJSON_AddNumberToObject(object, "candidates", r->candidates);
        cJSON_AddNumberToObject(object, "rejected", r->failures);
        if (r->tuned > 0) {
            cJSON_AddNumberToObject(object, "side", r->side);
            cJSON_AddNumberToObject(object, "untuned_seconds", r->untuned);
            cJSON_AddNumberToObject(object, "tuned_seconds", r->tuned);
        }
        return cli_print_json(object);
    }
    if (r->tuned > 0)
        printf("whole network, %d x %d pixels: untuned %.3f s, tuned %.3f s, %.2f times as fast\n", r->side, r->side, r->untuned, r->tuned,
               r->untuned / r->tuned);
    else puts("there was no time to time the whole network");
    printf("%d classes searched, %d of them faster than by the program's own choice; %d candidates rejected\n", r->groups, r->improved,
           r->failures);
    printf("%s\n", r->path);
    return IDM_OK;
}

static idm_status run(const cli_call *call)
{
    tune_options options;
    tune_result result;
    IDM_TRY(read_options(call, &options));
    IDM_TRY(tune_run(&options, say, (void *)call, &result));
    return report(call, &result);
}

static const cli_option tune_command_options[] = {
    {"seconds", 0, "S", "time for all of it (default 60)"},
    {"size", 0, "SIDE", "tune for pictures of SIDE x SIDE pixels (default data.patch_size)"},
    {"training", 0, NULL, "tune the backward pass too (also where data.train is set)"},
    {"out", 'o', "FILE", "write the tuning file there, for device.tuning = FILE, not where every run on this device finds it"},
    {0},
};

const cli_command tune_command = {
    .name = "tune",
    .arguments = "[-c FILE.ini] [--seconds S]",
    .summary = "search kernel parameters for this device and network",
    .description =
        "For each kind of call that the configuration's network makes, tries tile sizes, unrolling, block sizes and the like. Every\n"
        "candidate is checked against plain C in double precision before it is timed; one that is wrong, crashes or hangs is left out,\n"
        "now and by later searches (FILE.journal beside the tuning file). What is found is kept where it is more than 2 % faster, and\n"
        "used by every later run on this device and driver (device.tuning = auto). Prints the whole network's time without and with it.",
    .options = tune_command_options,
    .run = run,
};
