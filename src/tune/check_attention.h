// Checks of src/ops/attention.h (see tune/check.h).
#ifndef TUNE_CHECK_ATTENTION_H
#define TUNE_CHECK_ATTENTION_H

#include "tune/check.h"

typedef enum attention_logits {
    ATTENTION_RANDOM,  // of order 1
    ATTENTION_WIDE,    // random, up to about +-150: their own rounding errors go into the exponent
    ATTENTION_SIGNS,   // each +100 or -100
    ATTENTION_ONE_HOT, // +100 for one key, -100 for the others
    ATTENTION_EQUAL,   // all +100
    ATTENTION_LOW,     // all -100
} attention_logits;

typedef struct attention_shape {
    int n, h, w, heads, head_size;
    bool slices; // q, k, v are column slices of one matrix; else three dense tensors
    int step;    // every step-th query is held to the oracle, all are to be finite
} attention_shape;

// Output and log-sum-exp; if not with_lse the output alone, computed without it.
check_result check_attention(ops *o, attention_shape shape, attention_logits logits, bool with_lse);

// Of what is stored in 16 bits: the type that represents all values from the start, and how q, k and v (backward: all that is read) and
// what is written are stored.
typedef struct attention_types {
    dtype values, stored, out;
    int dout_power; // backward: dout is times 2^dout_power
} attention_types;

// The output, computed without the log-sum-exp, and the log-sum-exp.
check_result check_stored_attention(ops *o, attention_shape shape, attention_logits logits, attention_types types);
check_result check_stored_lse(ops *o, attention_shape shape, attention_logits logits, attention_types types);

// dq, dk and dv of every step-th token, from the device's own output and log-sum-exp. gradient_slices: they are column slices of one
// matrix; else three dense tensors. Where the true dq (all keys with a weight are alike) or dk (one key has all the weight) is zero, the
// error is relative to the terms that cancel.
check_result check_attention_backward(ops *o, attention_shape shape, attention_logits logits, bool gradient_slices);

// The same of what is stored in 16 bits; the output is stored as what is read.
check_result check_stored_attention_backward(ops *o, attention_shape shape, attention_logits logits, bool gradient_slices,
                                             attention_types types);

#endif
