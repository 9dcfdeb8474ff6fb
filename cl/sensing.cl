// The permutation in the sampling operator: y[n][i] = x[n][index[i]] over the `rows` x `vectors` pixels of each sample. VEC = 1.
#include "common.clh"
#include "rows.clh"

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
