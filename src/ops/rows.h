// How operations over rows of channels (norms, pointwise) are laid out on the device; the kernel's side is cl/rows.clh.
#ifndef OPS_ROWS_H
#define OPS_ROWS_H

#include "ops/ops.h"

typedef struct rows_grid {
    int rows, vectors, block; // the first three arguments of a ROWS_KERNEL: rows of a sample, vectors per row, rows per group
    int vec, lanes, row_items;
    work w;
    char options[96]; // the grid's macros
} rows_grid;

// `samples` times `rows` rows of c channels in vectors of `vec` (1 or ops_pointwise_width). floats: read and written per row, which decides
// the rows per group.
rows_grid rows_plan(const ops *o, int samples, int rows, int c, int vec, int floats);

// The same values as rows of up to 1024 floats, for operations that do not look at channels.
tensor rows_flat(tensor t);

#define ROWS(grid) I((grid).rows), I((grid).vectors), I((grid).block)

#endif
