#include "tune/roofline.h"

#include "core/status.h"
#include "core/text.h"
#include <math.h>
#include <string.h>

const roofline_device roofline_devices[] = {
    {"rtx3090", "RTX 3090", 35.6e12, 936e9, 24, 82, 1695},
    {"a100-40", "A100-SXM4-40", 19.5e12, 1555e9, 40, 108, 1410},
    {"a100-80", "A100-SXM4-80", 19.5e12, 2039e9, 80, 108, 1410},
    {"h100", "H100", 66.9e12, 3350e9, 80, 132, 1980},
    {"rx7900xtx", "gfx1100", 61.4e12, 960e9, 24, 96, 2500},
    {"mi210", "gfx90a", 22.6e12, 1638e9, 64, 104, 1700},
    {"a770", "A770", 19.7e12, 560e9, 16, 512, 2400},
    {0},
};

enum { DEVICES = sizeof roofline_devices / sizeof *roofline_devices - 1 };

idm_status roofline_find(const char *name, const roofline_device **device)
{
    const char *names[DEVICES];
    for (int i = 0; i < DEVICES; i++) {
        names[i] = roofline_devices[i].name;
        if (strcmp(name, names[i]) != 0) continue;
        *device = &roofline_devices[i];
        return IDM_OK;
    }
    return status_fail(IDM_USAGE, "unknown device '%.50s'; did you mean '%s'?", name, text_nearest(name, names, DEVICES));
}

bool roofline_of(const device_info *info, roofline_device *device)
{
    for (int i = 0; i < DEVICES; i++)
        if (strstr(info->name, roofline_devices[i].label)) {
            *device = roofline_devices[i];
            return true;
        }
    if (info->type != DEVICE_CPU) return false;
    // two multiply-add units a core, and a core's share of a desktop's memory channels
    *device = (roofline_device){.name = info->name,
                                .flops = (double)info->compute_units * info->clock_mhz * 1e6 * 4 * info->native_vector,
                                .bandwidth = (double)info->compute_units * 10e9};
    return device->flops > 0;
}

device_info roofline_describe(const roofline_device *device)
{
    const uint64_t memory = (uint64_t)(device->memory * 1073741824);
    device_info info = {.type = DEVICE_GPU,
                        .global_memory = memory,
                        .max_allocation = memory / 4,
                        .local_memory = 48 << 10,
                        .max_work_group = 1024,
                        .compute_units = device->compute_units,
                        .clock_mhz = device->clock_mhz,
                        .native_vector = 1,
                        .fp16 = true,
                        .subgroups = true};
    (void)snprintf(info.name, sizeof info.name, "%s", device->name);
    return info;
}

typedef struct sum {
    const roofline_device *device;
    double seconds;
    cost counted; // of the kernels
} sum;

static double seconds_of(const roofline_device *device, cost c)
{
    return fmax(c.flops / device->flops, c.bytes / device->bandwidth);
}

static void add_kernel(void *user, const char *kernel, cost counted)
{
    sum *s = user;
    (void)kernel;
    s->seconds += seconds_of(s->device, counted);
    s->counted.flops += counted.flops;
    s->counted.bytes += counted.bytes;
}

double roofline_seconds(const context *ctx, const roofline_device *device)
{
    sum s = {.device = device};
    context_cost_visit(ctx, add_kernel, &s);
    const cost all = context_cost(ctx); // what no kernel of ours did: CLBlast, copies
    return s.seconds + seconds_of(device, (cost){fmax(all.flops - s.counted.flops, 0), fmax(all.bytes - s.counted.bytes, 0)});
}
