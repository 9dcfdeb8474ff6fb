// Backward pass of fused self-attention, GPU variant. What is computed, arguments, PASS and groups: as attention_cpu_backward.cl.
// A work-group owns OWN tokens of one head at a time and walks the `other` ones in blocks of OTHERS. Its items are two halves, alike but for
// what they read, each ROWS x LANES:
//
//        OTHERS           HEAD        half 0 makes  P = 2^(S - lse)     from K and Q,    then  dV = P dO
//      +-------+       +--------+     half 1        dS = P (dP - delta) from V and dO,   then  dK = dS Q
//  OWN | P, dS |   OWN | dK, dV |     An item owns the tokens row * ITEM_OWN + i of its half, and there
//      +-------+       +--------+       the others    lane * ITEM_OTHERS + j
//                                       the channels  lane + j * LANES.
// Tokens lie transposed in local memory, so that all operands are read as vectors: along tokens where channels are summed, along the summed
// tokens where gradients are. For dQ = dS^T K all items share the OTHERS; if it alone is wanted (BACKWARD_QUERIES), each half sums half of the
// others. An element of dQ is added to by one and the same item, block after block.
// Local size (LANES, 2 ROWS).
#include "attention.clh"
#include "common.clh"

#define BACKWARD_ALL 0
#define BACKWARD_KEYS 1
#define BACKWARD_QUERIES 2
#ifndef PASS
#define PASS BACKWARD_ALL
#endif
#ifndef HEAD
#define HEAD 40 // head size, 1 to 128
#endif
#ifndef OWN
#define OWN 32 // owned tokens per block
#endif
#ifndef OTHERS
#define OTHERS 32 // other tokens per block: 8, 16, 32
#endif
#ifndef LANES
#define LANES 8 // items along others and channels: OTHERS, OTHERS / 2 or OTHERS / 4
#endif
#ifndef ITEM_OWN
#define ITEM_OWN 4 // owned tokens per item: 2 or 4
#endif
#define ROWS (OWN / ITEM_OWN)
#define ITEMS (2 * ROWS * LANES)
#define ITEM_OTHERS (OTHERS / LANES)
#define ITEM_QUERIES (OTHERS / (2 * ROWS)) // of dQ: 1, 2, 4
#define OWN_PITCH (OWN + 4)                // floats between rows; + 4 spreads the banks
#define OTHER_PITCH (OTHERS + 4)
#define ITEM_CHANNELS ((HEAD + LANES - 1) / LANES)
// The item's channels; a lane past the last one repeats it, and stores nothing.
#define CHANNEL(j) (HEAD % LANES && (j) == ITEM_CHANNELS - 1 ? min(lane + (j) * LANES, HEAD - 1) : lane + (j) * LANES)
#define HAS_CHANNEL(j) (HEAD % LANES == 0 || lane + (j) * LANES < HEAD)
// Channels that are summed at once, for the registers: at most 5 of ITEM_OWN tokens, or as many sums of dQ.
#define CHUNKS ((ITEM_CHANNELS + 4) / 5)
#define CHUNK ((ITEM_CHANNELS + CHUNKS - 1) / CHUNKS)
#define QUERY_CHUNK (ITEM_QUERIES * CHUNK > 5 * ITEM_OWN ? 5 * ITEM_OWN / ITEM_QUERIES : CHUNK)
#if PASS == BACKWARD_QUERIES
#define QUERIES OWN
#define QUERY(own, other) (own)
#else
#define QUERIES OTHERS
#define QUERY(own, other) (other)
#endif
#define TILE_QUERIES QUERY(ITEM_OWN, ITEM_OTHERS) // whose P and dS an item makes
#define PRODUCT_ROW(row, i) ((i) * ROWS + (row)) // where P and dS of a row's i-th token lie: neighbouring rows in different banks
#if EXACT
#define EXP2(x) exp2(x)
#else
#define EXP2(x) native_exp2(x)
#endif

// `count` (1, 2, 4) floats, aligned as a vector of them.
inline void load_vector(__local const float *from, const int count, float *to)
{
    if (count == 4) vstore4(*(__local const float4 *)from, 0, to);
    else if (count == 2) vstore2(*(__local const float2 *)from, 0, to);
    else *to = *from;
}

inline void store_vector(const float *from, const int count, __local float *to)
{
    if (count == 4) *(__local float4 *)to = vload4(0, from);
    else if (count == 2) *(__local float2 *)to = vload2(0, from);
    else *to = *from;
}

// tile[channel][token] = rows first .. first + size - 1, times `factor`; those from `last` on repeat the one before.
inline void load_tile(__global const float *from, const int stride, const int first, const int last, const int size, const float factor,
                      const int item, __local float *tile)
{
#if ITEM_OWN == 2 // few registers: the addresses of loads on their way take many
    #pragma unroll 1
#else
    #pragma unroll 4
#endif
    for (int i = item; i < size * HEAD; i += ITEMS)
        tile[i % HEAD * (size + 4) + i / HEAD] = from[min(first + i / HEAD, last - 1) * stride + i % HEAD] * factor;
}

