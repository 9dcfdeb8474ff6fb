// Backward pass of self-attention, generic variant. What is computed and arguments: as attention_cpu_backward.cl, PASS BACKWARD_KEYS or
// BACKWARD_QUERIES. A work-group of ITEMS owns one token (own_span is 1, slices 1) and walks the others ITEMS at a time: first the items share
// the others, each making P and dS of one, then they share the results, dV and dK or dQ; where those are few, several parts of the items take
// every PARTS-th token each.
// Local size ITEMS; groups (tokens, heads, samples).
#include "attention.clh"
#include "common.clh"

#define BACKWARD_KEYS 1
#define BACKWARD_QUERIES 2
#ifndef PASS
#define PASS BACKWARD_KEYS
#endif
#ifndef HEAD
#define HEAD 40 // head size, 1 to 128
#endif
#ifndef ITEMS
#define ITEMS 64 // a power of 2
#endif
#if PASS == BACKWARD_KEYS
#define RESULTS (2 * HEAD) // channels of dV, then of dK
#else
#define RESULTS HEAD
#endif
#define PARTS (RESULTS < ITEMS ? ITEMS / RESULTS : 1)
#define ITEM_RESULTS ((RESULTS + ITEMS - 1) / ITEMS)
#if EXACT
#define EXP2(x) exp2(x)
#else
#define EXP2(x) native_exp2(x)
#endif

inline float product(__local const float *own, __global const float *other)
{
    float sum = 0.0f;
    for (int c = 0; c < HEAD; c++) sum = fma(own[c], other[c], sum);
    return sum;
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void attention_backward(TENSOR(const float, q), TENSOR(const float, k), TENSOR(const float, v), TENSOR(const float, lse),
                        TENSOR(const float, delta), TENSOR(const float, dout), TENSOR(float, dq), TENSOR(float, dk), TENSOR(float, dv),
                        const int tokens, const int stride, const int gradient_stride, const int heads, const float scale, const int own_span,
                        const int other_span, const int slices, const int shift)
{
    __local float own_a[HEAD], own_b[HEAD]; // the owned token's K and V, or Q and dO; K or Q times scale
    __local float weights[ITEMS], gradients[ITEMS], sums[ITEMS * ITEM_RESULTS];
    const int item = get_local_id(0), own = GROUP_ID(0), head = GROUP_ID(1), dout_stride = heads * HEAD;
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    START(q); START(k); START(v); START(lse); START(delta); START(dout); START(dq); START(dk); START(dv);
    q += row * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    lse += row * heads + head * tokens;
    delta += row * heads + head * tokens;
    dout += row * dout_stride + head * HEAD;
    dq += (row + own) * gradient_stride + head * HEAD;
    dk += (row + own) * gradient_stride + head * HEAD;
    dv += (row + own) * gradient_stride + head * HEAD;
#if PASS == BACKWARD_KEYS
    __global const float *a = q, *b = dout; // of the others
    const int b_stride = dout_stride;
    for (int c = item; c < HEAD; c += ITEMS) {
        own_a[c] = k[own * stride + c] * scale;
        own_b[c] = v[own * stride + c];
    }
#else
    __global const float *a = k, *b = v;
    const int b_stride = stride;
    for (int c = item; c < HEAD; c += ITEMS) {
        own_a[c] = q[own * stride + c] * scale;
        own_b[c] = dout[own * dout_stride + c];
    }
#endif

    float total[ITEM_RESULTS];
    for (int j = 0; j < ITEM_RESULTS; j++) total[j] = 0.0f;
    for (int other0 = 0; other0 < tokens; other0 += ITEMS) {
        const int count = min(ITEMS, tokens - other0), other = other0 + item;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < count) {
            const int query = PASS == BACKWARD_KEYS ? other : own;
            float minus_lse, rest;
            minus_in_log2(lse[query], &minus_lse, &rest);
            weights[item] = EXP2(product(own_a, a + other * stride) + minus_lse + rest);
            gradients[item] = weights[item] * (product(own_b, b + other * b_stride) - delta[query]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item >= PARTS * RESULTS) continue;
        for (int j = 0; j < ITEM_RESULTS; j++) {
            const int result = item % RESULTS + j * ITEMS;
            const bool of_value = PASS == BACKWARD_KEYS && result < HEAD; // dV
            __local const float *factor = of_value ? weights : gradients;
            const int other_stride = of_value ? b_stride : stride;
            __global const float *from = (of_value ? b : a) + other0 * other_stride + result % HEAD;
            float block = 0.0f; // summed by itself first: a single long chain would round worse
            for (int i = item / RESULTS; i < count && result < RESULTS; i += PARTS) block = fma(factor[i], from[i * other_stride], block);
            total[j] += block;
        }
    }
    for (int j = 0; j < ITEM_RESULTS; j++) sums[item + j * ITEMS] = total[j];
    barrier(CLK_LOCAL_MEM_FENCE);
    const float factor = scale * M_LN2_F;
    for (int result = item; result < RESULTS; result += ITEMS) {
        float all = sums[result];
        for (int part = 1; part < PARTS; part++) all += sums[part * RESULTS + result];
#if PASS == BACKWARD_KEYS
        if (result < HEAD) dv[result] = all;
        else dk[result - HEAD] = all * factor;
#else
        dq[result] = all * factor;
#endif
    }
}
