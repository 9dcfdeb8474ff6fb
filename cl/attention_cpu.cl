// Fused self-attention, CPU variant: out = softmax(Q K^T / sqrt(HEAD)) V for each head, never an N x N matrix.
//   q, k, v: `tokens` rows per sample, `stride` floats apart; head h owns the HEAD channels from h * HEAD. out: dense rows of heads * HEAD.
//   lse (if write_lse): [sample][head][token], natural log of the sum of exp of the scaled logits.
//   scale: log2(e) / sqrt(HEAD), so that logits are in units of log 2 and only exp2 is needed.
// One work-item per group. It owns QUERIES queries of one head, one query per vector lane, and walks the keys in blocks of KEYS with an online
// softmax (Milakov & Gimelshein 2018): maximum and sum run vertically, no lane ever talks to another. Values of K and V are broadcast.
// Both products keep a tile of ROW_TILE x VECTORS accumulators in registers.
// Groups: (ceil(tokens / QUERIES), heads, samples).
#include "attention_cpu.clh"

#ifndef QUERY_TILES
#define QUERY_TILES 6 // tiles of queries that share one copy of a block of keys
#endif
#ifndef KEYS
#define KEYS 128 // keys per block; the scores of one tile (KEYS * VECTORS * 64 bytes) should fit the first-level cache
#endif
#define BLOCK (KEYS / ROW_TILE * ROW_TILE)
#define QUERIES (QUERY_TILES * LANES)

// Copies a block of keys or values out of rows that may lie a page apart: all query tiles read it, and address translation would not keep up.
// Rows from `count` on repeat the last one.
inline void load_rows(__global const float *restrict from, const int stride, const int count, float rows[BLOCK][HEAD])
{
    for (int i = 0; i < BLOCK; i++) {
        __global const float *row = from + min(i, count - 1) * stride;
        #pragma unroll
        for (int c = 0; c < HEAD; c++) rows[i][c] = row[c];
    }
}

// score[key][v] = q . k; highest = max(highest, scores).
inline void scores(const float16 q[HEAD][VECTORS], const float k[BLOCK][HEAD], const int count, float16 score[BLOCK][VECTORS],
                   float16 highest[VECTORS])
{
    for (int key = 0; key < count; key += ROW_TILE) {
        float16 acc[ROW_TILE][VECTORS];
        #pragma unroll
        for (int i = 0; i < ROW_TILE; i++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) acc[i][v] = 0.0f;
        #pragma unroll 4
        for (int c = 0; c < HEAD; c++)
            #pragma unroll
            for (int i = 0; i < ROW_TILE; i++)
                #pragma unroll
                for (int v = 0; v < VECTORS; v++) acc[i][v] = fma((float16)(k[key + i][c]), q[c][v], acc[i][v]);
        #pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            float16 tile_highest = acc[0][v];
            #pragma unroll
            for (int i = 0; i < ROW_TILE; i++) {
                tile_highest = max(tile_highest, acc[i][v]);
                score[key + i][v] = acc[i][v];
            }
            highest[v] = max(highest[v], tile_highest);
        }
    }
}

// score = 2^(score - highest); sum = sum * rescale + the block's sum.
inline void weights(const int count, const float16 highest[VECTORS], const float16 rescale[VECTORS], float16 score[BLOCK][VECTORS],
                    float16 sum[VECTORS])
{
    float16 block_sum[VECTORS];
    #pragma unroll
    for (int v = 0; v < VECTORS; v++) block_sum[v] = 0.0f;
    for (int key = 0; key < count; key++)
        #pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const float16 weight = exp2_negative(score[key][v] - highest[v]);
            score[key][v] = weight;
            block_sum[v] += weight;
        }
    #pragma unroll
    for (int v = 0; v < VECTORS; v++) sum[v] = fma(sum[v], rescale[v], block_sum[v]);
}

