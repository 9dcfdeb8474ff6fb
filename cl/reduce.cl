// Sums: the inner product of two arrays, and what is left to do after kernels that sum by blocks.
//   dot_blocks   per block of two arrays: its part of the inner product             -> partials [blocks]
//   sum_blocks   a += factor times the sum of the partials
//   sum_columns  per sample: the sum of each column of a matrix                     -> y [samples][columns]
#include "common.clh"
#include "flat.clh"
#include "sums.clh"

FLAT_KERNEL dot_blocks(const int count, TENSOR(const float, x), TENSOR(const float, z), TENSOR(float, partials))
{
    ITEM_SCRATCH(scratch);
    START(x);
    START(z);
    START(partials);
    vfloat sum = 0.0f;
    FOR_EACH_FLAT (i, left, count) sum = fma(flat_load(x + i, left), flat_load(z + i, left), sum);
    const float total = item_sum(VSUM(sum), scratch);
    if (get_local_id(0) == 0) partials[GROUP_ID(0)] = total;
}

// One group.
FLAT_KERNEL sum_blocks(const int blocks, const float factor, TENSOR(const float, partials), TENSOR(float, a))
{
    ITEM_SCRATCH(scratch);
    START(partials);
    START(a);
    float2 sum = WIDE_ZERO;
    for (int i = get_local_id(0); i < blocks; i += ITEMS) sum = wide_add(sum, partials[i]);
    const float total = item_sum(wide_value(sum), scratch);
    if (get_local_id(0) == 0) *a = fma(factor, total, *a);
}

#ifndef LANES
#define LANES 4 // neighbouring columns' vectors per group; 1 on CPUs
#endif
#ifndef ROW_ITEMS
#define ROW_ITEMS 16 // rows in work at once; 1 on CPUs
#endif
#ifndef ADD
#define ADD 0 // 1: added to what is there
#endif

// x: samples of rows `stride` apart. Groups (ceil(columns / (VEC * LANES)), samples).
__kernel __attribute__((reqd_work_group_size(LANES, ROW_ITEMS, 1)))
void sum_columns(const int rows, const int columns, const int stride, TENSOR(const float, x), TENSOR(float, y))
{
    START(x);
    START(y);
    const int column = (GROUP_ID(0) * LANES + get_local_id(0)) * VEC, sample = GROUP_ID(1), item = get_local_id(1);
    const bool inside = column < columns;
    x += (size_t)sample * rows * stride + column;
    y += sample * columns + column;
    vfloat high = 0.0f, low = 0.0f; // as sums.clh has it for one column
    for (int row = item; row < rows && inside; row += ROW_ITEMS) {
        const vfloat value = VLOAD(x + (size_t)row * stride), sum = high + value, part = sum - high;
        low += (high - (sum - part)) + (value - part);
        high = sum;
    }
    vfloat total = high + low;
#if ROW_ITEMS > 1
    __local vfloat all[ROW_ITEMS * LANES];
    __local vfloat *mine = all + get_local_id(0);
    mine[item * LANES] = total;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item > 0) return;
    for (int i = 1; i < ROW_ITEMS; i++) total += mine[i * LANES];
#endif
#if ADD
    if (inside) VSTORE(VLOAD(y) + total, y);
#else
    if (inside) VSTORE(total, y);
#endif
}