// What P and dS need of each query. They are added to finished products: sums that started from them would round as coarsely as they do.
inline void load_query_values(__global const float *lse, __global const float *delta, const int first, const int last, const int item,
                              __local float *minus_lse, __local float *minus_lse_rest, __local float *deltas)
{
    for (int i = item; i < QUERIES; i += ITEMS) {
        const int query = min(first + i, last - 1);
        float high, rest;
        minus_in_log2(lse[query], &high, &rest);
        minus_lse[i] = high;
        minus_lse_rest[i] = rest;
        deltas[i] = delta[query];
    }
}

// sum[i][j] += sum over channels of own[c][i] * other[c][j]
inline void add_products(__local const float *own, __local const float *other, float sum[ITEM_OWN][ITEM_OTHERS])
{
    #pragma unroll 2
    for (int c = 0; c < HEAD; c++) {
        float a[ITEM_OWN], b[ITEM_OTHERS];
        load_vector(own + c * OWN_PITCH, ITEM_OWN, a);
        load_vector(other + c * OTHER_PITCH, ITEM_OTHERS, b);
        #pragma unroll
        for (int i = 0; i < ITEM_OWN; i++)
            #pragma unroll
            for (int j = 0; j < ITEM_OTHERS; j++) sum[i][j] = fma(a[i], b[j], sum[i][j]);
    }
}

// total[i][j] += sum over the others from `first` to before `last` of product[i][other] * other[channel j][other]. The block is summed by
// itself first: a single chain of tens of thousands of terms would round several times worse.
inline void accumulate(__local const float *product, __local const float *other, const int row, const int lane, const int first, const int last,
                       float total[ITEM_OWN][ITEM_CHANNELS])
{
    #pragma unroll
    for (int j0 = 0; j0 < ITEM_CHANNELS; j0 += CHUNK) {
        float sum[ITEM_OWN][CHUNK];
        #pragma unroll
        for (int i = 0; i < ITEM_OWN; i++)
            #pragma unroll
            for (int j = 0; j < CHUNK; j++) sum[i][j] = 0.0f;
        #pragma unroll 1
        for (int t = first; t < last; t += 4) {
            float4 a[ITEM_OWN];
            #pragma unroll
            for (int i = 0; i < ITEM_OWN; i++) a[i] = *(__local const float4 *)(product + PRODUCT_ROW(row, i) * OTHER_PITCH + t);
            #pragma unroll
            for (int j = 0; j < CHUNK; j++) {
                if (j0 + j >= ITEM_CHANNELS) break;
                const float4 b = *(__local const float4 *)(other + CHANNEL(j0 + j) * OTHER_PITCH + t);
                #pragma unroll
                for (int i = 0; i < ITEM_OWN; i++) sum[i][j] = fma(a[i].w, b.w, fma(a[i].z, b.z, fma(a[i].y, b.y, fma(a[i].x, b.x, sum[i][j]))));
            }
        }
        #pragma unroll
        for (int i = 0; i < ITEM_OWN; i++)
            #pragma unroll
            for (int j = 0; j < CHUNK; j++)
                if (j0 + j < ITEM_CHANNELS) total[i][j0 + j] += sum[i][j];
    }
}

// Writes, or adds, what the item has made of its `count` tokens from `own` on.
inline void store_own(const float total[ITEM_OWN][ITEM_CHANNELS], const int own, const int count, const int lane, const float factor,
                      const int add, __global float *to, const int stride)
{
    #pragma unroll
    for (int i = 0; i < ITEM_OWN; i++) {
        if (i >= count) break;
        #pragma unroll
        for (int j = 0; j < ITEM_CHANNELS; j++) {
            __global float *value = to + (own + i) * stride + lane + j * LANES;
            if (HAS_CHANNEL(j)) *value = fma(total[i][j], factor, add ? *value : 0.0f);
        }
    }
}

