// The permutation in the sampling operator, over the `rows` x `vectors` pixels of each sample. VEC = 1.
#include "common.clh"
#include "rows.clh"

// y[n][i] = x[n][index[i]]
ROWS_KERNEL permute(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const int, index), TENSOR(float, y))
{
    START(x);
    START(index);
    START(y);
    const int sample = GROUP_ID(2) * rows * vectors;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) {
            const int i = row * vectors + column;
            y[sample + i] = x[sample + index[i]];
        }
}

// inverse[perm[i]] = i; one sample.
ROWS_KERNEL invert(const int rows, const int vectors, const int block, TENSOR(const int, perm), TENSOR(int, inverse))
{
    START(perm);
    START(inverse);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) inverse[perm[row * vectors + column]] = row * vectors + column;
}
