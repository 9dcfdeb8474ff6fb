// Host memory of one check: allocate all, look at `failed` once, free all.
#ifndef TUNE_SCRATCH_H
#define TUNE_SCRATCH_H

#include "tune/check.h"

enum { SCRATCH_MAX = 24 };

typedef struct scratch {
    void *blocks[SCRATCH_MAX];
    int count;
    bool failed;
} scratch;

// check_values and an array of doubles, both freed by scratch_end; null, and s->failed, when memory is out.
float *scratch_values(scratch *s, size_t count, uint64_t seed, float scale);
double *scratch_doubles(scratch *s, size_t count);
int32_t *scratch_permutation(scratch *s, size_t count, uint64_t seed);

// Frees everything. Returns `result`, or IDM_FAILED if an allocation failed.
check_result scratch_end(scratch *s, check_result result);

#endif
