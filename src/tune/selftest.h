// Every operation a network of given sizes runs, at its channel counts and with the variants in force, against plain C in double precision.
#ifndef TUNE_SELFTEST_H
#define TUNE_SELFTEST_H

#include "core/sizes.h"
#include "tune/check.h"

// Relative error in norm that a correct float32 kernel stays below; matrix units, whose sums may be cut off instead of rounded, 1e-4.
double selftest_tolerance(const ops *o);

typedef struct selftest_row {
    const char *op, *variant, *shape;
    double error, tolerance;
} selftest_row;

// Called after each check; false stops the run.
typedef bool selftest_visitor(void *user, const selftest_row *row);

// The widest tensor any check reads (for ops_create).
int selftest_max_channels(const model_sizes *sizes);

// What reconstructing runs, with `training` also what training does. Few pixels each, since the oracles are slow: some seconds at the
// published size. A failure of the device is returned, a wrong result only
// visited.
idm_status selftest_run(ops *o, const model_sizes *sizes, double cs_ratio, bool training, selftest_visitor *visit, void *user);

#endif
