// Backward pass of fused self-attention, CPU variant. Per head, P = softmax(Q K^T / sqrt(HEAD)) made again from lse, dP = dO V^T,
//   dS = P (dP - delta),   dV = P^T dO,   dK = dS^T Q / sqrt(HEAD),   dQ = dS K / sqrt(HEAD).
//   q, k, v, lse, tokens, stride, heads, scale: as attention_cpu.cl. dout: dense rows of heads * HEAD. delta: [sample][head][token], the
//   row sums of dO * O (attention_delta.cl). dq, dk, dv: rows gradient_stride floats apart.
// PASS says whose tokens a group owns; it walks the `other` ones:
//   BACKWARD_ALL      keys, walks queries; writes dK and dV, adds to dQ
//   BACKWARD_KEYS     keys, walks queries; writes dK and dV
//   BACKWARD_QUERIES  queries, walks keys; writes dQ
// Group g owns the tokens from g * own_span and walks those from (g + shift) % slices * other_span. In BACKWARD_ALL the host launches shift =
// 0 .. slices - 1 one after another with both spans the same: no two groups of a launch add to the same rows, and each row sees the same order
// of additions on every run. Where shift > 0, dK and dV are added to what earlier launches wrote.
//
// One work-item per group. Owned tokens lie in vector lanes, OWN_TILES tiles of LANES of them in a block; other tokens are rows whose values are
// broadcast, OTHERS at a time. The products that sum over channels or over other tokens keep a tile of ROW_TILE x VECTORS accumulators in registers,
// dQ, which sums over owned tokens, a tile of QUERY_TILE rows x PART vectors of VEC channels. No lane ever talks to another.
// Groups: (ceil(tokens / own_span), heads, samples).
#define BACKWARD_ALL 0
#define BACKWARD_KEYS 1
#define BACKWARD_QUERIES 2
#ifndef PASS
#define PASS BACKWARD_ALL
#endif
#ifndef VEC
#define VEC 16 // channels in a register: 16 or less
#endif
#ifndef SUMS
#define SUMS 25 // registers that dQ's tile may fill
#endif
#ifndef OWN_TILES
#define OWN_TILES 6 // tiles of owned tokens that share one copy of the rows
#endif
#ifndef OTHERS
#define OTHERS 120 // rows per block
#endif
#include "attention_cpu.clh"

#define BLOCK (OTHERS / ROW_TILE * ROW_TILE)
#define OWNED (OWN_TILES * LANES)
// Vectors along channels, for dQ in equal parts of at most half the registers, and for each as many rows as fill the rest.
#define CHANNEL_VECTORS ((HEAD + VEC - 1) / VEC)
#define PARTS ((2 * CHANNEL_VECTORS + SUMS - 1) / SUMS)
#define PART ((CHANNEL_VECTORS + PARTS - 1) / PARTS)
#define QUERY_TILE (SUMS / PART < 12 ? SUMS / PART : 12)

// Vectors of a row's channels; the last one overlaps the one before it where HEAD is no multiple of VEC.
#if HEAD < VEC
inline vfloat load_channels(__global const float *row, const int vector)
{
    float channels[VEC];
    for (int c = 0; c < VEC; c++) channels[c] = c < HEAD ? row[c] : 0.0f;
    return VLOAD(channels);
}
inline void store_channels(const vfloat value, __global float *row, const int vector)
{
    for (int c = 0; c < HEAD; c++) row[c] = ((const float *)&value)[c];
}
#else
#define VECTOR_CHANNEL(vector) min(VEC * (vector), HEAD - VEC)
inline vfloat load_channels(__global const float *row, const int vector)
{
    return VLOAD(row + VECTOR_CHANNEL(vector));
}
inline void store_channels(const vfloat value, __global float *row, const int vector)
{
    VSTORE(value, row + VECTOR_CHANNEL(vector));
}
#endif

// `count` rows, times `factor`; those up to `padded` repeat the last one.
inline void load_rows(__global const float *restrict from, const int stride, const int count, const int padded, const float factor,
                      float rows[BLOCK][HEAD])
{
    for (int i = 0; i < padded; i++) {
        __global const float *row = from + min(i, count - 1) * stride;
#if HEAD < VEC
        for (int c = 0; c < HEAD; c++) rows[i][c] = row[c] * factor;
#else
        #pragma unroll
        for (int v = 0; v < CHANNEL_VECTORS; v++) VSTORE_NEAR(load_channels(row, v) * factor, rows[i] + VECTOR_CHANNEL(v));
#endif
    }
}

