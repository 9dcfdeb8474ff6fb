// The operations that `idm bench` times, each a function of one shape.
#ifndef TUNE_BENCH_CALLS_H
#define TUNE_BENCH_CALLS_H

#include "ops/sensing.h"

// One operation at one shape. Its function pushes the operands and launches; the caller releases them. So every call finds them at the same
// places, and what was written there before the timed calls is still there.
typedef struct bench_call {
    ops *o;
    const sensing *a;
    bool preparing; // not timed: puts weights into their layouts and fills what may not be random
    int height, width, in, out;
    int stride, heads, groups;
    bool upsample;
    weight w;     // its layouts outlive a call
    double flops; // set by the function where the published count is not simply what its kernels count
} bench_call;

typedef void bench_operation(bench_call *c);

// height x width pixels of `in` channels to `out`; convolutions also by stride and upsample.
bench_operation bench_linear, bench_linear_data, bench_linear_weight, bench_conv, bench_conv_data, bench_conv_weight;
// height x width tokens of `in` channels in `heads`.
bench_operation bench_attention, bench_attention_gradient;
// height x width pixels of `in` channels; group norms with SiLU, in `groups`; GEGLU to `out`, half as many.
bench_operation bench_group_norm, bench_group_norm_gradient, bench_layer_norm, bench_layer_norm_gradient, bench_silu, bench_geglu,
    bench_geglu_gradient, bench_coupling, bench_coupling_inverse, bench_coupling_gradient, bench_inject, bench_inject_gradient;
// The whole picture of `a`.
bench_operation bench_sense, bench_sense_back;
// `in` values.
bench_operation bench_adam;

#endif
