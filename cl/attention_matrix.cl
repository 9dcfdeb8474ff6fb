// Fused self-attention on the matrix unit: out = softmax(Q K^T / sqrt(HEAD)) V for each head, 16-bit operands and float32 sums (matrix.clh), never an
// N x N matrix. Arguments as in attention_cpu.cl; q, k, v of X_TYPE and out of Y_TYPE as they are stored, float32 ones are rounded on their way.
// A work-group owns QUERIES queries of one head, a team TEAM_QUERIES of them, and walks the keys in blocks of KEYS through local memory, STEP_KEYS at a
// time, with an online softmax (Milakov & Gimelshein 2018; Dao 2023). Own tokens (matrix_rows.clh) are queries:
//
//          STEP_KEYS          HEAD       S = Q K^T        fragments of Q stay in registers, K lies as rows (attention_matrix.clh)
//         +---------+      +--------+    P = 2^(S - max)  a query's maximum is its items' together, its sum is theirs at the end
// TEAM_   |    P    | STEP |   V    |    out = P V        P never leaves registers: sums become operands; V lies across
// QUERIES +---------+ KEYS +--------+
//
// Local size (ITEMS), groups (ceil(tokens / QUERIES), heads, samples). Scale and the base of the exponential are applied to float32 S. The exponential is
// native_exp2 whatever `math` says: weights are then rounded to 16 bits, which is a thousand times as coarse. What is summed, and divided by, are the
// rounded weights: so they sum to one, and what all values have in common is not rounded with them.
#include "common.clh"
#include "storage.clh"
#ifndef HEAD
#define HEAD 40 // head size, 1 to 128
#endif
#ifndef TEAMS
#define TEAMS 4
#endif
#ifndef TEAM_QUERIES
#define TEAM_QUERIES 16 // a multiple of MATRIX_OWN
#endif
#ifndef KEYS
#define KEYS 64 // in local memory, a multiple of STEP_KEYS
#endif
#ifndef STEP_KEYS
#define STEP_KEYS 32 // a multiple of 16
#endif
#ifndef X_TYPE
#define X_TYPE MATRIX_TYPE // f32 or MATRIX_TYPE
#endif
#ifndef Y_TYPE
#define Y_TYPE MATRIX_TYPE // any
#endif
#ifndef EIGHTS
#define EIGHTS 0 // 1: HEAD and stride are multiples of 8, q, k and v aligned to 16 bytes
#endif
#include "attention_matrix.clh"
#define QUERIES (TEAMS * TEAM_QUERIES)
#define SUMS_OWN (TEAM_QUERIES / MATRIX_OWN)
#define SUMS_OTHER (STEP_KEYS / MATRIX_OTHER)
#define STEPS_KEYS (STEP_KEYS / MATRIX_K)
#define TILE_ROWS (QUERIES * ROW_STEP) // Q, before K and V take its place
#define TILE_KEYS (KEYS * ROW_STEP + KEYS / 2 * ACROSS_STEP)