// The same for owned tokens, channel by channel, all lanes of `tiles` tiles filled.
inline void load_lanes(__global const float *restrict from, const int stride, const int count, const int tiles, const float factor,
                       float16 lanes[OWN_TILES][HEAD][VECTORS])
{
    for (int i = 0; i < tiles * LANES; i++) {
        __global const float *row = from + min(i, count - 1) * stride;
        #pragma unroll
        for (int c = 0; c < HEAD; c++) ((float *)lanes[i / LANES][c])[i % LANES] = row[c] * factor;
    }
}

// acc[row][v] += sum over channels of rows * own. Not a function: not every compiler would inline it, and acc has to stay in registers.
#define ADD_PRODUCTS(rows, own, acc)                                                                                                       \
    _Pragma("unroll 4")                                                                                                                    \
    for (int c = 0; c < HEAD; c++)                                                                                                         \
        _Pragma("unroll")                                                                                                                  \
        for (int i = 0; i < ROW_TILE; i++)                                                                                                 \
            _Pragma("unroll")                                                                                                              \
            for (int v = 0; v < VECTORS; v++) acc[i][v] = fma((float16)((rows)[i][c]), (own)[c][v], acc[i][v])

#define GRADIENT_TILES (PASS == BACKWARD_ALL ? OWN_TILES : 1) // of dS that are kept
#define GRADIENT_ROWS (BLOCK + QUERY_TILE - 1)                  // rows past the last one are read

// What of each query goes into its scores and gradients from the start: own queries lie in lanes, others in rows.
#if PASS == BACKWARD_QUERIES
#define QUERY_VALUE(values, tile, row, v) (values)[tile][v]
typedef float16 query_values[OWN_TILES][VECTORS];
#else
#define QUERY_VALUE(values, tile, row, v) (float16)((values)[row])
typedef float query_values[BLOCK];
#endif

// weight = P, gradient = dS of one tile of owned tokens.
inline void weights(const float rows_a[BLOCK][HEAD], const float rows_b[BLOCK][HEAD], const float16 own_a[HEAD][VECTORS],
                    const float16 own_b[HEAD][VECTORS], const query_values minus_lse, const query_values minus_lse_rest,
                    const query_values minus_delta, const int tile, const int count, float16 weight[BLOCK][VECTORS], float16 gradient[GRADIENT_ROWS][GRADIENT_TILES][VECTORS])
{
    for (int row = 0; row < count; row += ROW_TILE) {
        float16 acc[ROW_TILE][VECTORS];
        #pragma unroll
        for (int i = 0; i < ROW_TILE; i++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) acc[i][v] = 0.0f;
        ADD_PRODUCTS(rows_a + row, own_a, acc);
        #pragma unroll
        for (int i = 0; i < ROW_TILE; i++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) {
                weight[row + i][v] = exp2_negative(acc[i][v] + QUERY_VALUE(minus_lse, tile, row + i, v) + QUERY_VALUE(minus_lse_rest, tile, row + i, v));
                acc[i][v] = QUERY_VALUE(minus_delta, tile, row + i, v);
            }
        ADD_PRODUCTS(rows_b + row, own_b, acc);
        #pragma unroll
        for (int i = 0; i < ROW_TILE; i++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) gradient[row + i][tile % GRADIENT_TILES][v] = weight[row + i][v] * acc[i][v];
    }
}

// total += sum over rows of row * factor, for one tile of owned tokens; factors of a row lie `pitch` vectors apart. The rows are summed by
// themselves first: a single chain of tens of thousands of terms would round ten times worse.
inline void accumulate(const float rows[BLOCK][HEAD], const float16 *factor, const int pitch, const int count,
                       float16 total[CHANNEL_TILES][CHANNEL_TILE][VECTORS])
{
    for (int tile = 0; tile < CHANNEL_TILES; tile++) {
        const int first = FIRST_CHANNEL(tile);
        float16 acc[CHANNEL_TILE][VECTORS];
        #pragma unroll
        for (int c = 0; c < CHANNEL_TILE; c++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) acc[c][v] = 0.0f;
        for (int row = 0; row < count; row++)
            #pragma unroll
            for (int c = 0; c < CHANNEL_TILE; c++)
                #pragma unroll
                for (int v = 0; v < VECTORS; v++) acc[c][v] = fma((float16)(rows[row][first + c]), factor[row * pitch + v], acc[c][v]);
        #pragma unroll
        for (int c = 0; c < CHANNEL_TILE; c++)
            #pragma unroll
            for (int v = 0; v < VECTORS; v++) total[tile][c][v] += acc[c][v];
    }
}

