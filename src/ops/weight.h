// Weights of GEMM-like operations, as they lie on the device and as variants want them.
#ifndef OPS_WEIGHT_H
#define OPS_WEIGHT_H

#include "ops/ops.h"

// A matrix or kernel, [taps][in][out] row-major float32: taps 1 (linear, 1x1) or 9 (3x3, row by row from the top left).
typedef struct weight {
    tensor plain; // a matrix of taps * in rows, c = out
    int taps, in, out;
    // kept by weight_keep_panels and weight_keep_transposed, or NO_TENSOR: then they are made per use
    tensor panels, transposed;
} weight;

// The CPU variant's operand, [ceil(out / P)][taps][in][P] with P = 16 * vectors, zero beyond out. The kept copy if there is one, else made
// here in scratch on POOL_ACTIVATIONS: the caller saves and releases around its use.
tensor weight_panels(ops *o, const weight *w, int vectors);

// Bytes of the panels that the table's CPU variant would read for w; 0 if no op of this table reads panels.
size_t weight_panels_bytes(const ops *o, const weight *w);
// Makes (first call, from POOL_DERIVED) or renews (w->plain has changed) the kept panels.
void weight_keep_panels(ops *o, weight *w);

// The operand of the gradient with respect to x: the weight [taps in reverse][out][in], in panels or plain as the table's variant reads it.
// The kept copy if there is one, else made here in scratch as by weight_panels. Not for linear layers through CLBlast, which reads
// w->plain.
weight weight_transposed(ops *o, const weight *w);

// As weight_panels_bytes and weight_keep_panels, of weight_transposed; 0 bytes and nothing kept where CLBlast reads w.
size_t weight_transposed_bytes(const ops *o, const weight *w);
void weight_keep_transposed(ops *o, weight *w);

#endif
