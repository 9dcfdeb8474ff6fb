// Fused self-attention, GPU variant: out = softmax(Q K^T / sqrt(HEAD)) V for each head, never an N x N matrix. Arguments as in attention_cpu.cl.
// A work-group owns QUERIES queries of one head and walks the keys in blocks of KEYS with an online softmax (Milakov & Gimelshein 2018):
//
//        KEYS             HEAD        An item is a `lane` of LANES and owns
//      +-------+       +--------+       2 queries side by side, in the components of a float2,
// QUE- |  P =  |  KEYS |   V    |       the keys      lane + j * LANES
// RIES | 2^(S- |       +--------+       the channels  lane + j * LANES
//      |  max) |                      in both products, so the maximum, the sum and the result of its queries stay in its registers.
//      +-------+                      Q, K and P lie transposed in local memory; K and V take turns in one array.
//
// Local size (LANES, ITEM_ROWS); groups (ceil(tokens / QUERIES), heads, samples).
#ifndef LANES
#define LANES 8 // items along keys and channels: 8, 16, 32
#endif
#ifndef ITEM_ROWS
#define ITEM_ROWS 16 // items along queries: 1, 2, 4, 8, 16
#endif
#ifndef HEAD
#define HEAD 40 // head size, 1 to 128
#endif
#ifndef EXACT
#define EXACT 0 // 1: exp2, 0: native_exp2
#endif
#define KEYS 32 // keys per block
#if LANES == 8
#define VEC 4 // = KEYS / LANES, keys per item
#elif LANES == 16
#define VEC 2
#else
#define VEC 1
#endif
#include "common.clh"

#define QUERIES (2 * ITEM_ROWS)
#define QUERY_PITCH (QUERIES + 4) // floats between rows; + 4 spreads the banks
#define KEY_PITCH (KEYS + 4)
#define ITEM_CHANNELS ((HEAD + LANES - 1) / LANES)
// The item's channels; a lane past the last one repeats it, and stores nothing.
#define CHANNEL(j) (HEAD % LANES && (j) == ITEM_CHANNELS - 1 ? min(lane + (j) * LANES, HEAD - 1) : lane + (j) * LANES)
#if EXACT
#define EXP2(x) exp2(x)
#else
#define EXP2(x) native_exp2(x)
#endif

