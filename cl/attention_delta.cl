// delta[sample][head][token] = dO . O of each head and token, what every backward pass of attention needs first.
// dout, out: dense, a row of HEAD = vectors * VEC channels per (token, head). rows: tokens * heads. Groups as rows.clh.
#include "common.clh"
#include "rows.clh"

ROWS_KERNEL attention_delta(const int rows, const int vectors, const int block, const int heads, TENSOR(const float, dout),
                            TENSOR(const float, out), TENSOR(float, delta))
{
    LANE_SCRATCH(scratch);
    const int sample = GROUP_ID(2), tokens = rows / heads;
    START(dout);
    START(out);
    START(delta);
    dout += (size_t)GROUP_ID(2) * rows * vectors * VEC;
    out += (size_t)GROUP_ID(2) * rows * vectors * VEC;
    delta += GROUP_ID(2) * rows;
    const int first = GROUP_ID(1) * block + get_local_id(1);
    for (int row = first; row < first + block; row += ROW_ITEMS) { // as often for every item, for lane_sum's barriers
        const int mine = row < rows ? vectors : 0;
        vfloat sum = 0.0f;
        FOR_EACH_VECTOR (v, mine) sum = fma(VLOAD(dout + (row * vectors + v) * VEC), VLOAD(out + (row * vectors + v) * VEC), sum);
        const float total = lane_sum(VSUM(sum), scratch);
        if (row < rows && get_local_id(0) == 0) delta[row % heads * tokens + row / heads] = total;
    }
}