// total = total * rescale + sum over the block's keys of weight * value. The block is summed by itself first: a single chain of tens of thousands
// of terms would round ten times worse.
inline void accumulate(const float16 weight[BLOCK][VECTORS], const float value[BLOCK][HEAD], const int count, const float16 rescale[VECTORS],
                       float16 total[CHANNEL_TILES][CHANNEL_TILE][VECTORS])
{
    for (int tile = 0; tile < CHANNEL_TILES; tile++) {
        const int first = FIRST_CHANNEL(tile);
        float16 acc[CHANNEL_TILE][VECTORS];
        #pragma unroll
        for (int c = 0; c < CHANNEL_TILE; c++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) acc[c][v] = 0.0f;
        for (int key = 0; key < count; key++)
            #pragma unroll
            for (int c = 0; c < CHANNEL_TILE; c++)
                #pragma unroll
                for (int v = 0; v < VECTORS; v++) acc[c][v] = fma((float16)(value[key][first + c]), weight[key][v], acc[c][v]);
        #pragma unroll
        for (int c = 0; c < CHANNEL_TILE; c++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) total[tile][c][v] = fma(total[tile][c][v], rescale[v], acc[c][v]);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void attention_forward(TENSOR(const float, q), TENSOR(const float, k), TENSOR(const float, v), TENSOR(float, out), TENSOR(float, lse),
                       const int tokens, const int stride, const int heads, const float scale, const int write_lse)
{
    const int first = GROUP_ID(0) * QUERIES, head = GROUP_ID(1), queries = min(QUERIES, tokens - first);
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    START(q); START(k); START(v); START(out); START(lse);
    q += row * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    out += (row * heads + head) * HEAD;
    lse += row * heads + head * tokens;

    float keys[BLOCK][HEAD], values[BLOCK][HEAD];
    float16 query[QUERY_TILES][HEAD][VECTORS], score[BLOCK][VECTORS], total[QUERY_TILES][CHANNEL_TILES][CHANNEL_TILE][VECTORS];
    float16 highest[QUERY_TILES][VECTORS], sum[QUERY_TILES][VECTORS];
    for (int i = 0; i < QUERIES; i++)
        for (int c = 0; c < HEAD; c++) ((float *)query[i / LANES][c])[i % LANES] = q[(first + min(i, queries - 1)) * stride + c] * scale;
    for (int i = 0; i < QUERY_TILES * CHANNEL_TILES * CHANNEL_TILE * VECTORS; i++) ((float16 *)total)[i] = 0.0f;
    for (int i = 0; i < QUERY_TILES * VECTORS; i++) {
        ((float16 *)highest)[i] = -INFINITY;
        ((float16 *)sum)[i] = 0.0f;
    }

    for (int key = 0; key < tokens; key += BLOCK) {
        const int count = min(BLOCK, tokens - key);
        load_rows(k + key * stride, stride, count, keys);
        load_rows(v + key * stride, stride, count, values);
        for (int tile = 0; tile * LANES < queries; tile++) {
            float16 rescale[VECTORS];
            #pragma unroll
            for (int i = 0; i < VECTORS; i++) rescale[i] = highest[tile][i];
            prefetch_rows(k, stride, key + BLOCK, min(key + 2 * BLOCK, tokens), tile, QUERY_TILES);
            prefetch_rows(v, stride, key + BLOCK, min(key + 2 * BLOCK, tokens), tile, QUERY_TILES);
            scores(query[tile], keys, count, score, highest[tile]);
            #pragma unroll
            for (int i = 0; i < VECTORS; i++) rescale[i] = exp2_negative(rescale[i] - highest[tile][i]);
            weights(count, highest[tile], rescale, score, sum[tile]);
            accumulate(score, values, count, rescale, total[tile]);
        }
    }

    for (int i = 0; i < queries; i++) {
        const int tile = i / LANES, lane = i % LANES;
        const float weight = ((const float *)sum[tile])[lane];
        for (int t = 0; t < CHANNEL_TILES; t++)
            for (int c = 0; c < CHANNEL_TILE; c++)
                out[(first + i) * heads * HEAD + FIRST_CHANNEL(t) + c] = ((const float *)total[tile][t][c])[lane] / weight;
        if (write_lse) lse[first + i] = fma(((const float *)highest[tile])[lane], M_LN2_F, log(weight));
    }
}
