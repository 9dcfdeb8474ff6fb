// Checks of src/ops/sensing.h, injector.h and ddim.h (see tune/check.h). Phi is random, not orthonormal; block_pixels has to divide the
// plane.
#ifndef TUNE_CHECK_SENSING_H
#define TUNE_CHECK_SENSING_H

#include "tune/check.h"

typedef struct check_operator {
    int height, width, block_pixels, measurements;
} check_operator;

// The worst of A, A^T and A^T A on n planes.
check_result check_sensing(ops *o, check_operator a, int n);
// On features of c channels, (height / r) x (width / r). coupled: with v and mix, y is mix.
check_result check_injector(ops *o, check_operator a, int n, int c, int r, bool coupled);
// The worst of ddim_start and the steps T..1 from random x. coupled as above.
check_result check_ddim(ops *o, check_operator a, int n, int steps, bool coupled);

// injector_backward: the worse of dx and all parameters' gradients together, these added to what was there. in_place: dx is dy.
check_result check_injector_backward(ops *o, check_operator a, int n, int c, int r, bool in_place);
// The worst of ddim_step_backward of the steps T..1, ddim_start_backward and alpha_bar_backward. in_place: dx is dr, de is e.
check_result check_ddim_backward(ops *o, check_operator a, int n, int steps, bool in_place);

#endif
