#include "tune/roofline.h"

#include "core/status.h"
#include "core/text.h"
#include <math.h>
#include <string.h>

// clang-format off
const roofline_device roofline_devices[] = {
    // name, label, full name, vendor, target, flops, bandwidth, memory, OpenCL's units, MHz, capability,
    //     units, lanes, issue, matrix, special, local bytes, schedulers, team, items, cache bandwidth, global and local latency, launch
    {"rtx3090", "RTX 3090", "NVIDIA GeForce RTX 3090", "NVIDIA Corporation", "sm_86", 35.6e12, 936e9, 24, 82, 1695, 86,
        82, 128, 128, 256, 16, 128, 4, 32, 1536, 2.5e12, 280, 24, 3e-06},
    {"rtx3060", "RTX 3060", "NVIDIA GeForce RTX 3060", "NVIDIA Corporation", "sm_86", 12.7e12, 360e9, 12, 28, 1777, 86,
        28, 128, 128, 256, 16, 128, 4, 32, 1536, 1.1e12, 280, 24, 3e-06},
    {"rtx4090", "RTX 4090", "NVIDIA GeForce RTX 4090", "NVIDIA Corporation", "sm_89", 82.6e12, 1008e9, 24, 128, 2520, 89,
        128, 128, 128, 256, 16, 128, 4, 32, 1536, 5e12, 300, 24, 3e-06},
    {"rtx4060ti", "RTX 4060 Ti", "NVIDIA GeForce RTX 4060 Ti", "NVIDIA Corporation", "sm_89", 22.1e12, 288e9, 8, 34, 2535, 89,
        34, 128, 128, 256, 16, 128, 4, 32, 1536, 1.5e12, 300, 24, 3e-06},
    {"a100-40", "A100-SXM4-40", "NVIDIA A100-SXM4-40GB", "NVIDIA Corporation", "sm_80", 19.5e12, 1555e9, 40, 108, 1410, 80,
        108, 64, 128, 1024, 16, 128, 4, 32, 2048, 5e12, 280, 24, 3e-06},
    {"a100-80", "A100-SXM4-80", "NVIDIA A100-SXM4-80GB", "NVIDIA Corporation", "sm_80", 19.5e12, 2039e9, 80, 108, 1410, 80,
        108, 64, 128, 1024, 16, 128, 4, 32, 2048, 5e12, 280, 24, 3e-06},
    // mma.sync reaches 62 % of what its matrix unit has; the rest is for instructions that OpenCL has no way to
    {"h100", "H100", "NVIDIA H100 80GB HBM3", "NVIDIA Corporation", "sm_90", 66.9e12, 3350e9, 80, 132, 1980, 90,
        132, 128, 128, 1270, 16, 128, 4, 32, 2048, 5.5e12, 300, 24, 3e-06},
    // of the 61.4 TFLOP/s half are paired instructions, which the compiler makes of few multiply-adds here: lanes are without them
    {"rx7900xtx", "gfx1100", "gfx1100", "Advanced Micro Devices, Inc.", "gfx1100", 61.4e12, 960e9, 24, 96, 2500, 0,
        96, 64, 64, 256, 16, 128, 2, 32, 1024, 3.5e12, 330, 40, 6e-6},
    {"mi210", "gfx90a", "gfx90a", "Advanced Micro Devices, Inc.", "gfx90a", 22.6e12, 1638e9, 64, 104, 1700, 0,
        104, 64, 64, 512, 16, 128, 4, 64, 2048, 4e12, 320, 64, 6e-6},
    {"a770", "A770", "Intel(R) Arc(TM) A770 Graphics", "Intel(R) Corporation", "dg2-g10", 19.7e12, 560e9, 16, 512, 2400, 0,
        32, 128, 128, 1024, 32, 128, 16, 16, 2048, 1.7e12, 500, 60, 8e-6},
    {"iris-xe", "Iris(R) Xe", "Intel(R) Iris(R) Xe Graphics", "Intel(R) Corporation", "tgllp", 2.15e12, 68e9, 16, 96, 1400, 0,
        6, 128, 128, 0, 32, 128, 16, 16, 1792, 3e11, 250, 60, 8e-6},
    {0},
};
// clang-format on

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
        if (info->type == DEVICE_GPU && strstr(info->name, roofline_devices[i].label)) {
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
    info.nvidia_capability = device->capability;
    if (strstr(device->vendor, "Advanced Micro")) { // as AMD's OpenCL has it
        info.local_memory = 64 << 10;
        info.max_work_group = 256;
    }
    if (strstr(device->vendor, "Intel")) {
        info.local_memory = 64 << 10;
        info.intel_matrix = device->matrix > 0 ? 8 : 0; // of Alchemist
    }
    (void)snprintf(info.name, sizeof info.name, "%s", device->full);
    (void)snprintf(info.vendor, sizeof info.vendor, "%s", device->vendor);
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
