// The sampling operator's numbers made from a seed, the same bits on every machine.
#ifndef IO_OPERATOR_H
#define IO_OPERATOR_H

#include <idm/status.h>
#include <stdint.h>

enum { OPERATOR_BLOCK_MAX = 256, OPERATOR_PIXELS_MAX = 1 << 28 };

// M = ceil(ratio * N): measurements per sampling block of N = block * block pixels.
int operator_measurements(int block, double ratio);

// Phi: N x M, row-major, orthonormal columns, Haar distributed: modified Gram-Schmidt (twice, in double) of a Gaussian matrix from the
// seed. The caller frees *phi. IDM_USAGE: block not a multiple of 4 up to OPERATOR_BLOCK_MAX, or M not in 1 .. N. IDM_FAILED: no memory.
idm_status operator_phi(int block, int measurements, uint64_t seed, float **phi);

// The permutation of `count` pixels that belongs to a seed and a name (an image's file name): anyone with both can make it again.
void operator_permutation(uint64_t seed, const char *name, int32_t *perm, int count);

#endif
