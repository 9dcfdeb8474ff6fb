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

// ---- Steps: what a loop that never waits for the device's newest work is made of. Copies go through staging, host memory that the device
// reads and writes by itself. A plan finds out how much: the uploads of two steps, from its dry calls of context_upload (source may be
// null) up to context_step_end. What no plan asked for is made when it is needed.
//
// As context_write, but does not wait: `source` may be reused at once, and the tensor changes after what was launched before. Blocks only
// while the ring is full.
void context_upload(context *ctx, tensor t, const void *source);

// A copy on its way to the host. Empty ({0}) when there is none.
typedef struct download {
    void *event, *target;
    size_t bytes;
    int slot;
} download;
enum { DOWNLOAD_BYTES_MAX = 256, DOWNLOADS_MAX = 8 };
// The tensor (at most DOWNLOAD_BYTES_MAX bytes) as it is after what was launched before, written to `target` by download_done or
// download_wait, one of which has to be called until it is there. At most DOWNLOADS_MAX at once. Empty in a dry run and after an error.
void context_download(context *ctx, tensor t, void *target, download *d);
// True when `target` is written, or never will be: the sticky error says why. An empty download is done.
bool download_done(context *ctx, download *d);
idm_status download_wait(context *ctx, download *d);

// The end of a step: waits for the end of the step before the last, so that at most two are under way when it returns.
void context_step_end(context *ctx);

// Bytes of staging, held or planned. They count as device memory.
size_t context_staging_bytes(const context *ctx);

// ---- Dry run: launches and copies only add up their cost, pushes only count bytes, nothing reaches the device.
void context_set_dry(context *ctx, bool dry);
bool context_dry(const context *ctx);

typedef struct cost {
    double flops, bytes; // multiply and add count 2; bytes that have to move at least
} cost;
// Sum of the costs of all launches since the last call of context_reset_cost, dry or not.
cost context_cost(const context *ctx);
void context_reset_cost(context *ctx);
// The same sum by kernel.
typedef void context_cost_visitor(void *user, const char *kernel, cost counted);
void context_cost_visit(const context *ctx, context_cost_visitor *visit, void *user);

// ---- Memory: stacks, one for each purpose, made of slabs no larger than the device's largest allocation.
typedef enum pool {
    POOL_WEIGHTS,
    POOL_GRADIENTS, // this and the next three mirror the weights (arena_mirror_create)
    POOL_MOMENT1,   // Adam's
    POOL_MOMENT2,
    POOL_EMA,         // moving average of the weights
    POOL_DERIVED,     // kept copies of weights in a variant's layout
    POOL_OPERATOR,    // Phi and permutation
    POOL_ACTIVATIONS, // and scratch
    POOL_CLBLAST,     // CLBlast's own scratch: it takes a whole buffer, no offset
    POOL_COUNT
} pool;

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

// A pool that mirrors another, slab by slab: for gradients, moments and averages of the weights, so that what runs over all of them runs
// once per slab. Slabs of POOL_WEIGHTS start as zeros, so the gaps between tensors are zero as long as nothing else was pushed there
// before.
//
// Fills `to`, which must be empty, with a slab as long as the fill of each slab of `from`, all zeros. Made in a plan, it is given back by
// arena_release(ctx, to, (arena_mark){0, 0}) before the commit; made again it then allocates nothing.
void arena_mirror_create(context *ctx, pool from, pool to);
// The tensor of the same type and extents at the same place of `to`; t lies in `from`.
tensor arena_mirror(context *ctx, tensor t, pool from, pool to);
// Exchanges what two pools of which one mirrors the other hold; tensors then show the other pool's values.
void arena_swap(context *ctx, pool a, pool b);
// Walks a pool's slabs: the fill of slab i < arena_slabs as one row of float32 values, alignment gaps included. NO_TENSOR for a slab with
// nothing in it. Slabs of POOL_WEIGHTS, and so of its mirrors, have fewer than 2^31 values.
int arena_slabs(const context *ctx, pool p);
tensor arena_slab(const context *ctx, pool p, int i);

// The plan: context_plan_begin sets the context dry; the caller then does all its pushes, releases and launches, and leaves no tensor
// behind; context_plan_commit leaves dry and makes every slab exactly as large as the plan filled it, except those that were in use before,
// which stay, and staging as large as it has to be. The same pushes then succeed without any allocation. IDM_FAILED names the bytes needed
// when the device has them not.
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