__kernel __attribute__((reqd_work_group_size(LANES, ITEM_ROWS, 1)))
void attention_forward(TENSOR(const float, q), TENSOR(const float, k), TENSOR(const float, v), TENSOR(float, out), TENSOR(float, lse),
                       const int tokens, const int stride, const int heads, const float scale, const int write_lse)
{
    __local float qs[HEAD * QUERY_PITCH] __attribute__((aligned(16)));           // [channel][query]
    __local float kv[HEAD * KEY_PITCH] __attribute__((aligned(16)));             // K: [channel][key]; V: [key][channel]
    __local float p[KEYS * QUERY_PITCH] __attribute__((aligned(16)));            // [key][query]
    __local float lane_values[LANES * QUERY_PITCH] __attribute__((aligned(16))); // [lane][query]: maximum of a block, at the end the sum
    const int lane = get_local_id(0), query = 2 * get_local_id(1), item = get_local_id(1) * LANES + lane;
    const int first = GROUP_ID(0) * QUERIES, head = GROUP_ID(1);
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    START(q); START(k); START(v); START(out); START(lse);
    q += (row + first) * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    out += ((row + first) * heads + head) * HEAD;
    lse += row * heads + head * tokens + first;

    #pragma unroll 1
    for (int i = item; i < QUERIES * HEAD; i += LANES * ITEM_ROWS)
        qs[i % HEAD * QUERY_PITCH + i / HEAD] = first + i / HEAD < tokens ? q[i / HEAD * stride + i % HEAD] * scale : 0.0f;
    float2 total[ITEM_CHANNELS], highest = -INFINITY, sum = 0.0f;
    #pragma unroll
    for (int j = 0; j < ITEM_CHANNELS; j++) total[j] = 0.0f;

    for (int key0 = 0; key0 < tokens; key0 += KEYS) {
        // An item's keys, LANES apart in memory, come to lie side by side.
        #pragma unroll 1
        for (int i = item; i < KEYS * HEAD; i += LANES * ITEM_ROWS) {
            const int key = i / HEAD, column = key % LANES * VEC + key / LANES;
            kv[i % HEAD * KEY_PITCH + column] = key0 + key < tokens ? k[(key0 + key) * stride + i % HEAD] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);

        float2 score[VEC];
        #pragma unroll
        for (int j = 0; j < VEC; j++) score[j] = 0.0f;
        #pragma unroll 2
        for (int c = 0; c < HEAD; c++) {
            const float2 qc = vload2(0, qs + c * QUERY_PITCH + query);
            float kc[VEC];
            *(vfloat *)kc = VLOAD(kv + c * KEY_PITCH + lane * VEC);
            #pragma unroll
            for (int j = 0; j < VEC; j++) score[j] = fma(qc, (float2)(kc[j]), score[j]);
        }
        float2 most = -INFINITY;
        #pragma unroll
        for (int j = 0; j < VEC; j++) {
            if (key0 + lane + j * LANES >= tokens) score[j] = -INFINITY;
            most = fmax(most, score[j]);
        }
        vstore2(most, 0, lane_values + lane * QUERY_PITCH + query);
        barrier(CLK_LOCAL_MEM_FENCE);

        #pragma unroll 1
        for (int i = item; i < KEYS * HEAD; i += LANES * ITEM_ROWS)
            kv[i] = key0 + i / HEAD < tokens ? v[(key0 + i / HEAD) * stride + i % HEAD] : 0.0f;
        most = highest;
        #pragma unroll 1
        for (int j = 0; j < LANES; j++) most = fmax(most, vload2(0, lane_values + j * QUERY_PITCH + query));
        const float2 rescale = EXP2(highest - most);
        highest = most;
        sum *= rescale;
        #pragma unroll
        for (int j = 0; j < VEC; j++) {
            const float2 weight = EXP2(score[j] - highest);
            sum += weight;
            vstore2(weight, 0, p + (lane + j * LANES) * QUERY_PITCH + query);
        }
        barrier(CLK_LOCAL_MEM_FENCE);

        // A block is summed by itself first: a single chain of tens of thousands of terms would round several times worse.
        float2 block[ITEM_CHANNELS];
        #pragma unroll
        for (int j = 0; j < ITEM_CHANNELS; j++) block[j] = 0.0f;
        #pragma unroll 2
        for (int key = 0; key < KEYS; key++) {
            const float2 weight = vload2(0, p + key * QUERY_PITCH + query);
            #pragma unroll
            for (int j = 0; j < ITEM_CHANNELS; j++) block[j] = fma(weight, (float2)(kv[key * HEAD + CHANNEL(j)]), block[j]);
        }
        #pragma unroll
        for (int j = 0; j < ITEM_CHANNELS; j++) total[j] = fma(total[j], rescale, block[j]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    vstore2(sum, 0, lane_values + lane * QUERY_PITCH + query);
    barrier(CLK_LOCAL_MEM_FENCE);
    sum = 0.0f;
    #pragma unroll 1
    for (int j = 0; j < LANES; j++) sum += vload2(0, lane_values + j * QUERY_PITCH + query);
    const float2 logarithm = fma(highest, (float2)(M_LN2_F), log(sum));
    #pragma unroll
    for (int i = 0; i < 2; i++) {
        if (first + query + i >= tokens) break;
        #pragma unroll
        for (int j = 0; j < ITEM_CHANNELS; j++)
            if (lane + j * LANES < HEAD)
                out[(query + i) * heads * HEAD + lane + j * LANES] = i ? total[j].y / sum.y : total[j].x / sum.x;
        if (write_lse && lane == 0) lse[query + i] = i ? logarithm.y : logarithm.x;
    }
}
