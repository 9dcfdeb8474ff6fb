#include "tune/scratch.h"

#include "core/status.h"
#include <math.h>
#include <stdlib.h>

static void *keep(scratch *s, void *block)
{
    if (!block || s->count == SCRATCH_MAX) {
        free(block);
        s->failed = true;
        return NULL;
    }
    return s->blocks[s->count++] = block;
}

float *scratch_values(scratch *s, size_t count, uint64_t seed, float scale)
{
    return keep(s, check_values(count, seed, scale));
}

double *scratch_doubles(scratch *s, size_t count)
{
    return keep(s, calloc(count ? count : 1, sizeof(double)));
}

int32_t *scratch_permutation(scratch *s, size_t count, uint64_t seed)
{
    int32_t *perm = keep(s, calloc(count ? count : 1, sizeof *perm));
    float *random = check_values(count, seed, 1);
    if (!random) s->failed = true;
    for (size_t i = 0; perm && random && i < count; i++) { // inside-out Fisher-Yates
        const size_t j = (size_t)((random[i] + 1) / 2 * (float)(i + 1)) % (i + 1);
        perm[i] = perm[j];
        perm[j] = (int32_t)i;
    }
    free(random);
    return perm;
}

check_result scratch_end(scratch *s, check_result result)
{
    for (int i = 0; i < s->count; i++) free(s->blocks[i]);
    if (s->failed) return (check_result){status_fail(IDM_FAILED, "out of memory for a check"), INFINITY};
    return result;
}
