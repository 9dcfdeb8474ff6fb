// What there is to tune for a network: the classes of calls that it makes, found by a dry run, with their work.
#ifndef TUNE_WORKLOAD_H
#define TUNE_WORKLOAD_H

#include "core/sizes.h"
#include "ops/ops.h"

typedef struct workload_group {
    tuning_shape class, call; // call: the largest of the class
    double flops, call_flops; // of all calls of the class; of that one
} workload_group;

typedef struct workload {
    workload_group *groups; // by falling flops
    size_t count;
    double flops; // of all that the network does
    bool failed;  // out of memory
} workload;

// The forward pass on one picture of side x side pixels, with `training` the gradient too.
idm_status workload_find(const device_info *device, const idm_config *config, const model_sizes *sizes, double cs_ratio, int side,
                         bool training, workload *w);
void workload_free(workload *w);

// 2 per multiply and add.
double workload_call_flops(const tuning_shape *call);

// A call of the same class that takes no more than about `flops`: fewer pixels.
tuning_shape workload_reduce(const tuning_shape *call, double flops);

#endif