// Keys past the last one get no weight.
static inline void mask_scores(matrix_sum score[SUMS_OWN][SUMS_OTHER], const int keys_left, const int lane)
{
#pragma unroll MATRIX_UNROLL
    for (int m = 0; m < SUMS_OWN; m++)
#pragma unroll MATRIX_UNROLL
        for (int n = 0; n < SUMS_OTHER; n++)
#pragma unroll MATRIX_UNROLL
            for (int i = 0; i < MATRIX_VALUES; i++)
                if (n * MATRIX_OTHER + matrix_other_token(lane, i) >= keys_left) VALUE(score[m][n], i) = -INFINITY;
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) MATRIX_ATTRIBUTES void
attention_forward(TENSOR(const OPERAND(X_TYPE), q), TENSOR(const OPERAND(X_TYPE), k), TENSOR(const OPERAND(X_TYPE), v), TENSOR(ELEMENT(Y_TYPE), out),
                  TENSOR(float, lse), const int tokens, const int stride, const int heads, const float scale, const int write_lse)
{
    __local uint4 tiles[(TILE_ROWS > TILE_KEYS ? TILE_ROWS : TILE_KEYS) / 4];
    MATRIX_ROWS_SCRATCH(scratch, TEAMS);
    __local uint *qs = (__local uint *)tiles, *ks = qs, *vs = qs + KEYS * ROW_STEP;
    const int lane = get_local_id(0) % MATRIX_TEAM, own = get_local_id(0) / MATRIX_TEAM * TEAM_QUERIES;
    const int first = GROUP_ID(0) * QUERIES, head = GROUP_ID(1);
    const size_t row = (size_t)GROUP_ID(2) * tokens; // the sample's first
    START(q);
    START(k);
    START(v);
    START(out);
    START(lse);
    q += row * stride + head * HEAD;
    k += row * stride + head * HEAD;
    v += row * stride + head * HEAD;
    out += (row * heads + head) * HEAD;
    lse += row * heads + head * tokens;

    load_rows(q, stride, first, QUERIES, tokens, qs);
    barrier(CLK_LOCAL_MEM_FENCE);
    matrix_own query[SUMS_OWN][STEPS_K];
    matrix_sum total[SUMS_OWN][SUMS_CHANNELS];
    matrix_owns highest[SUMS_OWN], sum[SUMS_OWN];
#pragma unroll MATRIX_UNROLL
    for (int m = 0; m < SUMS_OWN; m++) {
#pragma unroll MATRIX_UNROLL
        for (int c = 0; c < STEPS_K; c++) query[m][c] = matrix_load_own(qs + (own + m * MATRIX_OWN) * ROW_STEP + c * MATRIX_K / 2, ROW_STEP, 1, lane);
#pragma unroll MATRIX_UNROLL
        for (int n = 0; n < SUMS_CHANNELS; n++) total[m][n] = 0.0f;
        highest[m] = -INFINITY;
        sum[m] = 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int key0 = 0; key0 < tokens; key0 += KEYS) {
        load_rows(k, stride, key0, KEYS, tokens, ks);
        load_across(v, stride, key0, KEYS, tokens, vs);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int step = 0; step < KEYS; step += STEP_KEYS) {
            matrix_sum score[SUMS_OWN][SUMS_OTHER];
#pragma unroll MATRIX_UNROLL
            for (int m = 0; m < SUMS_OWN; m++)
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_OTHER; n++) score[m][n] = 0.0f;
#pragma unroll MATRIX_UNROLL
            for (int c = 0; c < STEPS_K; c++)
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_OTHER; n++) {
                    const matrix_other key = matrix_load_other(ks + (step + n * MATRIX_OTHER) * ROW_STEP + c * MATRIX_K / 2, ROW_STEP, 1, lane);
#pragma unroll MATRIX_UNROLL
                    for (int m = 0; m < SUMS_OWN; m++) score[m][n] = matrix_multiply(score[m][n], query[m][c], key, lane, scratch);
                }
            if (key0 + step + STEP_KEYS > tokens) mask_scores(score, tokens - key0 - step, lane);

#pragma unroll MATRIX_UNROLL
            for (int m = 0; m < SUMS_OWN; m++) {
                const matrix_owns before = fma(highest[m], -scale, WEIGHT_SHIFT);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_OTHER; n++) highest[m] = fmax(highest[m], matrix_most(score[m][n]));
                highest[m] = matrix_most_of_team(highest[m], lane, scratch);
                const matrix_owns offset = fma(highest[m], -scale, WEIGHT_SHIFT), rescale = native_exp2(offset - before);
                sum[m] *= rescale;
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_OTHER; n++) {
                    score[m][n] = native_exp2(fma(score[m][n], scale, matrix_spread(offset)));
                    sum[m] += matrix_total(matrix_rounded(score[m][n]));
                }
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_CHANNELS; n++) total[m][n] *= matrix_spread(rescale);
            }

#pragma unroll MATRIX_UNROLL
            for (int t = 0; t < STEPS_KEYS; t++) {
                matrix_own weight[SUMS_OWN];
#pragma unroll MATRIX_UNROLL
                for (int m = 0; m < SUMS_OWN; m++) weight[m] = matrix_sums_as_own(score[m] + t * (MATRIX_K / MATRIX_OTHER), lane, scratch);
#pragma unroll MATRIX_UNROLL
                for (int n = 0; n < SUMS_CHANNELS; n++) {
                    const matrix_other value = matrix_load_other(vs + (step + t * MATRIX_K) / 2 * ACROSS_STEP + n * MATRIX_OTHER, 1, ACROSS_STEP, lane);
#pragma unroll MATRIX_UNROLL
                    for (int m = 0; m < SUMS_OWN; m++) total[m][n] = matrix_multiply(total[m][n], weight[m], value, lane, scratch);
                }
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#pragma unroll MATRIX_UNROLL
    for (int m = 0; m < SUMS_OWN; m++) {
        sum[m] = matrix_total_of_team(sum[m], lane, scratch);
        const matrix_owns logarithm = log(sum[m]) - fma(highest[m], -scale, WEIGHT_SHIFT) * M_LN2_F;
        const int team_first = first + own + m * MATRIX_OWN;
#pragma unroll MATRIX_UNROLL
        for (int i = 0; i < MATRIX_OWNS; i++) {
            const int value = i * MATRIX_VALUES / MATRIX_OWNS, token = team_first + matrix_own_token(lane, value);
            if (write_lse && token < tokens && matrix_other_token(lane, value) == 0) lse[token] = VALUE(logarithm, i);
        }
        store_sums(total[m], matrix_spread(1 / sum[m]), team_first, tokens, lane, out, heads * HEAD);
    }
}
