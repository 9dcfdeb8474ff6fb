// How long something takes on a device: a warm-up, then runs until there are enough, their median and how far they spread.
#ifndef TUNE_STOPWATCH_H
#define TUNE_STOPWATCH_H

#include "opencl/context.h"

typedef struct timing {
    double seconds;     // of one run: the median
    double least, most; // the fastest and the slowest
    double low, high;   // the quartiles
    int samples;        // that this comes from; 0: nothing was measured
} timing;

// Calls run(user), which launches work on ctx, first once to warm up, then until `seconds` have passed: at least three times, unless
// clock_seconds() has reached `deadline`, then at least once. Runs too short to be timed alone are timed many at once. Waits for the
// device. On failure *result is empty.
idm_status stopwatch_measure(context *ctx, void (*run)(void *user), void *user, double seconds, double deadline, timing *result);

#endif
