// Weights of GEMM-like operations, as they lie on the device and as variants want them.
#ifndef OPS_WEIGHT_H
#define OPS_WEIGHT_H

#include "ops/ops.h"

// What an operand of the CPU variant looks like, [ceil(out / P)][...][in][P] with P = 16 * vectors, zero beyond out: taps one after the
// other, or for ops/conv_winograd.h the 36 transformed values of a 3x3 kernel.
typedef enum weight_form { WEIGHT_TAPS, WEIGHT_WINOGRAD } weight_form;

// A matrix or kernel, [taps][in][out] row-major float32: taps 1 (linear, 1x1) or 9 (3x3, row by row from the top left).
typedef struct weight {
    tensor plain; // a matrix of taps * in rows, c = out
    int taps, in, out;
    // kept by weight_keep_panels and weight_keep_transposed, or NO_TENSOR: then they are made per use
    tensor panels, transposed;
} weight;

// The CPU variant's operand in that form. The kept copy if there is one, else made here in scratch on POOL_ACTIVATIONS: the caller saves
// and releases around its use.
tensor weight_panels(ops *o, const weight *w, weight_form form);

// Bytes of the panels that the table's CPU variant would read for w; 0 if no op of this table reads panels.
size_t weight_panels_bytes(const ops *o, const weight *w, weight_form form);
// Makes the kept panels, from POOL_DERIVED.
void weight_keep_panels(ops *o, weight *w, weight_form form);

// The operand of the gradient with respect to x: the weight [taps in reverse][out][in], in panels or plain as the table's variant reads it.
// The kept copy if there is one, else made here in scratch as by weight_panels. Not for linear layers through CLBlast, which reads
// w->plain.
weight weight_transposed(ops *o, const weight *w, weight_form form);

// As weight_panels_bytes and weight_keep_panels, of weight_transposed; 0 bytes and nothing kept where CLBlast reads w.
size_t weight_transposed_bytes(const ops *o, const weight *w, weight_form form);
void weight_keep_transposed(ops *o, weight *w, weight_form form);

// Makes what is kept again, in its place: w->plain has changed.
void weight_renew(ops *o, const weight *w);

#endif
