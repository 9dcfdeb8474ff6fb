#ifndef TESTS_ATTENTION_FIXTURE_H
#define TESTS_ATTENTION_FIXTURE_H

#include "ops_fixture.h"
#include "tune/check_attention.h"

// Logits of +-100, one key with all the weight, keys all alike.
static inline void attention_extremes(ops *o, int h, int w, int heads, int head_size, int step)
{
    const attention_shape s = {1, h, w, heads, head_size, true, step};
    OPS_CHECK(o, 5e-7, check_attention(o, s, ATTENTION_SIGNS, true));
    OPS_CHECK(o, 1e-7, check_attention(o, s, ATTENTION_ONE_HOT, true));
    OPS_CHECK(o, 5e-7, check_attention(o, s, ATTENTION_EQUAL, true));
    OPS_CHECK(o, 5e-7, check_attention(o, s, ATTENTION_LOW, true));
}

#endif
