// The kernel sources that the program carries; the table is generated at build time (cmake/embed_kernels.cmake).
#ifndef OPENCL_PROGRAM_H
#define OPENCL_PROGRAM_H

struct embedded_source {
    const char *name, *text; // "conv.cl"
};
extern const struct embedded_source embedded_sources[]; // ends with a null name

#endif
