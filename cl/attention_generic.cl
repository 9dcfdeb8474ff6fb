// Self-attention, generic variant: out = softmax(Q K^T / sqrt(HEAD)) V for each head, never an N x N matrix. Arguments as in attention_cpu.cl.
// A work-group of ITEMS computes one query of one head in two passes. First the items share the keys, each with an online maximum and sum of its
// own, merged at the end. Then, ITEMS keys at a time, the weights are computed again and the items share the channels; where HEAD is small,
// several slices of items take every SLICES-th key each.
// Local size ITEMS; groups (tokens, heads, samples).
#include "common.clh"

#ifndef HEAD
#define HEAD 40 // head size, 1 to 128
#endif
#ifndef EXACT
#define EXACT 0 // 1: exp2, 0: native_exp2
#endif
#ifndef ITEMS
#define ITEMS 64 // a power of 2
#endif
#define SLICES (HEAD < ITEMS ? ITEMS / HEAD : 1)
#define ITEM_CHANNELS ((HEAD + ITEMS - 1) / ITEMS)
#if EXACT
#define EXP2(x) exp2(x)
#else
#define EXP2(x) native_exp2(x)
#endif

inline float logit(__local const float *query, __global const float *key)
{
    float sum = 0.0f;
    for (int c = 0; c < HEAD; c++) sum = fma(query[c], key[c], sum);
    return sum;
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void attention_forward(TENSOR(const float, q), TENSOR(const float, k), TENSOR(const float, v), TENSOR(float, out), TENSOR(float, lse),
                       const int tokens, const int stride, const int heads, const float scale, const int write_lse)
{
    __local float query[HEAD], maxima[ITEMS], values[ITEMS]; // values: sums, then weights
    __local float parts[ITEMS * ITEM_CHANNELS];
    const int item = get_local_id(0), token = GROUP_ID(0), head = GROUP_ID(1);
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    START(q); START(k); START(v); START(out); START(lse);
    q += (row + token) * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    out += ((row + token) * heads + head) * HEAD;
    lse += row * heads + head * tokens + token;

    for (int c = item; c < HEAD; c += ITEMS) query[c] = q[c] * scale;
    barrier(CLK_LOCAL_MEM_FENCE);
    float highest = -FLT_MAX, sum = 0.0f; // not infinite: an item may get no key
    for (int key = item; key < tokens; key += ITEMS) {
        const float s = logit(query, k + key * stride), before = highest;
        highest = fmax(highest, s);
        sum = sum * EXP2(before - highest) + EXP2(s - highest);
    }
    maxima[item] = highest;
    values[item] = sum;
    for (int half_size = ITEMS / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_size) {
            const float mine = maxima[item], other = maxima[item + half_size], both = fmax(mine, other);
            values[item] = values[item] * EXP2(mine - both) + values[item + half_size] * EXP2(other - both);
            maxima[item] = both;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    highest = maxima[0];
    sum = values[0];
    if (write_lse && item == 0) *lse = fma(highest, M_LN2_F, log(sum));

    float total[ITEM_CHANNELS];
    for (int j = 0; j < ITEM_CHANNELS; j++) total[j] = 0.0f;
    for (int key0 = 0; key0 < tokens; key0 += ITEMS) {
        const int count = min(ITEMS, tokens - key0);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < count) values[item] = EXP2(logit(query, k + (key0 + item) * stride) - highest);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item >= SLICES * HEAD) continue;
        #pragma unroll
        for (int j = 0; j < ITEM_CHANNELS; j++) {
            const int c = item % HEAD + j * ITEMS;
            float block = 0.0f; // summed by itself first: a single long chain would round worse
            for (int key = item / HEAD; key < count && c < HEAD; key += SLICES) block = fma(values[key], v[(key0 + key) * stride + c], block);
            total[j] += block;
        }
    }
    for (int j = 0; j < ITEM_CHANNELS; j++) parts[item + j * ITEMS] = total[j];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int c = item; c < HEAD; c += ITEMS) {
        float all = parts[c];
        for (int slice = 1; slice < SLICES; slice++) all += parts[slice * HEAD + c];
        out[c] = all / sum;
    }
}
