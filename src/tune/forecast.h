// How long planned work will take, kernel by kernel: what the plan counts for each, at the rate that a smaller run of the same network
// measured for it. A picture's attention grows with the square of its pixels and the rest with the pixels, so one rate for all will not do.
#ifndef TUNE_FORECAST_H
#define TUNE_FORECAST_H

#include "opencl/context.h"

typedef struct forecast_row {
    const char *kernel;                // the context's
    double planned, measured, seconds; // work of the plan; work of the measured run, and what it took
} forecast_row;

// Zero is an empty one.
typedef struct forecast {
    forecast_row *rows;
    size_t count;
    double runs;                          // reconstructions planned
    double planned_flops, measured_flops; // beside the rows': CLBlast's
    double wall_seconds;                  // of the measured run
    bool failed;                          // out of memory; what is said then is worth nothing
} forecast;

// Adds `runs` times what ctx counted since context_reset_cost.
void forecast_plan(forecast *f, const context *ctx, double runs);

// Before and after one run of the network that is to be measured, all of whose kernels ran before; `wall_seconds`: what it took in all.
void forecast_measure_begin(forecast *f, context *ctx);
void forecast_measure_end(forecast *f, context *ctx, double wall_seconds);

// Of all that was planned.
double forecast_seconds(const forecast *f);

void forecast_free(forecast *f);

#endif
