// How long work would take at least on a device, from its peak rates (Williams et al. 2009): each kernel takes the longer of computing and
// moving. A lower bound, no prediction.
#ifndef TUNE_ROOFLINE_H
#define TUNE_ROOFLINE_H

#include "opencl/context.h"

typedef struct roofline_device {
    const char *name;  // as `plan --for` takes it
    const char *label; // part of the name that the device's driver gives it
    double flops;      // per second, float32 outside matrix units
    double bandwidth;  // bytes per second
    double memory;     // GiB
    unsigned compute_units, clock_mhz;
} roofline_device;

// Vendors' data sheets; ends with a null name.
extern const roofline_device roofline_devices[];

// IDM_USAGE names the nearest.
idm_status roofline_find(const char *name, const roofline_device **device);
// The row of a device that is here; for a CPU made from its cores, clock and vector width. False: nothing is known of it.
bool roofline_of(const device_info *info, roofline_device *device);
// A device that is only described, for dry runs.
device_info roofline_describe(const roofline_device *device);

// Seconds for all that was launched in ctx since context_reset_cost, dry or not.
double roofline_seconds(const context *ctx, const roofline_device *device);

#endif
