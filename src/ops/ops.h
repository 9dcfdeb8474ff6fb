// What every operation needs to know: the context, how exact it must be, and which kernel variant runs for each op.
// Operations are void: a failure is the context's sticky error (opencl/context.h).
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "opencl/launch.h"
#include "ops/tuning.h"
#include <idm/config.h>

typedef enum variant {
    VARIANT_GENERIC, // plain scalar code, any device, no local memory above 16 KiB: the fallback and the yardstick
    VARIANT_CPU,     // explicit vectors, one item per group, no local memory, no barriers
    VARIANT_GPU,     // tiles in local memory
    VARIANT_CLBLAST, // gemm only
    VARIANT_MATRIX,  // convolutions, linear layers and attention on what is stored in 16 bits; never in the table, see ops.matrix
} variant;

// "cpu" and so on, for people.
const char *variant_name(variant v);

// One row of the table of variants; `[device] variants` and `gemm` choose it.
typedef struct variant_table {
    variant gemm; // 1x1 convolutions and linear layers
    variant conv; // 3x3 convolutions
    variant attention;
    variant pointwise; // norms and everything else: CPU = wide vectors per item, else one lane per channel
} variant_table;

// What multiplies small matrices of 16-bit values, for operands stored in 16 bits (ops/matrix.h); as in cl/matrix.clh. Before each unit its
// emulation; Intel's by the size of the sub-group.
typedef enum matrix_unit {
    MATRIX_NONE,
    MATRIX_EMULATED, // NVIDIA's
    MATRIX_NVIDIA,
    MATRIX_EMULATED_AMD_WMMA,
    MATRIX_AMD_WMMA,
    MATRIX_EMULATED_AMD_MFMA,
    MATRIX_AMD_MFMA,
    MATRIX_EMULATED_INTEL_8,
    MATRIX_INTEL_8,
    MATRIX_EMULATED_INTEL_16,
    MATRIX_INTEL_16,
    MATRIX_UNITS,
} matrix_unit;

struct ops {
    context *ctx;
    variant_table table;
    bool gemm_tuned;             // rows of the tuning may say which linear layers run by CLBlast; else the table does
    dtype storage;               // of activations inside the network's modules and their gradients: float32, or 16 bits (ops/storage.h)
    bool exact;                  // math = exact: no approximated exp or erf, no Winograd
    bool attention_two_pass;     // attention's backward pass makes the weights twice, once for dK and dV, once for dQ; on a matrix unit it
                                 // always does
    matrix_unit matrix;          // matrix_choose sets it; else none
    tensor zeros;                // a row of zeros (POOL_OPERATOR), what convolution reads outside the picture; ops_create makes it
    const tuning *tuning;        // kernel parameters, or null: every operation chooses by itself
    const tuning_listener *seen; // of calls whose parameters may be tuned, or null
};

// Chooses the table from the device class (`variants` auto: cpu for CPUs with vectors, gpu for GPUs, generic otherwise) and makes what all
// ops share. max_channels: the widest tensor a convolution will read.
idm_status ops_create(context *ctx, idm_variants variants, idm_gemm gemm, idm_math math, int max_channels, ops *result);

// How the result of a GEMM-like op leaves its registers:  r = accumulated + bias + residual;  y = v given ? (1 - v) r + v mix : r.
// The second form is a reversible module's coupling, y1 = (1-v) body(x1) + v x2 (MODEL.md "Reversible chain"), so that body's last op
// writes it.
typedef struct epilogue {
    tensor bias;     // c values, or NO_TENSOR
    tensor residual; // as y, or NO_TENSOR; may be y itself
    tensor v;        // one value on the device, or NO_TENSOR
    tensor mix;      // as y, given with v; may be y itself
} epilogue;

// Largest of 16, 8, 4, 2, 1 that divides c, and at most `most`.
int ops_vector_width(int c, int most);
// Floats per item's vector for ops over c channels in this table: up to 16 on CPUs; up to 4 on GPUs; 1 in generic.
int ops_pointwise_width(const ops *o, int c);

static inline size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

// How many times `size` what its tiles cover is (struct work).
static inline double tile_padding(size_t size, size_t tile)
{
    return (double)(ceil_div(size, tile) * tile) / (double)size;
}

#endif
