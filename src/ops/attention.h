// Scaled dot-product self-attention, fused: never an N x N matrix (online softmax, Milakov & Gimelshein 2018; Dao et al. 2022).
#ifndef OPS_ATTENTION_H
#define OPS_ATTENTION_H

#include "ops/ops.h"

// out[b, i, head h] = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j,  head h owns channels h*d .. h*d+d-1, d = out.c / heads, i and j over the
// h*w tokens of sample b. q, k, v: (n, h, w, c) views whose rows are `stride` floats apart (they may be column slices of one n*h*w x 3c
// matrix). out: dense n*h*w x c. lse: optional (n, heads, h*w as w, 1): log-sum-exp of the scaled logits of each query, natural logarithm,
// as the backward pass needs it.
void attention_forward(ops *o, tensor q, tensor k, tensor v, int stride, int heads, tensor out, tensor lse);

#endif
