// The calls behind src/ops/attention.h, as its variants take them.
#ifndef OPS_ATTENTION_VARIANTS_H
#define OPS_ATTENTION_VARIANTS_H

#include "ops/ops.h"
#include <math.h>

typedef struct attention_call {
    tensor q, k, v, out, lse; // lse may be missing
    int stride, heads, head_size, tokens;
} attention_call;

typedef struct attention_backward_call {
    tensor q, k, v, out, lse, dout, dq, dk, dv;
    tensor delta; // dout . out of each head and query
    int stride, gradient_stride, heads, head_size, tokens;
} attention_backward_call;

// What work-groups own and make: all gradients from keys, or dK and dV from keys and dQ from queries; the PASS of
// cl/attention_*_backward.cl.
typedef enum backward_pass { BACKWARD_ALL, BACKWARD_KEYS, BACKWARD_QUERIES } backward_pass;

// Of logits, in powers of two.
static inline float attention_scale(int head_size)
{
    return (float)(M_LOG2E / sqrt(head_size));
}

#endif
