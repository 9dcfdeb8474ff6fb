// The network's operations at the shapes that a picture of a given side brings, each by itself: what `idm bench` times.
#ifndef TUNE_BENCH_OPS_H
#define TUNE_BENCH_OPS_H

#include "core/sizes.h"
#include "ops/ops.h"
#include "tune/prediction.h"
#include "tune/stopwatch.h"

// Another number whenever the rows change, or what one of them does or counts: figures of different workloads say nothing about each other.
enum { BENCH_WORKLOAD = 1 };

typedef struct bench_settings {
    model_sizes sizes;
    double cs_ratio;
    int side;                         // of the picture: a multiple of the block and of 4
    double flops, bandwidth;          // what the device reaches, to share the time out: slow operations get as many runs as quick ones
    double deadline;                  // of clock_seconds(), for all operations
    const roofline_device *predicted; // of a dry context's device: rows get predictions; or null
} bench_settings;

typedef struct bench_row {
    const char *name, *variant;
    char shape[64];
    double flops, bytes;  // of one call: those of the published operation however a kernel gets there; what has to move at least
    timing time;          // samples 0: not measured, in a dry run or because of `failure`
    prediction predicted; // where wanted
    const char *failure;  // why: no memory, no time; or null
} bench_row;

// Called after each row.
typedef void bench_visitor(void *user, const bench_row *row);

// The widest tensor a row reads (for ops_create).
int bench_max_channels(const model_sizes *sizes);

// All rows, forward, then backward, then the optimiser; in a dry context only counted. Batch 1; what stays inside the network's modules is
// stored as o->storage says, which has to be float32 where anything is measured. Weights are kept in the layout that kernels read, as where
// memory is plenty. What fails, on a small device for want of memory, is a failed row.
idm_status bench_ops(ops *o, const bench_settings *settings, bench_visitor *visit, void *user);

#endif
