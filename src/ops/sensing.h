// The sampling operator A (MODEL.md "Sampling operator"): shuffle all H*W pixels by one permutation, cut into rows of N = B*B, project on M
// orthonormal columns.
#ifndef OPS_SENSING_H
#define OPS_SENSING_H

#include "ops/gemm.h"
#include "ops/ops.h"

// A on the device. Images are planes (n, H, W, 1); measurements (n, 1, H*W/N, M).
typedef struct sensing {
    int height, width, block_pixels /* N */, measurements /* M */;
    weight phi, phi_transposed; // N -> M and M -> N
    tensor perm, inverse;       // I32, H*W: shuffled[i] = x[perm[i]], x[i] = shuffled[inverse[i]]
} sensing;

// Uploads (POOL_OPERATOR). phi: N x M row-major; perm: H*W indices, which the caller has checked to be a permutation. The caller may keep
// panels of phi and phi_transposed (ops/weight.h). perm may be null: sensing_update brings it. In a dry run phi may be null too.
void sensing_create(ops *o, const float *phi, int block_pixels, int measurements, const int32_t *perm, int height, int width,
                    sensing *result);

// Another permutation, without waiting for the device (context_upload). Planned by a dry call (perm may be null).
void sensing_update(ops *o, const sensing *s, const int32_t *perm);

void sensing_forward(ops *o, const sensing *s, tensor x, tensor y); // y = A x
void sensing_adjoint(ops *o, const sensing *s, tensor y, tensor x); // x = A^T y

// z = A^T A p, both in the shuffled order (n, 1, H*W/N, N): pixel i of a sample is its value number inverse[i]. Kernels write p there and
// read z from there, which saves two passes over the image.
void sensing_normal_shuffled(ops *o, const sensing *s, tensor p, tensor z);
// A tensor of that shape on POOL_ACTIVATIONS.
tensor sensing_push_shuffled(ops *o, const sensing *s, int n);
// An image plane into that order.
void sensing_shuffle(ops *o, const sensing *s, tensor x, tensor shuffled);

#endif
