#include "tune/stopwatch.h"

#include "core/clock.h"
#include "core/status.h"
#include <math.h>
#include <stdlib.h>

enum { SAMPLES_MIN = 3, SAMPLES_MAX = 64, REPEATS_MAX = 1000 };
static const double SAMPLE_SECONDS = 2e-3; // at least: the wait at its end is then a small part

// Seconds of each of `repeats` runs.
static idm_status sample(context *ctx, void (*run)(void *user), void *user, int repeats, double *seconds)
{
    const double began = clock_seconds();
    for (int i = 0; i < repeats; i++) run(user);
    const idm_status status = context_finish(ctx);
    *seconds = (clock_seconds() - began) / repeats;
    return status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static timing summary(double *samples, int count)
{
    qsort(samples, (size_t)count, sizeof *samples, by_value);
    return (timing){.seconds = (samples[(count - 1) / 2] + samples[count / 2]) / 2,
                    .least = samples[0],
                    .most = samples[count - 1],
                    .low = samples[count / 4],
                    .high = samples[count - 1 - count / 4],
                    .samples = count};
}

idm_status stopwatch_measure(context *ctx, void (*run)(void *user), void *user, double seconds, double deadline, timing *result)
{
    double samples[SAMPLES_MAX], first;
    *result = (timing){0};
    IDM_TRY(sample(ctx, run, user, 1, &first)); // builds kernels, finds how to cut launches, touches memory
    const double end = clock_seconds() + seconds;
    IDM_TRY(sample(ctx, run, user, 1, &samples[0]));
    const int repeats = (int)fmin(fmax(ceil(SAMPLE_SECONDS / fmax(samples[0], 1e-9)), 1), REPEATS_MAX);
    int count = repeats == 1;
    for (; count < SAMPLES_MAX; count++) {
        const double now = clock_seconds();
        if (count > 0 && (now >= deadline || (count >= SAMPLES_MIN && now >= end))) break;
        IDM_TRY(sample(ctx, run, user, repeats, &samples[count]));
    }
    *result = summary(samples, count);
    return IDM_OK;
}
