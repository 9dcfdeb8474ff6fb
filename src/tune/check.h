// Checks of operations against the plain double-precision oracles (tests/oracle): what `idm selftest`, the tests and the tuner run.
// One check_OP function per operation, in src/tune/check_OP.c: it makes pseudo-random inputs of the given shape, runs the op under
// o->table, reads the result back, and compares it with the oracle.
#ifndef TUNE_CHECK_H
#define TUNE_CHECK_H

#include "ops/ops.h"

// Relative error in norm, ||got - want|| / ||want||, of all that the op wrote; infinite where something is not finite. status: the device
// failed.
typedef struct check_result {
    idm_status status;
    double error;
} check_result;

// `count` floats in [-scale, scale), a pure function of the seed; the caller's to free().
float *check_values(size_t count, uint64_t seed, float scale);
// A tensor on POOL_ACTIVATIONS holding `values`.
tensor check_upload(ops *o, const float *values, int n, int h, int w, int c);
// A tensor on POOL_ACTIVATIONS filled with NaN, so that whatever an op leaves unwritten shows.
tensor check_output(ops *o, int n, int h, int w, int c);
// The same of any type.
tensor check_output_as(ops *o, dtype type, int n, int h, int w, int c);
// Rounds to the nearest values of a 16-bit type, ties to even; magnitudes below half's largest. Float32: as they are.
void check_round(float *values, size_t count, dtype type);
// As check_upload, stored in that type; values that it represents stay.
tensor check_upload_as(ops *o, dtype type, const float *values, int n, int h, int w, int c);
// Reads t back, of any type, and compares.
check_result check_compare(ops *o, tensor t, const double *want);
// Reads the one value `t` back: its error relative to `want`, or to `terms`, the norm of the vector of all that was summed up, if that is
// larger: what sums of either sign come to by chance may be far smaller.
check_result check_sum(ops *o, tensor t, double want, double terms);
// The worse of two.
check_result check_worst(check_result a, check_result b);

#endif