// dq of `count` queries, written or added to: sum over the owned keys of gradient * key.
inline void store_queries(__local const float *gradient, __local const float *keys, const int lane, const int query, const int count,
                          const float factor, const int add, __global float *to, const int stride)
{
    #pragma unroll
    for (int j0 = 0; j0 < ITEM_CHANNELS; j0 += QUERY_CHUNK) {
        float sum[ITEM_QUERIES][QUERY_CHUNK], before[ITEM_QUERIES][QUERY_CHUNK];
        #pragma unroll
        for (int i = 0; i < ITEM_QUERIES; i++)
            #pragma unroll
            for (int j = 0; j < QUERY_CHUNK; j++) {
                sum[i][j] = before[i][j] = 0.0f;
                if (add && query + i < count && j0 + j < ITEM_CHANNELS) before[i][j] = to[(query + i) * stride + CHANNEL(j0 + j)];
            }
        #pragma unroll 1
        for (int t = 0; t < OWN; t += ITEM_OWN) {
            float a[ITEM_OWN][ITEM_QUERIES];
            #pragma unroll
            for (int own = 0; own < ITEM_OWN; own++)
                load_vector(gradient + PRODUCT_ROW(t / ITEM_OWN, own) * OTHER_PITCH + query, ITEM_QUERIES, a[own]);
            #pragma unroll
            for (int j = 0; j < QUERY_CHUNK; j++) {
                if (j0 + j >= ITEM_CHANNELS) break;
                float b[ITEM_OWN];
                load_vector(keys + CHANNEL(j0 + j) * OWN_PITCH + t, ITEM_OWN, b);
                #pragma unroll
                for (int own = 0; own < ITEM_OWN; own++)
                    #pragma unroll
                    for (int i = 0; i < ITEM_QUERIES; i++) sum[i][j] = fma(a[own][i], b[own], sum[i][j]);
            }
        }
        #pragma unroll
        for (int i = 0; i < ITEM_QUERIES; i++)
            #pragma unroll
            for (int j = 0; j < QUERY_CHUNK; j++)
                if (query + i < count && j0 + j < ITEM_CHANNELS && HAS_CHANNEL(j0 + j))
                    to[(query + i) * stride + lane + (j0 + j) * LANES] = fma(sum[i][j], factor, before[i][j]);
    }
}

