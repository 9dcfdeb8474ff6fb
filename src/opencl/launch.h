// Kernels: from an embedded source and options to a launch.
//
//     kernel *k = kernel_get(ctx, "norm", "group_norm_apply", "-DVEC=%d", vec);
//     LAUNCH(ctx, k, ((work){.groups = {blocks, x.n, 1}, .local = {1, 1, 1}}), ((cost){flops, bytes}), T(x), T(y), I(count), F(eps));
//
// A long launch is cut into several with global offsets, along its longest dimension first, down to single work-groups, so a kernel must
// take its group's number from GROUP_ID(d) (cl/common.clh), never from get_group_id, and may not depend on get_num_groups or
// get_global_size.
#ifndef OPENCL_LAUNCH_H
#define OPENCL_LAUNCH_H

#include "opencl/context.h"

typedef struct kernel kernel;

// The kernel `name` of cl/FILE.cl built with `options` (printf format; nothing specialised on height, width or batch). Built once per
// context, from the disk cache if it is there. Null after an error (sticky), and LAUNCH of null does nothing.
kernel *kernel_get(context *ctx, const char *file, const char *name, const char *options, ...) __attribute__((format(printf, 4, 5)));

typedef struct work {
    size_t groups[3], local[3]; // work-groups and items per group; 0 counts as 1
    double padding;             // operations done for each that counts, where tiles stick out of the result; 0 counts as 1
} work;

typedef struct argument {
    enum { ARGUMENT_TENSOR, ARGUMENT_INT, ARGUMENT_FLOAT } kind;
    tensor t;
    int i;
    float f;
} argument;

// A tensor is two kernel arguments, TENSOR(type, name) in OpenCL C: the buffer, and the offset in elements as a ulong. "No tensor" passes a
// small dummy buffer.
static inline argument T(tensor t)
{
    return (argument){.kind = ARGUMENT_TENSOR, .t = t};
}
static inline argument I(int i)
{
    return (argument){.kind = ARGUMENT_INT, .i = i};
}
static inline argument F(float f)
{
    return (argument){.kind = ARGUMENT_FLOAT, .f = f};
}

void launch(context *ctx, kernel *k, work w, cost c, const argument *arguments, size_t count);
#define LAUNCH(ctx, k, w, c, ...) \
    launch(ctx, k, w, c, (const argument[]){__VA_ARGS__}, sizeof((const argument[]){__VA_ARGS__}) / sizeof(argument))

// Dry or not, every (file, kernel, options, items per group) asked for so far; for the compile gate.
typedef void kernel_visitor(void *user, const char *file, const char *name, const char *options, const size_t local[3]);
void kernel_visit(context *ctx, kernel_visitor *visit, void *user);

// Launches alike in a dry run, since context_reset_cost: how many, what each is, what each costs; the whole-number arguments of the first.
enum { PLANNED_NUMBERS = 24 };
typedef struct planned_launch {
    const char *file, *name, *options;
    work w;
    cost each;
    long count;
    int numbers[PLANNED_NUMBERS], number_count;
} planned_launch;
typedef void planned_visitor(void *user, const planned_launch *l);
void planned_visit(const context *ctx, planned_visitor *visit, void *user);

// The text of cl/FILE.cl with its includes in place. The caller's to free().
idm_status program_source(const char *file, char **text);

// One single-precision product on row-major matrices through CLBlast, C (m x n) = alpha A (m x k) B (k x n) + beta C; scratch from
// POOL_CLBLAST. transpose_a: A is stored k x m; transpose_b: B is stored n x k.
void clblast_gemm(context *ctx, tensor a, tensor b, tensor c, int m, int n, int k, bool transpose_a, bool transpose_b, float alpha,
                  float beta);

#endif
