// The device's matrix unit: which one there is, and whether it gives right numbers. What runs on it: ops/conv_matrix.h,
// ops/attention_matrix.h.
#ifndef OPS_MATRIX_H
#define OPS_MATRIX_H

#include "ops/ops.h"

// "nvidia" and so on, for people.
const char *matrix_unit_name(matrix_unit unit);

bool matrix_is_emulated(matrix_unit unit);
matrix_unit matrix_emulation_of(matrix_unit unit);

// As in cl/matrix.clh, of a unit and its emulation alike: sum (m x n) += A (m x k) B (k x n) by a team of items, of which each holds so
// many 32-bit words of A and of B, and so many values of the sum. items_most: about how many are resident on one of OpenCL's compute units.
typedef struct matrix_shape {
    int m, n, k, team, a_words, b_words, values, items_most;
} matrix_shape;
const matrix_shape *matrix_shape_of(matrix_unit unit);

// Local memory that a group's emulation takes; 0 of a unit.
size_t matrix_scratch_bytes(matrix_unit unit, size_t items);

// Options for a kernel of cl/ that includes matrix.clh; the type of its operands.
enum { MATRIX_OPTIONS_SIZE = 96 };
const char *matrix_options(matrix_unit unit, dtype type, char options[MATRIX_OPTIONS_SIZE]);

// Sets o->matrix. auto: the unit that the device of a GPU table has by what it says of itself, once a probe of it, in a context of its own,
// has come out right for both types; else none. emulate: the same kernels with an emulated unit, NVIDIA's, on any device, for tests;
// IDM_WRONG_RESULT if its probe comes out wrong. Neither on devices whose groups or local memory are too small. What a described device
// (dry run) says is taken for true.
idm_status matrix_choose(ops *o, idm_matrix setting);
// The unit that a device has by what it says of itself.
matrix_unit matrix_of_device(const device_info *device);

// What the unit makes of A, B and a first sum, row-major, whose values `type` represents: product = A B + first, and what each lane held,
// words of A, of B, and values of the product as bits.
enum { MATRIX_SUM_MOST = 256, MATRIX_FRAGMENTS_MOST = 768 };
typedef struct matrix_result {
    float product[MATRIX_SUM_MOST];
    uint32_t fragments[MATRIX_FRAGMENTS_MOST];
} matrix_result;
idm_status matrix_run(context *ctx, matrix_unit unit, dtype type, const float *a, const float *b, const float *first,
                      matrix_result *result);

#endif
