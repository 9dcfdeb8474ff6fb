// The CPU variant's choice of register tile, shared by the op and the panels it reads.
#ifndef OPS_CONV_CPU_H
#define OPS_CONV_CPU_H

#include "ops/ops.h"

// The tuning's row for a call, or null. pixels 0: a question about layouts, which fit every picture.
const tuning_row *conv_cpu_tuned(const ops *o, int taps, int in, int out, int pixels);

typedef struct cpu_tile {
    int rows, vectors; // pixels x float16 vectors held in registers
} cpu_tile;

// For `out` output channels: the tile that fills the device's registers and wastes the fewest padded columns.
cpu_tile conv_cpu_own_tile(const ops *o, int out);

// The row's tile, or where it has none, or is null, that one.
cpu_tile conv_cpu_row_tile(const ops *o, const tuning_row *row, int out);

// For an operand of taps * in rows of `out` channels: the tuning's tile, else that one.
cpu_tile conv_cpu_tile(const ops *o, int taps, int in, int out);

#endif
