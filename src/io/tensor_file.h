// Named tensors in a file, whatever the file's format: safetensors or a torch zip archive. Later code never asks which it was.
// Values stay in the file until they are read; a torch archive keeps one uncompressed storage in memory at a time.
// One thread at a time per tensor_file. Every failure is IDM_BAD_INPUT (or IDM_FAILED: no memory) and names the file and the tensor.
#ifndef IO_TENSOR_FILE_H
#define IO_TENSOR_FILE_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TENSOR_FILE_RANK_MAX = 8 };

typedef enum file_dtype { FILE_F64, FILE_F32, FILE_F16, FILE_BF16, FILE_I64, FILE_I32, FILE_I16, FILE_I8, FILE_U8, FILE_BOOL } file_dtype;

// Bytes per value, and the name that safetensors gives the type ("F32").
size_t file_dtype_size(file_dtype dtype);
const char *file_dtype_name(file_dtype dtype);

typedef struct tensor_entry {
    const char *name; // unique in its file, UTF-8 without control characters
    file_dtype dtype;
    int rank; // 0: one value without a dimension
    int64_t shape[TENSOR_FILE_RANK_MAX];
    int64_t stride[TENSOR_FILE_RANK_MAX]; // in values; a torch tensor may be a transposed view
    size_t count;                         // values in all
    size_t storage, offset;               // values begin `offset` bytes into this storage; aliases share both
} tensor_entry;

typedef struct tensor_file tensor_file;

// Opens a file by its content. On failure *file is NULL.
idm_status tensor_file_open(const char *path, tensor_file **file);
void tensor_file_close(tensor_file *file); // NULL is fine

const char *tensor_file_path(const tensor_file *file);
const char *tensor_file_format(const tensor_file *file); // "safetensors" or "torch zip"

// Tensors in the file's own order; find returns NULL where there is none of that name.
size_t tensor_file_count(const tensor_file *file);
const tensor_entry *tensor_file_at(const tensor_file *file, size_t index);
const tensor_entry *tensor_file_find(const tensor_file *file, const char *name);

// Metadata (safetensors only): NULL where there is no such key, or index is past the end.
const char *tensor_file_metadata(const tensor_file *file, const char *key);
const char *tensor_file_metadata_at(const tensor_file *file, size_t index, const char **key);

// Copies all values in row-major order into the caller's `count` values: any float type as float32, any integer type as int64.
idm_status tensor_file_read_f32(tensor_file *file, const tensor_entry *entry, float *values);
idm_status tensor_file_read_i64(tensor_file *file, const tensor_entry *entry, int64_t *values);

// IDM_BAD_INPUT naming the entry and the place if a value is NaN or infinite.
idm_status tensor_file_check_finite(const tensor_file *file, const tensor_entry *entry, const float *values);

// Index of the first value that is NaN or infinite; `count`: none is.
size_t tensor_first_nonfinite(const float *values, size_t count);

// Both are views of the same values (same storage, place, type, shape and strides).
bool tensor_entry_same(const tensor_entry *a, const tensor_entry *b);

// "(32, 4, 3, 3)" for messages; `out` holds 200 bytes.
void tensor_shape_text(char out[200], int rank, const int64_t *shape);

// IDM_BAD_INPUT naming both shapes unless `entry` has exactly this one.
idm_status tensor_file_expect_shape(const tensor_file *file, const tensor_entry *entry, int rank, const int64_t *shape);

#endif
