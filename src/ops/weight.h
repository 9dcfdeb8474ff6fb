// Weights of GEMM-like operations, as they lie on the device and as variants want them.
#ifndef OPS_WEIGHT_H
#define OPS_WEIGHT_H

#include "ops/ops.h"

// A matrix or kernel, [taps][in][out] row-major float32: taps 1 (linear, 1x1) or 9 (3x3, row by row from the top left).
typedef struct weight {
    tensor plain; // a matrix of taps * in rows, c = out
    int taps, in, out;
    tensor panels; // kept panels (weight_keep_panels), or NO_TENSOR: then they are made per use
} weight;

// The CPU variant's operand, [ceil(out / P)][taps][in][P] with P = 16 * vectors, zero beyond out. The kept copy if there is one, else made
// here in scratch on POOL_ACTIVATIONS: the caller saves and releases around its use.
tensor weight_panels(ops *o, const weight *w, int vectors);

// Bytes of the panels that the table's CPU variant would read for w; 0 if no op of this table reads panels.
size_t weight_panels_bytes(const ops *o, const weight *w);
// Makes (first call, from POOL_DERIVED) or renews (w->plain has changed) the kept panels.
void weight_keep_panels(ops *o, weight *w);

#endif
