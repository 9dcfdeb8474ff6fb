// Makes oclgrind's --uninitialized right for buffers that are written in parts. oclgrind 21.10 keeps a shadow of every buffer, but makes it
// at a write by the host, as large as that write, in place of what was there: after the upload of one tensor into a slab everything else in
// the slab counts as uninitialised. Loaded by LD_PRELOAD before oclgrind's own library, this gives every new buffer a whole shadow, marks
// it uninitialised, and does writes, fills and copies by a kernel, for which oclgrind keeps the shadow as it should.
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

// A copy or fill of any length is one instruction for oclgrind: clang makes it from the builtin. `never` is never given a value.
static const char *const source =
    "__kernel void forget(__global char *to, const ulong count) { char never; __builtin_memset(to, never, count); }\n"
    "__kernel void copy(__global const char *from, const ulong first, __global char *to, const ulong start, const ulong count)\n"
    "{ __builtin_memcpy(to + start, from + first, count); }\n";

static struct {
    cl_context context;
    cl_command_queue queue;
    cl_kernel forget, copy;
} own; // of the context that was used last

// The function of the same name in the library behind this one.
static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function) return function;
    fprintf(stderr, "oclgrind_uploads: there is no %s\n", name);
    abort();
}

static void check(cl_int code, const char *what)
{
    if (code == CL_SUCCESS) return;
    fprintf(stderr, "oclgrind_uploads: %s: %d\n", what, code);
    abort();
}

static void use_context(cl_context context)
{
    cl_device_id device;
    cl_int code;
    if (own.context == context) return;
    own.context = context;
    check(clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof device, &device, NULL), "clGetContextInfo");
    own.queue = clCreateCommandQueue(context, device, 0, &code);
    check(code, "clCreateCommandQueue");
    cl_program program = clCreateProgramWithSource(context, 1, (const char **)&source, NULL, &code);
    check(code, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "-cl-opt-disable", NULL, NULL), "clBuildProgram");
    own.forget = clCreateKernel(program, "forget", &code);
    check(code, "forget");
    own.copy = clCreateKernel(program, "copy", &code);
    check(code, "copy");
}

static void run(cl_kernel kernel)
{
    const size_t one = 1;
    check(clEnqueueNDRangeKernel(own.queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL), "clEnqueueNDRangeKernel");
    check(clFinish(own.queue), "clFinish");
}

static void write_whole(cl_mem memory, size_t size, const void *bytes)
{
    cl_int (*const write)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint, const cl_event *, cl_event *) =
        next("clEnqueueWriteBuffer");
    check(write(own.queue, memory, CL_TRUE, 0, size, bytes, 0, NULL, NULL), "clEnqueueWriteBuffer");
}

static cl_mem create_whole(cl_context context, cl_mem_flags flags, size_t size, const void *bytes, cl_int *code)
{
    cl_mem (*const create)(cl_context, cl_mem_flags, size_t, void *, cl_int *) = next("clCreateBuffer");
    const cl_mem memory = create(context, flags, size, NULL, code);
    if (memory) write_whole(memory, size, bytes);
    return memory;
}

static void copy_by_kernel(cl_command_queue queue, cl_mem from, size_t first, cl_mem to, size_t start, size_t count)
{
    const cl_ulong numbers[3] = {first, start, count};
    check(clFinish(queue), "clFinish");
    check(clSetKernelArg(own.copy, 0, sizeof from, &from), "clSetKernelArg");
    check(clSetKernelArg(own.copy, 1, sizeof *numbers, &numbers[0]), "clSetKernelArg");
    check(clSetKernelArg(own.copy, 2, sizeof to, &to), "clSetKernelArg");
    check(clSetKernelArg(own.copy, 3, sizeof *numbers, &numbers[1]), "clSetKernelArg");
    check(clSetKernelArg(own.copy, 4, sizeof *numbers, &numbers[2]), "clSetKernelArg");
    run(own.copy);
}

static cl_int write_by_kernel(cl_command_queue queue, cl_mem to, size_t start, size_t count, const void *bytes)
{
    cl_int code;
    const cl_mem from = create_whole(own.context, CL_MEM_READ_WRITE, count, bytes, &code);
    if (!from) return code;
    copy_by_kernel(queue, from, 0, to, start, count);
    return clReleaseMemObject(from);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host_ptr, cl_int *code)
{
    if (host_ptr) {
        fprintf(stderr, "oclgrind_uploads: buffers with a host pointer are not provided for\n");
        abort();
    }
    use_context(context);
    void *zeros = calloc(1, size);
    const cl_mem memory = zeros ? create_whole(context, flags, size, zeros, code) : NULL;
    free(zeros);
    if (!memory) return NULL;
    const cl_ulong count = size;
    check(clSetKernelArg(own.forget, 0, sizeof memory, &memory), "clSetKernelArg");
    check(clSetKernelArg(own.forget, 1, sizeof count, &count), "clSetKernelArg");
    run(own.forget);
    return memory;
}

// All three are blocking; nobody here waits for their events.

cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t start, size_t count, const void *bytes,
                            cl_uint event_count, const cl_event *events, cl_event *event)
{
    (void)blocking, (void)event_count, (void)events, (void)event;
    return write_by_kernel(queue, memory, start, count, bytes);
}

cl_int clEnqueueFillBuffer(cl_command_queue queue, cl_mem memory, const void *pattern, size_t pattern_size, size_t start, size_t count,
                           cl_uint event_count, const cl_event *events, cl_event *event)
{
    (void)event_count, (void)events, (void)event;
    char *bytes = malloc(count);
    if (!bytes) return CL_OUT_OF_HOST_MEMORY;
    for (size_t i = 0; i < count; i++) bytes[i] = ((const char *)pattern)[i % pattern_size];
    const cl_int code = write_by_kernel(queue, memory, start, count, bytes);
    free(bytes);
    return code;
}

cl_int clEnqueueCopyBuffer(cl_command_queue queue, cl_mem from, cl_mem to, size_t first, size_t start, size_t count, cl_uint event_count,
                           const cl_event *events, cl_event *event)
{
    (void)event_count, (void)events, (void)event;
    copy_by_kernel(queue, from, first, to, start, count);
    return CL_SUCCESS;
}
