// DDIM steps backward, on image planes. VEC = 1; rows and vectors are the lines and columns of a plane; both are even. Each work-group leaves
// the scalar products that the gradient of alpha_bar is made of as wide sums (sums.clh) in partials [groups][sums], which *_merge add up.
#include "common.clh"
#include "ddim.clh"
#include "rows.clh"
#include "sums.clh"

// dalpha[i] += sum over t > i of dalpha_bar[t] alpha_bar[t] / alpha[i]. One item.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void alpha_bar_backward(const int steps, TENSOR(const float, alpha), TENSOR(const float, alpha_bar), TENSOR(const float, dalpha_bar),
                        TENSOR(float, dalpha))
{
    START(alpha);
    START(alpha_bar);
    START(dalpha_bar);
    START(dalpha);
    float sum = 0.0f;
    for (int i = steps - 1; i >= 0; i--) {
        sum = fma(dalpha_bar[i + 1], alpha_bar[i + 1], sum);
        dalpha[i] += sum / alpha[i];
    }
}

enum { D0_E, D0_X0, DR_B, DR_E, STEP_SUMS };

// The items of a group put their sums side by side, count times ITEMS of them, and add them up in one order.
#define ITEMS (LANES * ROW_ITEMS)
#if ITEMS > 1
#define SHARED __local
#define ALL_SHARED barrier(CLK_LOCAL_MEM_FENCE)
#else
#define SHARED
#define ALL_SHARED
#endif

static inline int item_number(void)
{
    return get_local_id(1) * LANES + get_local_id(0);
}

static inline float2 total(SHARED const float2 *shared, int which)
{
    float2 sum = shared[which * ITEMS];
    for (int i = 1; i < ITEMS; i++) sum = wide_merge(sum, shared[which * ITEMS + i]);
    return sum;
}

// Where this group's partials begin; rows and block as in ROWS_KERNEL.
static inline __global float *own_partials(__global float *partials, int rows, int block, int sums)
{
    return partials + (GROUP_ID(2) * ((rows + block - 1) / block) + GROUP_ID(1)) * sums * 2;
}

// d0 = sqrt(alpha_bar[t - 1]) (dr - z), with z = A^T A dr in shuffled order: the gradient of x0 as it is estimated.
// dx = d0 / sqrt(alpha_bar[t]), de = sqrt(1 - alpha_bar[t - 1]) dr - sqrt(1 - alpha_bar[t]) dx. dx may be dr, de may be e.
// partials: <d0, e>, <d0, x0>, <dr, b>, <dr, e>.
ROWS_KERNEL ddim_step_backward(const int rows, const int vectors, const int block, const int t, TENSOR(const float, x),
                               TENSOR(const float, e), TENSOR(const float, alpha_bar), TENSOR(const int, inverse), TENSOR(const float, b),
                               TENSOR(const float, dr), TENSOR(const float, z), TENSOR(float, dx), TENSOR(float, de),
                               TENSOR(float, partials))
{
    SHARED float2 shared[STEP_SUMS * ITEMS];
    START(x);
    START(e);
    START(alpha_bar);
    START(inverse);
    START(b);
    START(dr);
    START(z);
    START(dx);
    START(de);
    START(partials);
    const int sample = GROUP_ID(2) * rows * vectors;
    const float noise = sqrt(1.0f - alpha_bar[t]), signal = sqrt(alpha_bar[t]);
    const float next_noise = sqrt(1.0f - alpha_bar[t - 1]), next_signal = sqrt(alpha_bar[t - 1]);
    float2 sums[STEP_SUMS] = {WIDE_ZERO, WIDE_ZERO, WIDE_ZERO, WIDE_ZERO};
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) {
            const int i = sample + row * vectors + column, at = sample + noise_index(row, column, vectors);
            const float noise_value = e[at], x0 = (x[i] - noise * noise_value) / signal, d = dr[i];
            const float d0 = next_signal * (d - z[sample + inverse[row * vectors + column]]);
            sums[D0_E] = wide_add(sums[D0_E], d0 * noise_value);
            sums[D0_X0] = wide_add(sums[D0_X0], d0 * x0);
            sums[DR_B] = wide_add(sums[DR_B], d * b[i]);
            sums[DR_E] = wide_add(sums[DR_E], d * noise_value);
            dx[i] = d0 / signal;
            de[at] = next_noise * d - noise / signal * d0;
        }
    for (int k = 0; k < STEP_SUMS; k++) shared[k * ITEMS + item_number()] = sums[k];
    ALL_SHARED;
    partials = own_partials(partials, rows, block, STEP_SUMS);
    for (int k = item_number(); k < STEP_SUMS; k += ITEMS) vstore2(total(shared, k), k, partials);
}

