// Backward pass of fused self-attention on the matrix unit, 16-bit operands and float32 sums (matrix.clh), in two passes or three (Dao 2023 has one: the sums
// of dQ then pass through memory once for every block of keys). Arguments as in attention_cpu_backward.cl, but `range` instead of slices; all that is
// read is of X_TYPE, what is written of Y_TYPE.
// A work-group owns OWN tokens of one head, a team MATRIX_OWN of them (matrix_rows.clh), and walks the `other` ones in blocks of OTHERS through local memory,
// STEP_OTHERS at a time:
//
//      BACKWARD_KEYS      own K and V, others Q and dO:    S = K Q^T,  P  = 2^(S - lse)          dV = P dO
//                                                          D = V dO^T, dS = P (D - delta)        dK = dS Q
//      BACKWARD_QUERIES   own Q and dO, others K and V:    S = Q K^T,  D = dO V^T, P, dS alike   dQ = dS K
//
// so `first` are K and Q, `second` are V and dO. Own ones are operands from registers, or with OWN_LOCAL from local memory; others lie there as rows
// for S and D, across for the gradients (attention_matrix.clh). P and dS never leave registers: sums become operands.
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
#ifndef GRADIENTS
#define GRADIENTS 3 // 1: dK or dQ; of BACKWARD_KEYS also 2: dV, 3: both, for which registers have to hold twice the sums
#endif
#define OF_FIRST (GRADIENTS & 1)
#define OF_SECOND (GRADIENTS & 2)
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
#define OWN (TEAMS * MATRIX_OWN)
#define SUMS_OTHER (STEP_OTHERS / MATRIX_OTHER)
#define STEPS_OTHERS (STEP_OTHERS / MATRIX_K)
#define OWN_UINTS (OWN * ROW_STEP)
#define ROWS_UINTS (OTHERS * ROW_STEP)
#define ACROSS_UINTS (OTHERS / 2 * ACROSS_STEP)
#define OTHERS_UINTS (ROWS_UINTS + (OF_FIRST ? ROWS_UINTS + ACROSS_UINTS : 0) + (OF_SECOND ? ACROSS_UINTS : 0))
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

