// Checks of src/ops/coupling.h and loss.h (see tune/check.h).
#ifndef TUNE_CHECK_COUPLING_H
#define TUNE_CHECK_COUPLING_H

#include "tune/check.h"

// The worst of the forward and the backward pass. in_place: y1 is x2; dbody is f and dx2 is dy1.
check_result check_coupling(ops *o, size_t count, float v, bool in_place);
// coupling_invert of coupling_forward's result, against x2: the error that 1 / v has enlarged.
check_result check_coupling_invert(ops *o, size_t count, float v, bool in_place);
// coupling_forward against epilogue_forward on the same inputs: 0, or infinite where a bit differs.
check_result check_coupling_bits(ops *o, int rows, int c, float v);

// The worst of the loss, added to what is there, and dout; some values are equal. scaled: dout times 65536. in_place: dout is out.
check_result check_l1_loss(ops *o, size_t count, bool scaled, bool in_place);

#endif
