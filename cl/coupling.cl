// The coupling of a reversible module (MODEL.md "Reversible chain") by itself: y1 = (1 - v) f + v x2, its inverse and its gradient. Each
// element is read before it is written, so results may lie where arguments do.
#include "common.clh"
#include "flat.clh"

// The same bits as EPILOGUE (epilogue.clh).
FLAT_KERNEL coupling_forward(const int count, TENSOR(const float, f), TENSOR(const float, x2), TENSOR(const float, v), TENSOR(float, y1))
{
    START(f);
    START(x2);
    START(v);
    START(y1);
    const float factor = *v;
    FOR_EACH_FLAT (i, left, count)
        flat_store(fma((vfloat)(1.0f - factor), flat_load(f + i, left), (vfloat)(factor * flat_load(x2 + i, left))), y1 + i, left);
}

// x2 = (y1 - (1 - v) f) / v
FLAT_KERNEL coupling_invert(const int count, TENSOR(const float, f), TENSOR(const float, y1), TENSOR(const float, v), TENSOR(float, x2))
{
    START(f);
    START(y1);
    START(v);
    START(x2);
    const float factor = *v;
    FOR_EACH_FLAT (i, left, count)
        flat_store(fma((vfloat)(factor - 1.0f), flat_load(f + i, left), flat_load(y1 + i, left)) / factor, x2 + i, left);
}

// dbody = (1 - v) dy1, dx2 = v dy1, and per block <x2 - f, dy1> -> partials [blocks].
FLAT_KERNEL coupling_backward(const int count, TENSOR(const float, f), TENSOR(const float, x2), TENSOR(const float, v),
                              TENSOR(const float, dy1), TENSOR(float, dbody), TENSOR(float, dx2), TENSOR(float, partials))
{
    ITEM_SCRATCH(scratch);
    START(f);
    START(x2);
    START(v);
    START(dy1);
    START(dbody);
    START(dx2);
    START(partials);
    const float factor = *v;
    vfloat sum = 0.0f;
    FOR_EACH_FLAT (i, left, count) {
        const vfloat d = flat_load(dy1 + i, left);
        sum = fma(flat_load(x2 + i, left) - flat_load(f + i, left), d, sum);
        flat_store((1.0f - factor) * d, dbody + i, left);
        flat_store(factor * d, dx2 + i, left);
    }
    const float total = item_sum(VSUM(sum), scratch);
    if (get_local_id(0) == 0) partials[GROUP_ID(0)] = total;
}
