#include "oracle/oracle_attention.h"

#include <math.h>
#include <stddef.h>

static double logit(const float *q, const float *k, int head_size)
{
    double sum = 0;
    for (int c = 0; c < head_size; c++) sum += (double)q[c] * k[c];
    return sum / sqrt(head_size);
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
