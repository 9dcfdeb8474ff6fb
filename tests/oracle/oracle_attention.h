// Softmax attention in plain double precision; the terms of src/ops/attention.h.
#ifndef ORACLE_ATTENTION_H
#define ORACLE_ATTENTION_H

// One query of one head: out[c] = sum_j softmax_j(q . k_j / sqrt(head_size)) v_j[c]; *lse = log sum_j exp(q . k_j / sqrt(head_size)).
// k, v: `tokens` rows, `stride` floats apart.
void oracle_attention_query(const float *q, const float *k, const float *v, int stride, int tokens, int head_size, double *out,
                            double *lse);

// Gradients of L = sum of dout * out, for a whole sample's head, from the out and lse of every query.

// dL/dq of one query. q, dout, lse: the query's; delta = sum_c dout[c] out[c].
void oracle_attention_query_backward(const float *q, const float *dout, double lse, double delta, const float *k, const float *v,
                                     int stride, int tokens, int head_size, double *dq);

// dL/dk and dL/dv of one key. q: `tokens` rows, `stride` floats apart; dout: the same, `dout_stride` apart; lse, delta: `tokens` values.
void oracle_attention_key_backward(const float *k, const float *v, const float *q, int stride, const float *dout, int dout_stride,
                                   const double *lse, const double *delta, int tokens, int head_size, double *dk, double *dv);

#endif
