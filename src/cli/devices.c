// `idm devices`
#include "cli/cli.h"
#include "opencl/device.h"
#include "ops/matrix.h"
#include "tune/tuning_choose.h"
#include <stdlib.h>

static const char *const types[] = {[DEVICE_CPU] = "cpu", [DEVICE_GPU] = "gpu", [DEVICE_OTHER] = "other"};

// "yes": by `idm tune` here; "table": the program carries one that fits, "predicted": one that nobody has measured; else "no".
static const char *tuned(const device_info *d)
{
    tuning_choice c;
    const bool chosen = tuning_choose("auto", d, &c) == IDM_OK;
    const tuning_origin origin = chosen ? c.origin : TUNING_NONE;
    const bool predicted = chosen && c.file.predicted;
    if (chosen) tuning_choice_free(&c);
    return origin == TUNING_DEVICE ? "yes" : origin == TUNING_NONE ? "no" : predicted ? "predicted" : "table";
}

static idm_status print_json(const device_info *list, size_t count)
{
    cJSON *object = cJSON_CreateObject(), *devices = cJSON_AddArrayToObject(object, "devices");
    for (size_t i = 0; i < count; i++) {
        const device_info *d = &list[i];
        cJSON *item = cJSON_CreateObject();
        char index[32];
        (void)snprintf(index, sizeof index, "%d:%d", d->platform, d->index);
        cJSON_AddStringToObject(item, "index", index);
        cJSON_AddStringToObject(item, "name", d->name);
        cJSON_AddStringToObject(item, "vendor", d->vendor);
        cJSON_AddStringToObject(item, "driver", d->driver);
        cJSON_AddStringToObject(item, "type", types[d->type]);
        cJSON_AddNumberToObject(item, "global_memory", (double)d->global_memory);
        cJSON_AddNumberToObject(item, "max_allocation", (double)d->max_allocation);
        cJSON_AddNumberToObject(item, "local_memory", (double)d->local_memory);
        cJSON_AddBoolToObject(item, "fp16", d->fp16);
        cJSON_AddBoolToObject(item, "subgroups", d->subgroups);
        cJSON_AddStringToObject(item, "matrix", matrix_unit_name(matrix_of_device(d)));
        cJSON_AddStringToObject(item, "tuned", tuned(d));
        if (!cJSON_AddItemToArray(devices, item)) cJSON_Delete(item);
    }
    return cli_print_json(object);
}

static void print_table(const device_info *list, size_t count)
{
    printf("%-6s %-5s %10s %10s %10s %5s %5s %4s %9s %9s %9s  %s\n", "index", "type", "memory", "largest", "local", "group", "units",
           "fp16", "subgroups", "matrix", "tuned", "name [platform, driver]");
    for (size_t i = 0; i < count; i++) {
        const device_info *d = &list[i];
        char index[32], memory[32], largest[32], local[32];
        (void)snprintf(index, sizeof index, "%d:%d", d->platform, d->index);
        printf("%-6s %-5s %10s %10s %10s %5zu %5u %4s %9s %9s %9s  %s [%s, %s]\n", index, types[d->type],
               cli_bytes_text(memory, (double)d->global_memory), cli_bytes_text(largest, (double)d->max_allocation),
               cli_bytes_text(local, (double)d->local_memory), d->max_work_group, d->compute_units, d->fp16 ? "yes" : "no",
               d->subgroups ? "yes" : "no", matrix_unit_name(matrix_of_device(d)), tuned(d), d->name, d->platform_name, d->driver);
    }
}

static idm_status devices_run(const cli_call *call)
{
    device_info *list, chosen;
    size_t count;
    IDM_TRY(device_list(&list, &count));
    idm_status status = IDM_OK;
    if (call->json) status = print_json(list, count);
    else if (count == 0) puts("no OpenCL device found; install your GPU's OpenCL driver, or pocl-opencl-icd to run on the CPU");
    else {
        print_table(list, count);
        status = device_choose(call->config.device.device, &chosen);
        if (status == IDM_OK) printf("device = %s: %d:%d\n", call->config.device.device, chosen.platform, chosen.index);
    }
    free(list);
    return status;
}

const cli_command devices_command = {
    .name = "devices",
    .arguments = "",
    .summary = "list every OpenCL device, and which one idm would use",
    .description =
        "A row per device of every OpenCL platform: its memory, the largest single allocation, local memory per work-group, the\n"
        "largest work-group, compute units, half precision, sub-groups, whether kernel parameters were searched for it (yes: by idm tune\n"
        "here; table: the program carries some that fit; predicted: some that a model chose and nobody has measured), driver. The last "
        "line says which one the configuration\n"
        "chooses. Platforms without devices are left out.",
    .run = devices_run,
};
