#include "oracle/oracle_attention.h"

#include <math.h>
#include <stddef.h>

static double dot(const float *a, const float *b, int count)
{
    double sum = 0;
    for (int c = 0; c < count; c++) sum += (double)a[c] * b[c];
    return sum;
}

static double logit(const float *q, const float *k, int head_size)
{
    return dot(q, k, head_size) / sqrt(head_size);
}

void oracle_attention_query(const float *q, const float *k, const float *v, int stride, int tokens, int head_size, double *out, double *lse)
{
    double highest = -INFINITY, sum = 0;
    for (int j = 0; j < tokens; j++) highest = fmax(highest, logit(q, k + (size_t)j * stride, head_size));
    for (int c = 0; c < head_size; c++) out[c] = 0;
    for (int j = 0; j < tokens; j++) {
        const double weight = exp(logit(q, k + (size_t)j * stride, head_size) - highest);
        sum += weight;
        for (int c = 0; c < head_size; c++) out[c] += weight * v[(size_t)j * stride + c];
    }
    for (int c = 0; c < head_size; c++) out[c] /= sum;
    *lse = highest + log(sum);
}

void oracle_attention_query_backward(const float *q, const float *dout, double lse, double delta, const float *k, const float *v,
                                     int stride, int tokens, int head_size, double *dq)
{
    for (int c = 0; c < head_size; c++) dq[c] = 0;
    for (int j = 0; j < tokens; j++) {
        const float *key = k + (size_t)j * stride, *value = v + (size_t)j * stride;
        const double weight = exp(logit(q, key, head_size) - lse);
        const double slope = weight * (dot(dout, value, head_size) - delta) / sqrt(head_size);
        for (int c = 0; c < head_size; c++) dq[c] += slope * key[c];
    }
}

void oracle_attention_key_backward(const float *k, const float *v, const float *q, int stride, const float *dout, int dout_stride,
                                   const double *lse, const double *delta, int tokens, int head_size, double *dk, double *dv)
{
    for (int c = 0; c < head_size; c++) dk[c] = dv[c] = 0;
    for (int i = 0; i < tokens; i++) {
        const float *query = q + (size_t)i * stride, *gradient = dout + (size_t)i * dout_stride;
        const double weight = exp(logit(query, k, head_size) - lse[i]);
        const double slope = weight * (dot(gradient, v, head_size) - delta[i]) / sqrt(head_size);
        for (int c = 0; c < head_size; c++) {
            dk[c] += slope * query[c];
            dv[c] += weight * gradient[c];
        }
    }
}