SIMD16 __kernel __attribute__((reqd_work_group_size(LANES, 2 * ROWS, 1)))
void attention_backward(TENSOR(const float, q), TENSOR(const float, k), TENSOR(const float, v), TENSOR(const float, lse),
                        TENSOR(const float, delta), TENSOR(const float, dout), TENSOR(float, dq), TENSOR(float, dk), TENSOR(float, dv),
                        const int tokens, const int stride, const int gradient_stride, const int heads, const float scale, const int own_span,
                        const int other_span, const int slices, const int shift)
{
    __local float owned[2][HEAD * OWN_PITCH] __attribute__((aligned(16)));    // K and V, or Q and dO: [channel][token]
    __local float others[2][HEAD * OTHER_PITCH] __attribute__((aligned(16))); // Q and dO, or K and V
    __local float products[2][OWN * OTHER_PITCH] __attribute__((aligned(16))); // P and dS: [owned][other]
    __local float minus_lse[QUERIES] __attribute__((aligned(16))), minus_lse_rest[QUERIES] __attribute__((aligned(16)));
    __local float deltas[QUERIES] __attribute__((aligned(16)));
    const int lane = get_local_id(0), half_row = get_local_id(1), item = half_row * LANES + lane;
    const int part = half_row / ROWS, row = half_row % ROWS, other_tile = lane * ITEM_OTHERS; // part: which half
    const int slice = GROUP_ID(0), head = GROUP_ID(1), own_first = slice * own_span, own_last = min(own_first + own_span, tokens);
    const int other_first = (slice + shift) % slices * other_span, other_last = min(other_first + other_span, tokens);
    const size_t sample_row = (size_t)GROUP_ID(2) * tokens;
    const int dout_stride = heads * HEAD;
    START(q); START(k); START(v); START(lse); START(delta); START(dout); START(dq); START(dk); START(dv);
    q += sample_row * stride + head * HEAD;
    k += sample_row * stride + head * HEAD;
    v += sample_row * stride + head * HEAD;
    lse += sample_row * heads + head * tokens;
    delta += sample_row * heads + head * tokens;
    dout += sample_row * dout_stride + head * HEAD;
    dq += sample_row * gradient_stride + head * HEAD;
    dk += sample_row * gradient_stride + head * HEAD;
    dv += sample_row * gradient_stride + head * HEAD;

    for (int own = own_first; own < own_last; own += OWN) {
        const int own_tile = own + row * ITEM_OWN;
#if PASS == BACKWARD_QUERIES
        load_tile(q, stride, own, own_last, OWN, scale, item, owned[0]);
        load_tile(dout, dout_stride, own, own_last, OWN, 1.0f, item, owned[1]);
        load_query_values(lse, delta, own, own_last, item, minus_lse, minus_lse_rest, deltas);
#else
        load_tile(k, stride, own, own_last, OWN, 1.0f, item, owned[0]);
        load_tile(v, stride, own, own_last, OWN, 1.0f, item, owned[1]);
#endif
        float total[ITEM_OWN][ITEM_CHANNELS];
        #pragma unroll
        for (int i = 0; i < ITEM_OWN; i++)
            #pragma unroll
            for (int j = 0; j < ITEM_CHANNELS; j++) total[i][j] = 0.0f;

        for (int other = other_first; other < other_last; other += OTHERS) {
#if PASS == BACKWARD_QUERIES
            load_tile(k, stride, other, other_last, OTHERS, 1.0f, item, others[0]);
            load_tile(v, stride, other, other_last, OTHERS, 1.0f, item, others[1]);
#else
            load_tile(q, stride, other, other_last, OTHERS, scale, item, others[0]);
            load_tile(dout, dout_stride, other, other_last, OTHERS, 1.0f, item, others[1]);
            load_query_values(lse, delta, other, other_last, item, minus_lse, minus_lse_rest, deltas);
#endif
            barrier(CLK_LOCAL_MEM_FENCE);

            float sum[ITEM_OWN][ITEM_OTHERS];
            #pragma unroll
            for (int i = 0; i < ITEM_OWN; i++)
                #pragma unroll
                for (int j = 0; j < ITEM_OTHERS; j++) sum[i][j] = 0.0f;
            add_products(owned[part] + row * ITEM_OWN, others[part] + other_tile, sum);
            const int tile_query = QUERY(row * ITEM_OWN, other_tile);
            __local float *weight = products[0] + other_tile, *gradient = products[1] + other_tile;
            if (part == 0) {
                float high[TILE_QUERIES], rest[TILE_QUERIES];
                load_vector(minus_lse + tile_query, TILE_QUERIES, high);
                load_vector(minus_lse_rest + tile_query, TILE_QUERIES, rest);
                #pragma unroll
                for (int i = 0; i < ITEM_OWN; i++) {
                    #pragma unroll
                    for (int j = 0; j < ITEM_OTHERS; j++) {
                        const bool inside = own_tile + i < own_last && other + other_tile + j < other_last;
                        const float power = sum[i][j] + high[QUERY(i, j)] + rest[QUERY(i, j)];
                        sum[i][j] = inside ? EXP2(power) : 0.0f;
                    }
                    store_vector(sum[i], ITEM_OTHERS, weight + PRODUCT_ROW(row, i) * OTHER_PITCH);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (part == 1) {
                float query_delta[TILE_QUERIES];
                load_vector(deltas + tile_query, TILE_QUERIES, query_delta);
                #pragma unroll
                for (int i = 0; i < ITEM_OWN; i++) {
                    float p[ITEM_OTHERS];
                    load_vector(weight + PRODUCT_ROW(row, i) * OTHER_PITCH, ITEM_OTHERS, p);
                    #pragma unroll
                    for (int j = 0; j < ITEM_OTHERS; j++) sum[i][j] = p[j] * (sum[i][j] - query_delta[QUERY(i, j)]);
                    store_vector(sum[i], ITEM_OTHERS, gradient + PRODUCT_ROW(row, i) * OTHER_PITCH);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);

#if PASS == BACKWARD_QUERIES
            accumulate(products[1], others[0], row, lane, part * (OTHERS / 2), part * (OTHERS / 2) + OTHERS / 2, total);
#else
            accumulate(products[part], others[1 - part], row, lane, 0, OTHERS, total);
#endif
#if PASS == BACKWARD_ALL
            store_queries(products[1], owned[0], lane, half_row * ITEM_QUERIES, other_last - other, scale * M_LN2_F,
                          shift > 0 || own > own_first, dq + other * gradient_stride, gradient_stride);
#endif
            barrier(CLK_LOCAL_MEM_FENCE);
        }
#if PASS == BACKWARD_QUERIES
        // the second half's sums go to the first by way of `others`, free by now: [channel][owned]
        __local float *sums = (__local float *)others + row * ITEM_OWN;
        #pragma unroll
        for (int j = 0; j < ITEM_CHANNELS; j++) {
            float of_channel[ITEM_OWN];
            #pragma unroll
            for (int i = 0; i < ITEM_OWN; i++) of_channel[i] = total[i][j];
            if (part == 1 && HAS_CHANNEL(j)) store_vector(of_channel, ITEM_OWN, sums + CHANNEL(j) * OWN_PITCH);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (part == 0) {
            #pragma unroll
            for (int j = 0; j < ITEM_CHANNELS; j++) {
                float of_channel[ITEM_OWN];
                load_vector(sums + CHANNEL(j) * OWN_PITCH, ITEM_OWN, of_channel);
                #pragma unroll
                for (int i = 0; i < ITEM_OWN; i++) total[i][j] += of_channel[i];
            }
            store_own(total, own_tile, own_last - own_tile, lane, scale * M_LN2_F, shift > 0, dq, gradient_stride);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#else
        store_own(total, own_tile, own_last - own_tile, lane, part ? M_LN2_F : 1.0f, shift > 0, part ? dk : dv, gradient_stride);
#endif
    }
}
