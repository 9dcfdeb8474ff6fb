// What a device reaches at most, measured: the yardstick of `idm bench`. The best of several runs each, as McCalpin's STREAM has it.
#ifndef TUNE_CEILINGS_H
#define TUNE_CEILINGS_H

#include "ops/ops.h"
#include "tune/stopwatch.h"

typedef struct ceilings {
    double flops;          // float32, multiply-adds in registers, per second
    double bandwidth;      // bytes per second, read and written, arrays far beyond caches: the better of a copy and a triad
    double half_bandwidth; // of a copy of half precision values that converts to float32 and back
    double launch_seconds; // of an empty kernel, launched and waited for
    double queued_seconds; // of one of many empty kernels in a row
    // of one launch of each
    timing multiply_add, copy, triad, halve, launch, queued;
} ceilings;

// Takes about `seconds`. Scratch from POOL_ACTIVATIONS, at most an eighth of the device's memory. In a dry run only launches.
idm_status ceilings_measure(ops *o, double seconds, ceilings *result);

// y, any float32 tensor, becomes pseudo-random values in [-1, 1).
void ceilings_fill(ops *o, tensor y);

#endif
