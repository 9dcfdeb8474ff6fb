// Counts device memory from outside the program: loaded by LD_PRELOAD, it stands before the OpenCL loader and sees every buffer that is
// made and given back, whoever asks for it. Each change is a line "seconds current peak" (bytes) in the file that IDM_BUFFER_COUNT names,
// written at once, so that the last line is right even when the program is killed. One thread at a time, as in idm.
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BUFFERS_MAX = 65536 };

static struct {
    cl_mem memory;
    size_t size;
    int references;
} buffers[BUFFERS_MAX];
static int count;
static size_t current, peak;
static FILE *trace;

// The function of the same name in the library behind this one.
static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function) return function;
    fprintf(stderr, "buffer_counter: there is no %s to count\n", name);
    abort();
}

static int find(cl_mem memory)
{
    for (int i = count - 1; i >= 0; i--)
        if (buffers[i].memory == memory) return i;
    return -1;
}

static void note(void)
{
    const char *path = getenv("IDM_BUFFER_COUNT");
    struct timespec time;
    if (!trace && (!path || !(trace = fopen(path, "w")))) return;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    if (current > peak) peak = current;
    fprintf(trace, "%.3f %zu %zu\n", (double)time.tv_sec + 1e-9 * (double)time.tv_nsec, current, peak);
    (void)fflush(trace);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host_ptr, cl_int *code)
{
    cl_mem (*const create)(cl_context, cl_mem_flags, size_t, void *, cl_int *) = next("clCreateBuffer");
    const cl_mem memory = create(context, flags, size, host_ptr, code);
    if (!memory) return memory;
    if (count == BUFFERS_MAX) {
        fprintf(stderr, "buffer_counter: more than %d buffers at once\n", BUFFERS_MAX);
        abort();
    }
    buffers[count].memory = memory;
    buffers[count].size = size;
    buffers[count++].references = 1;
    current += size;
    note();
    return memory;
}

cl_int clRetainMemObject(cl_mem memory)
{
    cl_int (*const retain)(cl_mem) = next("clRetainMemObject");
    const int i = find(memory);
    const cl_int code = retain(memory);
    if (code == CL_SUCCESS && i >= 0) buffers[i].references++;
    return code;
}

cl_int clReleaseMemObject(cl_mem memory)
{
    cl_int (*const release)(cl_mem) = next("clReleaseMemObject");
    const int i = find(memory);
    const cl_int code = release(memory);
    if (code != CL_SUCCESS || i < 0 || --buffers[i].references > 0) return code;
    current -= buffers[i].size;
    buffers[i] = buffers[--count];
    note();
    return code;
}
