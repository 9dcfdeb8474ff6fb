// L1 loss: dout = scale * weight * sign(out - x), 0 where both are equal, not a number where the difference is none; and per block the sum
// of |out - x| -> partials [blocks]. SCALED: 1 reads scale, 0 takes it for 1.
#include "common.clh"
#include "flat.clh"

#ifndef SCALED
#define SCALED 1
#endif

FLAT_KERNEL l1_loss(const int count, const float weight, TENSOR(const float, out), TENSOR(const float, x), TENSOR(const float, scale),
                    TENSOR(float, dout), TENSOR(float, partials))
{
    ITEM_SCRATCH(scratch);
    START(out);
    START(x);
    START(scale);
    START(dout);
    START(partials);
#if SCALED
    const float slope = weight * *scale;
#else
    const float slope = weight;
#endif
    vfloat sum = 0.0f;
    FOR_EACH_FLAT (i, left, count) {
        const vfloat difference = flat_load(out + i, left) - flat_load(x + i, left);
        sum += fabs(difference);
        const vfloat sign = difference > (vfloat)0.0f ? (vfloat)1.0f : difference < (vfloat)0.0f ? (vfloat)-1.0f : difference;
        flat_store(slope * sign, dout + i, left);
    }
    const float total = item_sum(VSUM(sum), scratch);
    if (get_local_id(0) == 0) partials[GROUP_ID(0)] = total;
}
