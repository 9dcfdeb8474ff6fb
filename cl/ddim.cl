// DDIM steps on image planes. VEC = 1; rows and vectors are the lines and columns of a plane; both are even. alpha_bar outside (0, 1)
// gives NaN, which stays.
#include "common.clh"
#include "ddim.clh"
#include "epilogue.clh"
#include "rows.clh"

// One item: alpha_bar[0] = 1, alpha_bar[t] = alpha[0] ... alpha[t - 1].
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void alpha_bar_forward(const int steps, TENSOR(const float, alpha), TENSOR(float, alpha_bar))
{
    START(alpha);
    START(alpha_bar);
    float product = 1.0f;
    alpha_bar[0] = product;
    for (int t = 0; t < steps; t++) alpha_bar[t + 1] = product *= alpha[t];
}

// x = sqrt(alpha_bar[t]) b
ROWS_KERNEL ddim_start(const int rows, const int vectors, const int block, const int t, TENSOR(const float, b),
                       TENSOR(const float, alpha_bar), TENSOR(float, x))
{
    START(b);
    START(alpha_bar);
    START(x);
    const int sample = GROUP_ID(2) * rows * vectors;
    const float factor = sqrt(alpha_bar[t]);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) {
            const int i = sample + row * vectors + column;
            x[i] = factor * b[i];
        }
}

// x0 = (x - sqrt(1 - alpha_bar[t]) e) / sqrt(alpha_bar[t]), written in the shuffled order that A reads.
ROWS_KERNEL ddim_estimate(const int rows, const int vectors, const int block, const int t, TENSOR(const float, x), TENSOR(const float, e),
                          TENSOR(const float, alpha_bar), TENSOR(const int, inverse), TENSOR(float, x0))
{
    START(x);
    START(e);
    START(alpha_bar);
    START(inverse);
    START(x0);
    const int sample = GROUP_ID(2) * rows * vectors;
    const float noise = sqrt(1.0f - alpha_bar[t]), signal = sqrt(alpha_bar[t]);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) {
            const int i = row * vectors + column;
            x0[sample + inverse[i]] = (x[sample + i] - noise * e[sample + noise_index(row, column, vectors)]) / signal;
        }
}

// result = epilogue(sqrt(alpha_bar[t - 1]) (x0 - z + b) + sqrt(1 - alpha_bar[t - 1]) e); x0 and z = A^T A x0 in shuffled order, b = A^T y
// in its own.
ROWS_KERNEL ddim_update(const int rows, const int vectors, const int block, const int t, TENSOR(const float, x0), TENSOR(const float, z),
                        TENSOR(const float, b), TENSOR(const float, e), TENSOR(const float, alpha_bar), TENSOR(const int, inverse),
                        EPILOGUE_ARGUMENTS, TENSOR(float, result))
{
    START(x0);
    START(z);
    START(b);
    START(e);
    START(alpha_bar);
    START(inverse);
    START(result);
    EPILOGUE_START;
    const int sample = GROUP_ID(2) * rows * vectors;
    const float noise = sqrt(1.0f - alpha_bar[t - 1]), signal = sqrt(alpha_bar[t - 1]);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) {
            const int i = sample + row * vectors + column, shuffled = sample + inverse[row * vectors + column];
            float r = signal * (x0[shuffled] - z[shuffled] + b[i]) + noise * e[sample + noise_index(row, column, vectors)];
            EPILOGUE(float, VLOAD, r, i, 0);
            result[i] = r;
        }
}
