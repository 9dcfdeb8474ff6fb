// The device's matrix unit: which one there is, and whether it gives right numbers. What runs on it: ops/conv_matrix.h.
#ifndef OPS_MATRIX_H
#define OPS_MATRIX_H

#include "ops/ops.h"

// "nvidia" and so on, for people.
const char *matrix_unit_name(matrix_unit unit);

// Sets o->matrix. auto: the unit that the device of a GPU table says it has, once a probe of it, in a context of its own, has come out
// right for both types; else none. emulate: the same kernels with an emulated unit, on any device, for tests; IDM_WRONG_RESULT if its probe
// comes out wrong. Neither on devices whose groups or local memory are too small. What a described device (dry run) says is taken
// for true.
idm_status matrix_choose(ops *o, idm_matrix setting);

// What the unit makes of A (16 x 16), B (16 x 8) and a first sum (16 x 8), row-major, whose values `type` represents: product = A B +
// first, and what each of the 32 lanes held, 4 pairs of A, 2 of B and 4 floats of the product as bits (cl/matrix.clh).
enum { MATRIX_M = 16, MATRIX_N = 8, MATRIX_K = 16, MATRIX_TEAM = 32, MATRIX_FRAGMENT = 10 };
typedef struct matrix_result {
    float product[MATRIX_M * MATRIX_N];
    uint32_t fragments[MATRIX_TEAM * MATRIX_FRAGMENT];
} matrix_result;
idm_status matrix_run(context *ctx, matrix_unit unit, dtype type, const float *a, const float *b, const float *first,
                      matrix_result *result);

#endif
