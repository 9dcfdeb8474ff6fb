// How long work will take on a GPU that is not here: a prediction, from what vendors' compilers report of each kernel, what a dry run
// launches, and data sheets. Nothing in it is fitted to a device or a kernel; what it comes to for published measurements:
// tests/test_prediction.c.
//
// A work-group's time on a multiprocessor ("unit"), with r groups resident (Volkov, "Understanding Latency Hiding on GPUs", 2016; Hong &
// Kim 2009):
//     pipes     r groups' instructions issued; matrix instructions; exp2 and division; bytes of local memory: each over the unit's rate
//     alone     a lone item's issue time, and its waits: rounds of global loads, of local loads, barriers, each over its latency
//     time      max(busiest pipe + the others / teams of a scheduler, alone): so many teams take turns that all but one overlap
// Groups come in waves of units x r; the last wave has fewer. A launch takes the longest of that, of its bytes over the memory's bandwidth,
// and of all loads over the second-level cache's; and the start of a kernel.
#ifndef TUNE_PREDICTION_H
#define TUNE_PREDICTION_H

#include "tune/kernel_report.h"
#include "tune/roofline.h"

typedef enum bottleneck {
    BOUND_ARITHMETIC,   // multiply-adds, or the matrix unit
    BOUND_INSTRUCTIONS, // beside the multiply-adds: addresses, loops, loads
    BOUND_LOCAL_MEMORY,
    BOUND_SPECIAL, // exp2, division
    BOUND_CACHE,   // the second level's bandwidth
    BOUND_MEMORY,
    BOUND_LATENCY, // too few items to hide waits, or units idle in the last wave
    BOUND_LAUNCH,
    BOTTLENECKS
} bottleneck;

extern const char *const bottleneck_names[BOTTLENECKS];

typedef struct prediction {
    double seconds, least, most; // least and most: the model's own doubts (prediction.c)
    double by[BOTTLENECKS];      // seconds of launches that each of these bounds
    double unreported;           // seconds of launches of products whose kernel no report is like, or which spills there
    double inexact;              // of those that a report of other options stands for
    double library;              // of CLBlast's products, whose kernels no report is of: at half the peak
} prediction;

// A launch as the model sees it: `products` multiply-adds in all, padding counted, of `groups` groups; bytes that move at least. Where
// report.resident is 0 only its items are known.
typedef struct modelled_launch {
    double groups, products, bytes;
    kernel_report report;
} modelled_launch;
prediction prediction_of_launch(const roofline_device *device, const modelled_launch *l);

// Of all that was launched dry in ctx since context_reset_cost. ctx's device is described by `device`.
prediction prediction_of_context(const context *ctx, const roofline_device *device);

bottleneck prediction_bottleneck(const prediction *p); // the largest part

#endif
