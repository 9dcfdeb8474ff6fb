// Backward pass of fused self-attention on the matrix unit, 16-bit operands and float32 sums (matrix.clh), in two passes (Dao 2023 has one: the sums of dQ
// then pass through memory once for every block of keys). Arguments as in attention_cpu_backward.cl, but `range` instead of slices; all that is
// read is of X_TYPE, what is written of Y_TYPE.
// A work-group owns OWN tokens of one head, a team 16 of them, and walks the `other` ones in blocks of OTHERS through local memory, STEP_OTHERS at a time:
//
//      BACKWARD_KEYS      own K and V, others Q and dO:    S = K Q^T,  P  = 2^(S - lse)          dV = P dO
//                                                          D = V dO^T, dS = P (D - delta)        dK = dS Q
//      BACKWARD_QUERIES   own Q and dO, others K and V:    S = Q K^T,  D = dO V^T, P, dS alike   dQ = dS K
//
// so `first` are K and Q, `second` are V and dO. Own ones are first operands, from registers, or with OWN_LOCAL from local memory; others lie there as rows
// for S and D, across for the gradients (attention_matrix.clh). P and dS never leave registers: sums become first operands.
// P is rounded to 16 bits times 2^WEIGHT_SHIFT, dS besides times its head's `range`, a power of two by which every |D - delta| is at most 1
// (attention_matrix_delta.cl): half holds both over 29 powers of two.
// Local size (ITEMS), groups (ceil(tokens / OWN), heads, samples).
#include "common.clh"
#include "storage.clh"
#define BACKWARD_KEYS 1
#define BACKWARD_QUERIES 2
#ifndef PASS
#define PASS BACKWARD_KEYS
#endif
#ifndef HEAD
#define HEAD 40 // head size, 1 to 128
#endif
#ifndef TEAMS
#define TEAMS 4
#endif
#ifndef OTHERS
#define OTHERS 32 // in local memory, a multiple of STEP_OTHERS
#endif
#ifndef STEP_OTHERS
#define STEP_OTHERS 16 // a multiple of 16
#endif
#ifndef OWN_LOCAL
#define OWN_LOCAL 0
#endif
#ifndef X_TYPE
#define X_TYPE MATRIX_TYPE // f32 or MATRIX_TYPE
#endif
#ifndef Y_TYPE
#define Y_TYPE MATRIX_TYPE // any
#endif
#ifndef EIGHTS
#define EIGHTS 0 // 1: HEAD and stride are multiples of 8, what is read is aligned to 16 bytes
#endif
#include "attention_matrix.clh"
#define OWN (TEAMS * MATRIX_M)
#define SCORES_N (STEP_OTHERS / MATRIX_N)
#define STEPS_OTHERS (STEP_OTHERS / MATRIX_K)
#define OWN_UINTS (OWN * ROW_STEP)
#define ROWS_UINTS (OTHERS * ROW_STEP)
#define ACROSS_UINTS (OTHERS / 2 * ACROSS_STEP)
#if PASS == BACKWARD_KEYS
#define OTHERS_UINTS (2 * ROWS_UINTS + 2 * ACROSS_UINTS)
#else
#define OTHERS_UINTS (2 * ROWS_UINTS + ACROSS_UINTS)
#endif
#if OWN_LOCAL
#define TILE_UINTS (OTHERS_UINTS + 2 * OWN_UINTS)
#else // own tokens are in registers before others take their place, the second ones after the first
#define TILE_UINTS (OTHERS_UINTS > OWN_UINTS ? OTHERS_UINTS : OWN_UINTS)
#endif

// What P and dS need of a query: 15 - lse log2(e) and -delta range. A query past the last one gets no weight.
static inline float2 query_values(__global const float *lse, __global const float *delta, const int query, const int tokens, const float range)
{
    return query < tokens ? (float2)(fma(lse[query], -M_LOG2E_F, WEIGHT_SHIFT), -delta[query] * range) : (float2)(-INFINITY, 0.0f);
}

// Writes sums times `factor` to the team's rows of a tensor, `own` the first. Inlined, or the sums would have an address.
__attribute__((always_inline)) static inline void store_sums(const matrix_sum *total, const float factor, const int own, const int tokens, const int lane,
                              __global ELEMENT(Y_TYPE) * to, const int stride)
{
#pragma unroll MATRIX_UNROLL
    for (int n = 0; n < TILES_N; n++) {
        matrix_sum values = total[n] * factor;
#pragma unroll MATRIX_UNROLL
        for (int i = 0; i < MATRIX_VALUES; i++) {
            const int token = own + matrix_row(lane, i), channel = n * MATRIX_N + matrix_column(lane, i);
            const float value = VALUE(values, i);
            if (token < tokens && channel < HEAD) STORE1(Y_TYPE, value, to + token * stride + channel);
        }
    }
}

