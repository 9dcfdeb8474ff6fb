// A tensor is a view: a buffer, an offset, a type and four extents n h w c. It owns nothing; copying it is copying the view.
#ifndef OPENCL_TENSOR_H
#define OPENCL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I32 } dtype;

// Device memory that tensors lie in; in a dry run only its size is real.
typedef struct buffer buffer;

typedef struct tensor {
    buffer *buffer; // null: "no tensor", for optional arguments
    size_t offset;  // bytes from the buffer's start, a multiple of 256 for a whole tensor, of the element for a part of one
    dtype type;
    int n, h, w, c; // samples, rows, columns, channels (contiguous); a matrix is n = h = 1, w rows of c
} tensor;

#define NO_TENSOR ((tensor){0})

static inline bool tensor_given(tensor t)
{
    return t.buffer != NULL;
}

static inline size_t dtype_size(dtype type)
{
    return type == DTYPE_F16 || type == DTYPE_BF16 ? 2 : 4;
}

// Pixels (= tokens = rows of a matrix) of all samples.
static inline int tensor_rows(tensor t)
{
    return t.n * t.h * t.w;
}

static inline size_t tensor_elements(tensor t)
{
    return (size_t)t.n * (size_t)t.h * (size_t)t.w * (size_t)t.c;
}

static inline size_t tensor_bytes(tensor t)
{
    return tensor_elements(t) * dtype_size(t.type);
}

// The same values as a matrix of all pixels, rows x c.
static inline tensor tensor_matrix(tensor t)
{
    t.w = tensor_rows(t);
    t.n = t.h = 1;
    return t;
}

// Rows [first, first + count) of tensor_matrix(t).
static inline tensor tensor_row_range(tensor t, int first, int count)
{
    t = tensor_matrix(t);
    t.offset += (size_t)first * (size_t)t.c * dtype_size(t.type);
    t.w = count;
    return t;
}

// The same values under other extents (their product must be equal).
static inline tensor tensor_shaped(tensor t, int n, int h, int w, int c)
{
    t.n = n;
    t.h = h;
    t.w = w;
    t.c = c;
    return t;
}

#endif
