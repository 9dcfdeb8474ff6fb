// Kernel parameters found by `idm tune`: rows of (operation, variant, shape class) -> named numbers, which operations ask for before they
// fall back to their own choice. Reading and writing the rows as a file is src/tune/tuning_file.h.
#ifndef OPS_TUNING_H
#define OPS_TUNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ops ops;

typedef enum tuned_op {
    TUNED_CONV, // 3x3
    TUNED_LINEAR,
    TUNED_CONV_WEIGHT_GRADIENT,
    TUNED_LINEAR_WEIGHT_GRADIENT,
    TUNED_ATTENTION,
    TUNED_ATTENTION_BACKWARD,
    TUNED_OPS
} tuned_op;

// What a row may set; a kernel takes those that it has (src/tune/candidates.c lists them with meanings).
typedef enum tuning_parameter {
    TUNE_TILE_ROWS,
    TUNE_TILE_VECTORS,
    TUNE_TILE_OUTPUTS,
    TUNE_ITEM_ROWS,
    TUNE_UNROLL,
    TUNE_SUB_TILES,
    TUNE_BLOCK,
    TUNE_PANEL_KIB,
    TUNE_SLICE,
    TUNE_QUERY_TILES,
    TUNE_KEYS,
    TUNE_OWN,
    TUNE_OTHERS,
    TUNE_LANES,
    TUNE_CLBLAST, // of linear layers in the gpu table: 1 by CLBlast, 0 by our own kernel
    TUNE_WINOGRAD,
    TUNE_BUFFERS,
    TUNING_PARAMETERS
} tuning_parameter;

// What an operation was called with; in a row, the class, where 0 stands for any.
typedef struct tuning_shape {
    tuned_op op;
    int variant;        // enum variant (ops/ops.h)
    int in, out;        // channels of a GEMM-like op's operand as the kernel sees it
    int pixels;         // rows of the result; attention: tokens of a sample
    int head;           // attention: channels of a head
    int samples, heads; // attention: of the call; take no part in the class
} tuning_shape;

typedef struct tuning_row {
    tuning_shape shape;
    unsigned given; // bit p: values[p] is set
    int values[TUNING_PARAMETERS];
} tuning_row;

// Zero: no rows, every operation chooses by itself.
typedef struct tuning {
    tuning_row *rows;
    size_t count;
} tuning;

// The class of a call: `in` and `pixels` rounded up to powers of two, `out` to a multiple of 16, `head` as it is. Where the variant keeps
// weights in a layout of its own (CPU), which must fit every picture, and in its other kernels too, pixels take no part: 0.
tuning_shape tuning_class(const tuning_shape *call);

// The row of o's tuning for a call: the one whose class says most and fits; among those that differ in pixels the nearest. Null: none. The
// call is shown to o->seen if there is one.
const tuning_row *tuning_find(const ops *o, const tuning_shape *call);

// The row's value, or `otherwise` where there is no row or it does not say.
static inline int tuning_value(const tuning_row *row, tuning_parameter p, int otherwise)
{
    return row && row->given >> p & 1 ? row->values[p] : otherwise;
}
static inline void tuning_set(tuning_row *row, tuning_parameter p, int value)
{
    row->given |= 1u << p;
    row->values[p] = value;
}

// Who listens to calls (o->seen): how `idm tune` learns which shapes a network has.
typedef struct tuning_listener {
    void (*call)(void *user, const tuning_shape *call);
    void *user;
} tuning_listener;

extern const char *const tuned_op_names[TUNED_OPS];
extern const char *const tuning_parameter_names[TUNING_PARAMETERS];

// Of all rows, in any order: what shapes the bits of a run. 0: no rows.
uint64_t tuning_hash(const tuning *t);

#endif
