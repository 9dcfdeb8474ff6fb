// The calls behind src/ops/attention.h, as its variants take them.
#ifndef OPS_ATTENTION_VARIANTS_H
#define OPS_ATTENTION_VARIANTS_H

#include "ops/ops.h"
#include <math.h>

typedef struct attention_call {
    tensor q, k, v, out, lse; // lse may be missing
    int stride, heads, head_size, tokens;
} attention_call;

// Of logits, in powers of two.
static inline float attention_scale(int head_size)
{
    return (float)(M_LOG2E / sqrt(head_size));
}

#endif
