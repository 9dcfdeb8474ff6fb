// Common to the fuzz targets of tensor files: the input as a file in memory, opened, and every tensor of moderate size read.
#ifndef FUZZ_TENSORS_H
#define FUZZ_TENSORS_H

#include "io/tensor_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_read_all(tensor_file *file)
{
    enum { VALUES_MAX = 1 << 16, TENSORS_MAX = 64 };
    int64_t *values = malloc(VALUES_MAX * sizeof *values);
    for (size_t i = 0; i < tensor_file_count(file) && i < TENSORS_MAX; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        if (tensor_file_find(file, entry->name) != entry) abort();
        if (entry->count > VALUES_MAX) continue;
        if (tensor_file_read_f32(file, entry, (float *)values) != IDM_OK) (void)tensor_file_read_i64(file, entry, values);
    }
    free(values);
}

static inline void fuzz_open(const uint8_t *data, size_t size)
{
    const int memory = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    tensor_file *file;
    if (write(memory, data, size) == (ssize_t)size && tensor_file_open(path, &file) == IDM_OK) {
        fuzz_read_all(file);
        tensor_file_close(file);
    }
    (void)close(memory);
}

#endif