#if OWN_LOCAL
#ifndef OWN_UNROLL
#define OWN_UNROLL 1
#endif
#define OWN_FRAGMENT(from, registers, c) matrix_load_own(from + (c)*MATRIX_K / 2, ROW_STEP, 1, lane)
#else
#define OWN_UNROLL MATRIX_UNROLL
#define OWN_FRAGMENT(from, registers, c) registers[c]
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) MATRIX_ATTRIBUTES void
attention_backward(TENSOR(const OPERAND(X_TYPE), q), TENSOR(const OPERAND(X_TYPE), k), TENSOR(const OPERAND(X_TYPE), v), TENSOR(const float, lse),
                   TENSOR(const float, delta), TENSOR(const float, range), TENSOR(const OPERAND(X_TYPE), dout), TENSOR(ELEMENT(Y_TYPE), dq),
                   TENSOR(ELEMENT(Y_TYPE), dk), TENSOR(ELEMENT(Y_TYPE), dv), const int tokens, const int stride, const int gradient_stride, const int heads,
                   const float scale)
{
    __local uint4 tiles[TILE_UINTS / 4];
    __local float2 values[OTHERS];
    MATRIX_ROWS_SCRATCH(scratch, TEAMS);
    __local uint *first_rows = (__local uint *)tiles, *second_rows = first_rows + ROWS_UINTS;
    __local uint *first_across = second_rows + ROWS_UINTS, *second_across = OF_FIRST ? first_across + ACROSS_UINTS : second_rows;
    const int lane = get_local_id(0) % MATRIX_TEAM, team = get_local_id(0) / MATRIX_TEAM * MATRIX_OWN;
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
#else
    __global const OPERAND(X_TYPE) *own_first = q, *own_second = dout, *first = k, *second = v;
    const int own_second_stride = dout_stride, second_stride = stride;
    matrix_owns own_offset, own_delta;
#pragma unroll MATRIX_UNROLL
    for (int i = 0; i < MATRIX_OWNS; i++) {
        const int query = own + team + matrix_own_token(lane, i * MATRIX_VALUES / MATRIX_OWNS);
        const float2 of_query = query_values(lse, delta, query, tokens, head_range);
        VALUE(own_offset, i) = of_query.x;
        VALUE(own_delta, i) = of_query.y;
    }
    const matrix_sum offset = matrix_spread(own_offset), deltas = matrix_spread(own_delta);
#endif

#if OWN_LOCAL
    __local uint *own_first_rows = (__local uint *)tiles + OTHERS_UINTS, *own_second_rows = own_first_rows + OWN_UINTS;
    load_rows(own_first, stride, own, OWN, tokens, own_first_rows);
    if (OF_FIRST) load_rows(own_second, own_second_stride, own, OWN, tokens, own_second_rows);
    own_first_rows += team * ROW_STEP;
    own_second_rows += team * ROW_STEP;
#else
    matrix_own first_fragments[STEPS_K], second_fragments[STEPS_K];
    load_rows(own_first, stride, own, OWN, tokens, first_rows);
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll MATRIX_UNROLL
    for (int c = 0; c < STEPS_K; c++) first_fragments[c] = matrix_load_own(first_rows + team * ROW_STEP + c * MATRIX_K / 2, ROW_STEP, 1, lane);
    barrier(CLK_LOCAL_MEM_FENCE);
#if OF_FIRST
    load_rows(own_second, own_second_stride, own, OWN, tokens, first_rows);
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll MATRIX_UNROLL
    for (int c = 0; c < STEPS_K; c++) second_fragments[c] = matrix_load_own(first_rows + team * ROW_STEP + c * MATRIX_K / 2, ROW_STEP, 1, lane);
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
#endif
    matrix_sum first_total[SUMS_CHANNELS], second_total[SUMS_CHANNELS];
#pragma unroll MATRIX_UNROLL
    for (int n = 0; n < SUMS_CHANNELS; n++) first_total[n] = second_total[n] = 0.0f;

    for (int other = 0; other < tokens; other += OTHERS) {
#if OF_FIRST
        load_rows_and_across(first, stride, other, OTHERS, tokens, first_rows, first_across);
#else
        load_rows(first, stride, other, OTHERS, tokens, first_rows);
#endif
#if OF_FIRST && OF_SECOND
        load_rows_and_across(second, second_stride, other, OTHERS, tokens, second_rows, second_across);
#elif OF_SECOND
        load_across(second, second_stride, other, OTHERS, tokens, second_across);
#else
        load_rows(second, second_stride, other, OTHERS, tokens, second_rows);
#endif
#if PASS == BACKWARD_KEYS
        for (int i = get_local_id(0); i < OTHERS; i += ITEMS) values[i] = query_values(lse, delta, other + i, tokens, head_range);
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int step = 0; step < OTHERS; step += STEP_OTHERS) {
            matrix_sum weight[SUMS_OTHER], slope[SUMS_OTHER]; // S, then P; D, then dS
#pragma unroll MATRIX_UNROLL
            for (int n = 0; n < SUMS_OTHER; n++) weight[n] = slope[n] = 0.0f;
#pragma unroll OWN_UNROLL
            for (int c = 0; c < STEPS_K; c++) {
                const matrix_own of_first = OWN_FRAGMENT(own_first_rows, first_fragments, c);
#if OF_FIRST
                const matrix_own of_second = OWN_FRAGMENT(own_second_rows, second_fragments, c);
#endif
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_OTHER; n++) {
                    const int at = (step + n * MATRIX_OTHER) * ROW_STEP + c * MATRIX_K / 2;
                    weight[n] = matrix_multiply(weight[n], of_first, matrix_load_other(first_rows + at, ROW_STEP, 1, lane), lane, scratch);
#if OF_FIRST
                    slope[n] = matrix_multiply(slope[n], of_second, matrix_load_other(second_rows + at, ROW_STEP, 1, lane), lane, scratch);
#endif
                }
            }
#pragma unroll MATRIX_UNROLL
            for (int n = 0; n < SUMS_OTHER; n++)
#pragma unroll MATRIX_UNROLL
                for (int i = 0; i < MATRIX_VALUES; i++) {
                    const int at = step + n * MATRIX_OTHER + matrix_other_token(lane, i);
#if PASS == BACKWARD_KEYS
                    const float2 of_query = values[at];
                    const float power = fma(VALUE(weight[n], i), scale, of_query.x);
#else
                    const float2 of_query = (float2)(VALUE(offset, i), VALUE(deltas, i));
                    const float power = other + at < tokens ? fma(VALUE(weight[n], i), scale, of_query.x) : -INFINITY;
#endif
                    VALUE(weight[n], i) = native_exp2(power);
                    VALUE(slope[n], i) = VALUE(weight[n], i) * fma(VALUE(slope[n], i), head_range, of_query.y);
                }
#pragma unroll MATRIX_UNROLL
            for (int t = 0; t < STEPS_OTHERS; t++) {
                const int at = (step + t * MATRIX_K) / 2 * ACROSS_STEP;
#if OF_SECOND
                const matrix_own p = matrix_sums_as_own(weight + t * (MATRIX_K / MATRIX_OTHER), lane, scratch);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_CHANNELS; n++)
                    second_total[n] =
                        matrix_multiply(second_total[n], p, matrix_load_other(second_across + at + n * MATRIX_OTHER, 1, ACROSS_STEP, lane), lane, scratch);
#endif
#if OF_FIRST
                const matrix_own ds = matrix_sums_as_own(slope + t * (MATRIX_K / MATRIX_OTHER), lane, scratch);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_CHANNELS; n++)
                    first_total[n] =
                        matrix_multiply(first_total[n], ds, matrix_load_other(first_across + at + n * MATRIX_OTHER, 1, ACROSS_STEP, lane), lane, scratch);
#endif
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const float unshift = exp2(-WEIGHT_SHIFT), of_slopes = unshift / head_range * scale * M_LN2_F;
    const size_t gradient_row = row * gradient_stride + head * HEAD;
#if PASS == BACKWARD_QUERIES
    START(dq);
    store_sums(first_total, (matrix_sum)(of_slopes), own + team, tokens, lane, dq + gradient_row, gradient_stride);
#elif OF_FIRST
    START(dk);
    store_sums(first_total, (matrix_sum)(of_slopes), own + team, tokens, lane, dk + gradient_row, gradient_stride);
#endif
#if OF_SECOND
    START(dv);
    store_sums(second_total, (matrix_sum)(unshift), own + team, tokens, lane, dv + gradient_row, gradient_stride);
#endif
}