// Writes or adds the totals of `count` owned tokens, times `factor`.
inline void store_lanes(const float16 total[OWN_TILES][CHANNEL_TILES][CHANNEL_TILE][VECTORS], const int count, const float factor,
                        const int add, __global float *restrict to, const int stride)
{
    for (int i = 0; i < count; i++)
        for (int tile = 0; tile < CHANNEL_TILES; tile++)
            for (int c = tile * CHANNEL_TILE - FIRST_CHANNEL(tile); c < CHANNEL_TILE; c++) {
                __global float *value = to + i * stride + FIRST_CHANNEL(tile) + c;
                *value = fma(((const float *)total[i / LANES][tile][c])[i % LANES], factor, add ? *value : 0.0f);
            }
}

// dq of a block of queries, written or added to: sum over the owned keys of gradient * key. What is added to is read before anything is
// written, since vectors of two parts may overlap.
inline void store_queries(const float16 gradient[GRADIENT_ROWS][GRADIENT_TILES][VECTORS], const vfloat keys[OWNED][CHANNEL_VECTORS],
                          const int own_count, const int count, const int add, __global float *restrict to, const int stride)
{
    for (int row = 0; row < count; row += QUERY_TILE) {
        const float *factor = (const float *)gradient[row];
        vfloat before[QUERY_TILE][CHANNEL_VECTORS];
        for (int i = 0; i < QUERY_TILE; i++)
            #pragma unroll
            for (int v = 0; v < CHANNEL_VECTORS; v++) before[i][v] = add ? load_channels(to + min(row + i, count - 1) * stride, v) : (vfloat)0.0f;
        for (int part = 0; part < CHANNEL_VECTORS; part += PART) {
            const int first = min(part, CHANNEL_VECTORS - PART);
            vfloat acc[QUERY_TILE][PART];
            #pragma unroll
            for (int i = 0; i < QUERY_TILE; i++)
                #pragma unroll
                for (int v = 0; v < PART; v++) acc[i][v] = 0.0f;
            for (int key = 0; key < own_count; key++)
                #pragma unroll
                for (int v = 0; v < PART; v++)
                    #pragma unroll
                    for (int i = 0; i < QUERY_TILE; i++) acc[i][v] = fma((vfloat)(factor[i * OWNED + key]), keys[key][first + v], acc[i][v]);
            #pragma unroll
            for (int i = 0; i < QUERY_TILE; i++)
                #pragma unroll
                for (int v = 0; v < PART; v++)
                    if (row + i < count) store_channels(before[i][first + v] + acc[i][v], to + (row + i) * stride, first + v);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void attention_backward(TENSOR(const float, q), TENSOR(const float, k), TENSOR(const float, v), TENSOR(const float, lse),
                        TENSOR(const float, delta), TENSOR(const float, dout), TENSOR(float, dq), TENSOR(float, dk), TENSOR(float, dv),
                        const int tokens, const int stride, const int gradient_stride, const int heads, const float scale, const int own_span,
                        const int other_span, const int slices, const int shift)
{
    const int slice = GROUP_ID(0), head = GROUP_ID(1), own_first = slice * own_span, own_last = min(own_first + own_span, tokens);
    const int other_first = (slice + shift) % slices * other_span, other_last = min(other_first + other_span, tokens);
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    const int dout_stride = heads * HEAD;
    START(q); START(k); START(v); START(lse); START(delta); START(dout); START(dq); START(dk); START(dv);
    q += row * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    lse += row * heads + head * tokens;
    delta += row * heads + head * tokens;
    dout += row * dout_stride + head * HEAD;
    dq += row * gradient_stride + head * HEAD;
    dk += row * gradient_stride + head * HEAD;
    dv += row * gradient_stride + head * HEAD;

    float rows_a[BLOCK][HEAD], rows_b[BLOCK][HEAD];
    float16 own_a[OWN_TILES][HEAD][VECTORS], own_b[OWN_TILES][HEAD][VECTORS];
    float16 weight[BLOCK][VECTORS], gradient[GRADIENT_ROWS][GRADIENT_TILES][VECTORS];
    float16 total_a[OWN_TILES][CHANNEL_TILES][CHANNEL_TILE][VECTORS];
    query_values minus_lse, minus_lse_rest, minus_delta;
#if PASS != BACKWARD_QUERIES
    float16 total_b[OWN_TILES][CHANNEL_TILES][CHANNEL_TILE][VECTORS];
#endif
#if PASS == BACKWARD_ALL
    vfloat keys[OWNED][CHANNEL_VECTORS];
    for (int i = 0; i < GRADIENT_ROWS * OWN_TILES * VECTORS; i++) ((float16 *)gradient)[i] = 0.0f;
#endif
    for (int own = own_first; own < own_last; own += OWNED) {
        const int own_count = min(OWNED, own_last - own), tiles = (own_count + LANES - 1) / LANES;
#if PASS == BACKWARD_QUERIES
        load_lanes(q + own * stride, stride, own_count, tiles, scale, own_a);
        load_lanes(dout + own * dout_stride, dout_stride, own_count, tiles, 1.0f, own_b);
        for (int i = 0; i < tiles * LANES; i++) {
            const int query = own + min(i, own_count - 1);
            minus_in_log2(lse[query], (float *)minus_lse + i, (float *)minus_lse_rest + i);
            ((float *)minus_delta)[i] = -delta[query];
        }
#else
        load_lanes(k + own * stride, stride, own_count, tiles, 1.0f, own_a);
        load_lanes(v + own * stride, stride, own_count, tiles, 1.0f, own_b);
        for (int i = 0; i < OWN_TILES * CHANNEL_TILES * CHANNEL_TILE * VECTORS; i++) ((float16 *)total_b)[i] = 0.0f;
#endif
        for (int i = 0; i < OWN_TILES * CHANNEL_TILES * CHANNEL_TILE * VECTORS; i++) ((float16 *)total_a)[i] = 0.0f;
#if PASS == BACKWARD_ALL
        for (int i = 0; i < own_count; i++)
            #pragma unroll
            for (int j = 0; j < CHANNEL_VECTORS; j++) keys[i][j] = load_channels(k + (own + i) * stride, j) * (scale * M_LN2_F);
#endif
        for (int other = other_first; other < other_last; other += BLOCK) {
            const int count = min(BLOCK, other_last - other), padded = (count + ROW_TILE - 1) / ROW_TILE * ROW_TILE;
            const int next = other + count, next_last = min(next + BLOCK, other_last);
#if PASS == BACKWARD_QUERIES
            load_rows(k + other * stride, stride, count, padded, 1.0f, rows_a);
            load_rows(v + other * stride, stride, count, padded, 1.0f, rows_b);
#else
            load_rows(q + other * stride, stride, count, padded, scale, rows_a);
            load_rows(dout + other * dout_stride, dout_stride, count, padded, 1.0f, rows_b);
            for (int i = 0; i < padded; i++) {
                const int query = other + min(i, count - 1);
                minus_in_log2(lse[query], minus_lse + i, minus_lse_rest + i);
                minus_delta[i] = -delta[query];
            }
#endif
            for (int tile = 0; tile < tiles; tile++) {
                prefetch_rows(PASS == BACKWARD_QUERIES ? k : q, stride, next, next_last, tile, tiles);
                if (PASS == BACKWARD_QUERIES) prefetch_rows(v, stride, next, next_last, tile, tiles);
                else prefetch_rows(dout, dout_stride, next, next_last, tile, tiles);
                if (PASS == BACKWARD_ALL) prefetch_rows(dq, gradient_stride, other, next, tile, tiles);
                weights(rows_a, rows_b, own_a[tile], own_b[tile], minus_lse, minus_lse_rest, minus_delta, tile, count, weight, gradient);
                accumulate(rows_a, gradient[0][tile % GRADIENT_TILES], GRADIENT_TILES * VECTORS, count, total_a[tile]);
#if PASS != BACKWARD_QUERIES
                accumulate(rows_b, weight[0], VECTORS, count, total_b[tile]);
#endif
            }
#if PASS == BACKWARD_ALL
            store_queries(gradient, keys, own_count, count, shift > 0 || own > own_first, dq + other * gradient_stride, gradient_stride);
#endif
        }
#if PASS == BACKWARD_QUERIES
        store_lanes(total_a, own_count, scale * M_LN2_F, shift > 0, dq + own * gradient_stride, gradient_stride);
#else
        store_lanes(total_a, own_count, M_LN2_F, shift > 0, dk + own * gradient_stride, gradient_stride);
        store_lanes(total_b, own_count, 1.0f, shift > 0, dv + own * gradient_stride, gradient_stride);
#endif
    }
}
