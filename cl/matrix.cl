// What the matrix unit (matrix.clh) makes of one A (M x K) and one B (K x N), row-major, whose values MATRIX_TYPE represents: for the host to see that it is
// there and right, and how its fragments lie. One team.
//   product (M x N) = A B + first (M x N);  fragments: of each lane the words of A, those of B, and the floats of the product as bits
#include "common.clh"
#include "storage.clh"
#include "matrix.clh"
#define WORDS (MATRIX_A_WORDS + MATRIX_B_WORDS + MATRIX_VALUES)

__kernel __attribute__((reqd_work_group_size(MATRIX_TEAM, 1, 1))) MATRIX_ATTRIBUTES void matrix_probe(TENSOR(const float, a), TENSOR(const float, b),
                                                                                                     TENSOR(const float, first), TENSOR(float, product),
                                                                                                     TENSOR(uint, fragments))
{
    __local uint rows[MATRIX_M * MATRIX_K / 2], columns[MATRIX_N * MATRIX_K / 2];
    MATRIX_SCRATCH(scratch, 1);
    START(a);
    START(b);
    START(first);
    START(product);
    START(fragments);
    const int lane = get_local_id(0);
    for (int i = lane; i < MATRIX_M * MATRIX_K / 2; i += MATRIX_TEAM) rows[i] = matrix_pair(a[2 * i], a[2 * i + 1]);
    for (int i = lane; i < MATRIX_N * MATRIX_K / 2; i += MATRIX_TEAM) {
        const int n = i % MATRIX_N, pair = i / MATRIX_N;
        columns[i] = matrix_pair(b[2 * pair * MATRIX_N + n], b[(2 * pair + 1) * MATRIX_N + n]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    const matrix_a left = matrix_load_a(rows, MATRIX_K / 2, 1, lane);
    const matrix_b right = matrix_load_b(columns, 1, MATRIX_N, lane);
    float values[MATRIX_VALUES];
    for (int i = 0; i < MATRIX_VALUES; i++) values[i] = first[matrix_row(lane, i) * MATRIX_N + matrix_column(lane, i)];
    matrix_values(matrix_multiply_add(matrix_of_values(values), left, right, lane, scratch), values);
    for (int i = 0; i < MATRIX_VALUES; i++) product[matrix_row(lane, i) * MATRIX_N + matrix_column(lane, i)] = values[i];
    __global uint *to = fragments + lane * WORDS;
    for (int i = 0; i < MATRIX_A_WORDS; i++) to[i] = ((const uint *)&left)[i];
    for (int i = 0; i < MATRIX_B_WORDS; i++) to[MATRIX_A_WORDS + i] = ((const uint *)&right)[i];
    for (int i = 0; i < MATRIX_VALUES; i++) to[MATRIX_A_WORDS + MATRIX_B_WORDS + i] = as_uint(values[i]);
}
