// A place to try kernel parameters for one call of one operation: is the result right, and how long does it take.
#ifndef TUNE_TRIAL_H
#define TUNE_TRIAL_H

#include "tune/check.h"

typedef struct trial trial;

// The inputs of the call on the device, with pseudo-random values. `o` must outlive the trial and is given back unchanged. NULL after an
// error of the context.
trial *trial_create(ops *o, const tuning_shape *call);
void trial_free(trial *t); // and what it holds on the device; NULL is fine

// Against the oracle, at a fraction of the size: edges of every tile, channels cut to what an oracle does at once. row: its class counts
// for nothing; null: the operation's own choice.
check_result trial_check(ops *o, const tuning_shape *call, const tuning_row *row);

// Runs the call as it is `runs` times after a first one. *seconds: the shortest; a first run or one that takes more than `enough` is the
// last. *difference: relative, in norm, of the result from that of the trial's first trial_time.
idm_status trial_time(trial *t, const tuning_row *row, int runs, double enough, double *seconds, double *difference);

#endif
