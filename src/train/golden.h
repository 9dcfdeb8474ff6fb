// Gradients and trained parameters against a golden's truths (DESIGN.md section 5): `grad/NAME` whole, or `gradnorm/NAME` with
// `gradproj/NAME`, `paramnorm/NAME` with `paramproj/NAME`: norm and dot products with fixed pseudo-random vectors.
#ifndef TRAIN_GOLDEN_H
#define TRAIN_GOLDEN_H

#include "io/tensor_file.h"
#include "model/parameters.h"

// Relative errors in norm, over the tensors of a kind that the golden holds. A tensor's error is against its own norm and 1e-5 of the whole
// vector's, which keeps one whose true value is zero from counting as infinitely wrong.
typedef struct golden_errors {
    size_t tensors; // 0: the golden has none
    double whole, median, worst;
    char worst_name[96];
    double zero; // of the tensors that the metadata's zero_gradients names: largest norm, against the whole vector's
} golden_errors;

// kind: "grad" or "param", which lie in pool `where`, `scale` times as large as they should be. Waits for the device. IDM_BAD_INPUT: a
// truth of another size than the parameter.
idm_status golden_compare(tensor_file *golden, const parameters *p, pool where, const char *kind, double scale, golden_errors *errors);

// Four dot products of a flattened tensor, divided by scale, in published layout with pseudo-random vectors in [-1, 1)
// (reference/make_goldens.py).
void golden_projections(const float *values, size_t count, double scale, double out[4]);

#endif
