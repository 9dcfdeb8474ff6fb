// How long work would take at least on a device, from its peak rates (Williams et al. 2009): each kernel takes the longer of computing and
// moving. A lower bound, no prediction.
#ifndef TUNE_ROOFLINE_H
#define TUNE_ROOFLINE_H

#include "opencl/context.h"

typedef struct roofline_device {
    const char *name;                  // as `plan --for` takes it
    const char *label;                 // part of the name that the device's driver gives it
    const char *full;                  // the whole of it, or about
    const char *vendor;                // as the driver says it
    const char *target;                // of tests/vendors/gate.py
    double flops;                      // per second, float32 outside matrix units
    double bandwidth;                  // bytes per second
    double memory;                     // GiB
    unsigned compute_units, clock_mhz; // as OpenCL counts them; boost
    unsigned capability;               // NVIDIA's; 0: another vendor's
    // What a kernel runs on, for src/tune/prediction.c: a multiprocessor (AMD: CU, Intel: Xe core or subslice), and how many there are.
    // Per cycle of one: multiply-adds; instructions of items; multiply-adds of its matrix unit with 16-bit operands and float32 sums (0:
    // idm cannot use it there); exp2; bytes of local memory.
    double units, lanes, issue_lanes, matrix, special_lanes, local_bytes;
    double schedulers, team, items_most;  // those that issue; items in step; items that can be resident
    double cache_bandwidth;               // of the second level, bytes per second
    double global_latency, local_latency; // cycles until a load is there: from the second-level cache; from local memory
    double launch_seconds;                // from one kernel's end to the next one's beginning, queued
} roofline_device;

// Vendors' data sheets; caches and latencies as others have measured them. Ends with a null name.
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
