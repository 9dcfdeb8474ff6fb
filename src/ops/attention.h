// Scaled dot-product self-attention, fused: never an N x N matrix (online softmax, Milakov & Gimelshein 2018; Dao et al. 2022).
#ifndef OPS_ATTENTION_H
#define OPS_ATTENTION_H

#include "ops/ops.h"

// out[b, i, head h] = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j,  head h owns channels h*d .. h*d+d-1, d = out.c / heads, i and j over the
// h*w tokens of sample b. q, k, v: (n, h, w, c) views whose rows are `stride` floats apart (they may be column slices of one n*h*w x 3c
// matrix; stored in 16 bits, without a matrix unit that takes the heads, only dense). out: dense n*h*w x c. lse: optional (n, heads, h*w as
// w, 1): log-sum-exp of the scaled logits of each query, natural logarithm, as the backward pass needs it.
void attention_forward(ops *o, tensor q, tensor k, tensor v, int stride, int heads, tensor out, tensor lse);

// The gradients of a loss L, from dout = dL/dout. q, k, v, stride, heads, out, lse: exactly as attention_forward read and wrote them (lse
// is required). dout: dense, as out. dq, dk, dv: rows `gradient_stride` floats apart (they may be column slices of one matrix),
// overwritten; they overlap nothing else. Scratch: one float for each query and head, on a
// matrix unit three. o->attention_two_pass: see ops.h.
void attention_backward(ops *o, tensor q, tensor k, tensor v, int stride, int heads, tensor out, tensor lse, tensor dout, tensor dq,
                        tensor dk, tensor dv, int gradient_stride);

#endif