#if OWN_LOCAL
#ifndef OWN_UNROLL
#define OWN_UNROLL 1
#endif
#define OWN_FRAGMENT(from, registers, c) matrix_load_a(from + (c)*MATRIX_K / 2, ROW_STEP, 1, lane)
#else
#define OWN_UNROLL MATRIX_UNROLL
#define OWN_FRAGMENT(from, registers, c) registers[c]
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_backward(TENSOR(const OPERAND(X_TYPE), q), TENSOR(const OPERAND(X_TYPE), k), TENSOR(const OPERAND(X_TYPE), v), TENSOR(const float, lse),
                   TENSOR(const float, delta), TENSOR(const float, range), TENSOR(const OPERAND(X_TYPE), dout), TENSOR(ELEMENT(Y_TYPE), dq),
                   TENSOR(ELEMENT(Y_TYPE), dk), TENSOR(ELEMENT(Y_TYPE), dv), const int tokens, const int stride, const int gradient_stride, const int heads,
                   const float scale)
{
    __local uint4 tiles[TILE_UINTS / 4];
    __local float2 values[OTHERS];
    MATRIX_SCRATCH(scratch, TEAMS);
    __local uint *first_rows = (__local uint *)tiles, *second_rows = first_rows + ROWS_UINTS;
    __local uint *first_across = second_rows + ROWS_UINTS;
    const int lane = get_local_id(0) % MATRIX_TEAM, team = get_local_id(0) / MATRIX_TEAM * MATRIX_M;
    const int own = GROUP_ID(0) * OWN, head = GROUP_ID(1), dout_stride = heads * HEAD;
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    START(q);
    START(k);
    START(v);
    START(lse);
    START(delta);
    START(range);
    START(dout);
    q += row * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    lse += row * heads + head * tokens;
    delta += row * heads + head * tokens;
    dout += row * dout_stride + head * HEAD;
    const float head_range = range[GROUP_ID(2) * heads + head];
#if PASS == BACKWARD_KEYS
    __global const OPERAND(X_TYPE) *own_first = k, *own_second = v, *first = q, *second = dout;
    const int own_second_stride = stride, second_stride = dout_stride;
    __local uint *second_across = first_across + ACROSS_UINTS;
    matrix_sum second_total[TILES_N];
#else
    __global const OPERAND(X_TYPE) *own_first = q, *own_second = dout, *first = k, *second = v;
    const int own_second_stride = dout_stride, second_stride = stride;
    matrix_sum offset, own_delta;
#pragma unroll MATRIX_UNROLL
    for (int i = 0; i < MATRIX_VALUES; i++) {
        const float2 of_query = query_values(lse, delta, own + team + matrix_row(lane, i), tokens, head_range);
        VALUE(offset, i) = of_query.x;
        VALUE(own_delta, i) = of_query.y;
    }
#endif

#if OWN_LOCAL
    __local uint *own_first_rows = (__local uint *)tiles + OTHERS_UINTS, *own_second_rows = own_first_rows + OWN_UINTS;
    load_rows(own_first, stride, own, OWN, tokens, own_first_rows);
    load_rows(own_second, own_second_stride, own, OWN, tokens, own_second_rows);
    own_first_rows += team * ROW_STEP;
    own_second_rows += team * ROW_STEP;
#else
    matrix_a first_fragments[STEPS_K], second_fragments[STEPS_K];
    load_rows(own_first, stride, own, OWN, tokens, first_rows);
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll MATRIX_UNROLL
    for (int c = 0; c < STEPS_K; c++) first_fragments[c] = matrix_load_a(first_rows + team * ROW_STEP + c * MATRIX_K / 2, ROW_STEP, 1, lane);
    barrier(CLK_LOCAL_MEM_FENCE);
    load_rows(own_second, own_second_stride, own, OWN, tokens, first_rows);
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll MATRIX_UNROLL
    for (int c = 0; c < STEPS_K; c++) second_fragments[c] = matrix_load_a(first_rows + team * ROW_STEP + c * MATRIX_K / 2, ROW_STEP, 1, lane);
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    matrix_sum first_total[TILES_N];
#pragma unroll MATRIX_UNROLL
    for (int n = 0; n < TILES_N; n++) {
        first_total[n] = 0.0f;
#if PASS == BACKWARD_KEYS
        second_total[n] = 0.0f;
#endif
    }

    for (int other = 0; other < tokens; other += OTHERS) {
        load_rows_and_across(first, stride, other, OTHERS, tokens, first_rows, first_across);
#if PASS == BACKWARD_KEYS
        load_rows_and_across(second, second_stride, other, OTHERS, tokens, second_rows, second_across);
        for (int i = get_local_id(0); i < OTHERS; i += ITEMS) values[i] = query_values(lse, delta, other + i, tokens, head_range);
#else
        load_rows(second, second_stride, other, OTHERS, tokens, second_rows);
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int step = 0; step < OTHERS; step += STEP_OTHERS) {
            matrix_sum weight[SCORES_N], slope[SCORES_N]; // S, then P; D, then dS
#pragma unroll MATRIX_UNROLL
            for (int n = 0; n < SCORES_N; n++) weight[n] = slope[n] = 0.0f;
#pragma unroll OWN_UNROLL
            for (int c = 0; c < STEPS_K; c++) {
                const matrix_a of_first = OWN_FRAGMENT(own_first_rows, first_fragments, c), of_second = OWN_FRAGMENT(own_second_rows, second_fragments, c);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SCORES_N; n++) {
                    const int at = (step + n * MATRIX_N) * ROW_STEP + c * MATRIX_K / 2;
                    weight[n] = matrix_multiply_add(weight[n], of_first, matrix_load_b(first_rows + at, ROW_STEP, 1, lane), lane, scratch);
                    slope[n] = matrix_multiply_add(slope[n], of_second, matrix_load_b(second_rows + at, ROW_STEP, 1, lane), lane, scratch);
                }
            }
#pragma unroll MATRIX_UNROLL
            for (int n = 0; n < SCORES_N; n++)
#pragma unroll MATRIX_UNROLL
                for (int i = 0; i < MATRIX_VALUES; i++) {
                    const int column = step + n * MATRIX_N + matrix_column(lane, i);
#if PASS == BACKWARD_KEYS
                    const float2 of_query = values[column];
                    const float power = fma(VALUE(weight[n], i), scale, of_query.x);
#else
                    const float2 of_query = (float2)(VALUE(offset, i), VALUE(own_delta, i));
                    const float power = other + column < tokens ? fma(VALUE(weight[n], i), scale, of_query.x) : -INFINITY;
#endif
                    VALUE(weight[n], i) = native_exp2(power);
                    VALUE(slope[n], i) = VALUE(weight[n], i) * fma(VALUE(slope[n], i), head_range, of_query.y);
                }
#pragma unroll MATRIX_UNROLL
            for (int t = 0; t < STEPS_OTHERS; t++) {
                const int at = (step + t * MATRIX_K) / 2 * ACROSS_STEP;
#if PASS == BACKWARD_KEYS
                const matrix_a p = matrix_sum_as_a(weight + t * (MATRIX_K / MATRIX_N), lane, scratch);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < TILES_N; n++)
                    second_total[n] =
                        matrix_multiply_add(second_total[n], p, matrix_load_b(second_across + at + n * MATRIX_N, 1, ACROSS_STEP, lane), lane, scratch);
#endif
                const matrix_a ds = matrix_sum_as_a(slope + t * (MATRIX_K / MATRIX_N), lane, scratch);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < TILES_N; n++)
                    first_total[n] = matrix_multiply_add(first_total[n], ds, matrix_load_b(first_across + at + n * MATRIX_N, 1, ACROSS_STEP, lane), lane, scratch);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const float unshift = exp2(-WEIGHT_SHIFT), of_slopes = unshift / head_range * scale * M_LN2_F;
    const size_t gradient_row = row * gradient_stride + head * HEAD;
#if PASS == BACKWARD_KEYS
    START(dk);
    START(dv);
    store_sums(first_total, of_slopes, own + team, tokens, lane, dk + gradient_row, gradient_stride);
    store_sums(second_total, unshift, own + team, tokens, lane, dv + gradient_row, gradient_stride);
#else
    START(dq);
    store_sums(first_total, of_slopes, own + team, tokens, lane, dq + gradient_row, gradient_stride);
#endif
}
