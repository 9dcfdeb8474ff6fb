// Softmax attention in plain double precision; the terms of src/ops/attention.h.
#ifndef ORACLE_ATTENTION_H
#define ORACLE_ATTENTION_H

// One query of one head: out[c] = sum_j softmax_j(q . k_j / sqrt(head_size)) v_j[c]; *lse = log sum_j exp(q . k_j / sqrt(head_size)).
// k, v: `tokens` rows, `stride` floats apart.
void oracle_attention_query(const float *q, const float *k, const float *v, int stride, int tokens, int head_size, double *out,
                            double *lse);

#endif