// partials: <dx, b>.
ROWS_KERNEL ddim_start_backward(const int rows, const int vectors, const int block, TENSOR(const float, dx), TENSOR(const float, b),
                                TENSOR(float, partials))
{
    SHARED float2 shared[ITEMS];
    START(dx);
    START(b);
    START(partials);
    const int sample = GROUP_ID(2) * rows * vectors;
    float2 sum = WIDE_ZERO;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (column, vectors) {
            const int i = sample + row * vectors + column;
            sum = wide_add(sum, dx[i] * b[i]);
        }
    shared[item_number()] = sum;
    ALL_SHARED;
    if (item_number() == 0) vstore2(total(shared, 0), 0, own_partials(partials, rows, block, 1));
}

// The merges: one group, its items taking every ITEMS-th of the `groups` partials.
static inline float2 merge_partials(__global const float *partials, int groups, int sums, int which)
{
    float2 sum = WIDE_ZERO;
    for (int i = item_number(); i < groups; i += ITEMS) sum = wide_merge(sum, vload2(i * sums + which, partials));
    return sum;
}

// <dr, x0'> of the x0' after the range-null-space step is <d0, x0> / sqrt(alpha_bar[t - 1]) + <dr, b>, because A^T A is symmetric.
ROWS_KERNEL ddim_step_merge(const int groups, const int t, TENSOR(const float, partials), TENSOR(const float, alpha_bar),
                            TENSOR(float, dalpha_bar))
{
    SHARED float2 shared[STEP_SUMS * ITEMS];
    START(partials);
    START(alpha_bar);
    START(dalpha_bar);
    for (int k = 0; k < STEP_SUMS; k++) shared[k * ITEMS + item_number()] = merge_partials(partials, groups, STEP_SUMS, k);
    ALL_SHARED;
    if (item_number() > 0) return;
    const float d0_e = wide_value(total(shared, D0_E)), d0_x0 = wide_value(total(shared, D0_X0));
    const float dr_b = wide_value(total(shared, DR_B)), dr_e = wide_value(total(shared, DR_E));
    const float now = alpha_bar[t], next = alpha_bar[t - 1];
    dalpha_bar[t] += d0_e / (2.0f * sqrt(1.0f - now) * sqrt(now)) - d0_x0 / (2.0f * now);
    if (t > 1) dalpha_bar[t - 1] += d0_x0 / (2.0f * next) + dr_b / (2.0f * sqrt(next)) - dr_e / (2.0f * sqrt(1.0f - next));
}

// dalpha_bar[t] += <dx, b> / (2 sqrt(alpha_bar[t]))
ROWS_KERNEL ddim_start_merge(const int groups, const int t, TENSOR(const float, partials), TENSOR(const float, alpha_bar),
                             TENSOR(float, dalpha_bar))
{
    SHARED float2 shared[ITEMS];
    START(partials);
    START(alpha_bar);
    START(dalpha_bar);
    shared[item_number()] = merge_partials(partials, groups, 1, 0);
    ALL_SHARED;
    if (item_number() == 0) dalpha_bar[t] += wide_value(total(shared, 0)) / (2.0f * sqrt(alpha_bar[t]));
}
