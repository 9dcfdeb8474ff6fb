// The safetensors format: 8-byte little-endian header size, JSON header {"name": {"dtype", "shape", "data_offsets": [begin, end]},
// "__metadata__": {text: text}}, then the values, row-major, without gaps.
#ifndef IO_SAFETENSORS_H
#define IO_SAFETENSORS_H

#include "io/tensor_file.h"
#include "io/tensor_reader.h"

// Memory-maps the file and lists its tensors in file order. IDM_BAD_INPUT, naming file and tensor, unless every byte of the file is
// accounted for exactly once: header of at most 100 MB inside the file, known types, sizes that fit the shapes, no overlap, gap or
// duplicate.
idm_status safetensors_open(const char *path, tensor_list *list, tensor_reader *reader);

typedef struct safetensors_tensor {
    const char *name;
    file_dtype dtype;
    int rank;
    int64_t shape[TENSOR_FILE_RANK_MAX];
    const void *data; // row-major
} safetensors_tensor;

typedef struct safetensors_metadata {
    const char *key, *value;
} safetensors_metadata;

// Writes a file (beside the target, synced, renamed). Larger value types come first, so that every tensor lies at a multiple of its type's
// size; else the order is the caller's. IDM_FAILED: cannot write.
idm_status safetensors_write(const char *path, const safetensors_tensor *tensors, size_t count, const safetensors_metadata *metadata,
                             size_t metadata_count);

// The values of tensors[index], valid until the next call. NULL: there are none, with a message.
typedef const void *safetensors_source(void *user, size_t index);

// The same with values that are asked for one tensor at a time; `data` is not read. IDM_FAILED too where the source has none: then nothing
// is written.
idm_status safetensors_write_from(const char *path, const safetensors_tensor *tensors, size_t count, const safetensors_metadata *metadata,
                                  size_t metadata_count, safetensors_source *source, void *user);

#endif
