// What the files of src/opencl share: the context's insides and OpenCL's names for errors.
#ifndef OPENCL_INTERNAL_H
#define OPENCL_INTERNAL_H

#include "opencl/context.h"
#include "opencl/launch.h"
#include <CL/cl.h>

struct buffer {
    cl_mem memory; // null in a dry run
};

typedef struct slab {
    buffer buffer;
    size_t capacity;   // bytes of device memory; 0 while only planned
    size_t used, high; // fill now, and at most
    bool kept;         // in use since before the plan: stays as it is
} slab;

typedef struct arena {
    slab **slabs; // each allocated by itself, so that tensors can point to its buffer
    int count, current;
} arena;

typedef struct program {
    char *file, *options;
    cl_program handle;
    struct program *next;
} program;

struct kernel {
    char *file, *name, *options;
    cl_kernel handle;
    size_t local[3];         // of the last launch
    double seconds_per_unit; // measured, per unit of launch.c's work estimate; 0: not yet
    long launches;
    double seconds, longest;
    cost total;              // of real launches
    cost counted;            // of all, dry ones too, since context_reset_cost
    planned_launch *planned; // of dry ones since context_reset_cost, those alike once
    size_t planned_count, planned_room;
    kernel *next;
};

typedef struct pending_launch {
    cl_event event;
    kernel *kernel;
    double units;
} pending_launch;

enum { PENDING_MAX = 1024 };

// An upload on its way: its piece of the ring, [start, end).
typedef struct pending_upload {
    cl_event event;
    size_t start, end;
} pending_upload;

enum { UPLOADS_MAX = 16 };

// Host memory that the device copies from and to by itself, mapped as long as it lives.
typedef struct host_memory {
    cl_mem memory;
    char *mapped;
    size_t size; // bytes; 0: not made
} host_memory;

typedef struct staging {
    host_memory ring, slots;             // of uploads; for downloads
    size_t step, largest_step;           // bytes uploaded in a dry step so far; the most that a dry step of this plan took
    bool downloads;                      // this plan has some
    pending_upload uploads[UPLOADS_MAX]; // a ring, oldest at first
    int first, count;
    bool taken[DOWNLOADS_MAX]; // slots
    cl_event ends[2];          // of the last two steps, the older one at `older`; or null
    int older;
} staging;

struct context {
    device_info device;
    context_options options;
    bool sync; // IDM_SYNC=1: finish after every launch
    cl_context handle;
    cl_command_queue queue;
    idm_status status;
    char message[4096];
    bool dry;
    arena arenas[POOL_COUNT];
    buffer dummy; // stands for "no tensor"
    program *programs;
    kernel *kernels;
    cost total;
    int unflushed;                       // launches since the last clFlush
    pending_launch pending[PENDING_MAX]; // a ring, oldest at pending_first
    int pending_first, pending_count;
    staging staging;
};

const char *opencl_error_name(cl_int code);

// True when the call succeeded; else the sticky error says what failed.
bool context_check(context *ctx, cl_int code, const char *what);

// program.c: the built program, from memory, disk or the compiler; null after a sticky error.
cl_program program_build(context *ctx, const char *file, const char *options);
void program_free_all(context *ctx);

// launch.c
void kernel_free_all(context *ctx);
// Takes the times of finished launches; `wait`: of all launches.
void launch_harvest(context *ctx, bool wait);
void launch_flush_sometimes(context *ctx);

// arena.c
void arena_destroy_all(context *ctx);

// transfer.c
void staging_plan_begin(context *ctx);
// Makes staging as large as the plan needs it.
void staging_plan_commit(context *ctx);
void staging_free(context *ctx);

#endif
