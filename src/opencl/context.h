// A context: one device, its queue, its memory pools, its kernels, its profile. Everything below src/ops goes through it.
// One thread at a time. Errors are sticky: after the first one launches and copies do nothing, and context_finish reports it.
#ifndef OPENCL_CONTEXT_H
#define OPENCL_CONTEXT_H

#include "opencl/device.h"
#include "opencl/tensor.h"
#include <stdio.h>

typedef struct context context;

typedef struct context_options {
    double max_launch_ms; // longer launches are split; 0: never
} context_options;

// Opens the device. `info` is copied. An info without handles (device_id null) gives a context that can only run dry.
idm_status context_create(const device_info *info, const context_options *options, context **result);
void context_destroy(context *ctx);

const device_info *context_device(const context *ctx);

// Makes `status` (message as in status_fail) the context's sticky error, unless it has one already.
void context_fail(context *ctx, idm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
// The sticky error so far (without waiting).
idm_status context_status(const context *ctx);
// Waits for all that was launched; the first error since the context was made.
idm_status context_finish(context *ctx);
// Finishes, and forgets a sticky error; for a caller that tries the next candidate (tests, tuner).
void context_clear_error(context *ctx);

// Whole-tensor copies. context_write copies from host memory, which may be reused at once; context_read waits for the data.
void context_write(context *ctx, tensor t, const void *source);
idm_status context_read(context *ctx, tensor t, void *target);
void context_copy(context *ctx, tensor from, tensor to); // same bytes, different places
void context_fill_zero(context *ctx, tensor t);

// ---- Dry run: launches and copies only add up their cost, pushes only count bytes, nothing reaches the device.
void context_set_dry(context *ctx, bool dry);
bool context_dry(const context *ctx);

typedef struct cost {
    double flops, bytes; // multiply and add count 2; bytes that have to move at least
} cost;
// Sum of the costs of all launches since the last call of context_reset_cost, dry or not.
cost context_cost(const context *ctx);
void context_reset_cost(context *ctx);

// ---- Memory: stacks, one for each purpose, made of slabs no larger than the device's largest allocation.
// Weights; kept copies of them in a variant's layout; Phi and permutation; activations and scratch; CLBlast's own scratch (it takes a whole
// buffer, no offset).
typedef enum pool { POOL_WEIGHTS, POOL_DERIVED, POOL_OPERATOR, POOL_ACTIVATIONS, POOL_CLBLAST, POOL_COUNT } pool;

// Device memory that a context takes beside its pools: what stands for "no tensor".
enum { CONTEXT_BYTES = 256 };

typedef struct arena_mark {
    int slab;
    size_t used;
} arena_mark;

// Pushes a tensor on the pool's stack. Offsets are multiples of 256 bytes. A tensor larger than the largest allocation, or memory that the
// device has not got, is a sticky error; the tensor returned then still has a buffer, so that callers need no check of their own.
tensor arena_push(context *ctx, pool p, dtype type, int n, int h, int w, int c);
arena_mark arena_save(context *ctx, pool p);
// Everything pushed since the mark is gone. Work already launched on it is safe: the queue is in order.
void arena_release(context *ctx, pool p, arena_mark mark);

// Highest fill of the pool's stack in bytes (slab ends that stayed empty included), since the last arena_reset_peak or context_plan_begin.
size_t arena_peak(const context *ctx, pool p);
void arena_reset_peak(context *ctx, pool p);
// Bytes of device memory that the pool's slabs hold now.
size_t arena_held(const context *ctx, pool p);

// The plan: context_plan_begin sets the context dry; the caller then does all its pushes, releases and launches, and leaves no tensor
// behind; context_plan_commit leaves dry and makes every slab exactly as large as the plan filled it, except those that were in use before,
// which stay. The same pushes then succeed without any allocation. IDM_FAILED names the bytes needed when the device has them not.
void context_plan_begin(context *ctx);
idm_status context_plan_commit(context *ctx);
// Frees the slabs of an unused pool.
void arena_free(context *ctx, pool p);

// ---- Profile
void context_profile_print(context *ctx, FILE *out);
// Calls for each kernel launched so far: seconds from the device's own clock.
typedef void context_profile_visitor(void *user, const char *kernel, long launches, double seconds, cost total,
                                     double longest_launch_seconds);
void context_profile_visit(context *ctx, context_profile_visitor *visit, void *user);

#endif
