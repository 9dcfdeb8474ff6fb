// How operations over flat arrays are laid out on the device, and sums over their blocks; the kernel's side is cl/flat.clh, cl/reduce.cl.
#ifndef OPS_FLAT_H
#define OPS_FLAT_H

#include "ops/ops.h"

typedef struct flat_grid {
    int count, blocks; // floats in all; groups, each with a block of its own
    work w;
    char options[64]; // the grid's macros
} flat_grid;

flat_grid flat_plan(const ops *o, size_t count);

// Scratch on POOL_ACTIVATIONS for `parts` sums of each block, (1, 1, parts, blocks).
tensor flat_push_partials(ops *o, const flat_grid *g, int parts);

// a (one value) += factor * the sum of the partials, in an order that depends on their number alone.
void flat_sum(ops *o, tensor partials, float factor, tensor a);

// y (n, 1, 1, y.c) = the sum of each column, or += it, for `n` matrices of `rows` rows `stride` floats apart, one after the other, of which
// the first y.c columns from x's start count. Fixed order, as accurate as two floats.
void sum_columns(ops *o, tensor x, int n, int rows, int stride, bool add, tensor y);

#endif
