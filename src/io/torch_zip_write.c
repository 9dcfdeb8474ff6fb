#include "core/files.h"
#include "core/status.h"
#include "io/torch_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

// A growing byte string; `failed` once memory ran out, checked at the end.
typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
} bytes;

static void put(bytes *b, const void *data, size_t size)
{
    if (b->failed) return;
    if (b->capacity - b->size < size) {
        const size_t larger = 2 * b->capacity + size + 4096;
        uint8_t *grown = realloc(b->data, larger);
        if (!grown) {
            b->failed = true;
            return;
        }
        b->data = grown;
        b->capacity = larger;
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_text(bytes *b, const char *text)
{
    put(b, text, strlen(text));
}

// Little-endian, `width` bytes.
static void put_number(bytes *b, uint64_t value, size_t width)
{
    put(b, &value, width);
}

// The archive, written entry by entry, all stored. Values begin at multiples of 64 bytes as in torch's own files.
typedef struct archive {
    files_writer *writer;
    bytes directory;
    uint64_t at;
    unsigned entries;
    const char *path;
} archive;

enum { ALIGNMENT = 64, LOCAL_HEADER = 30, EXTRA_HEADER = 4 };

static idm_status write_entry(archive *a, const char *name, const void *data, size_t size)
{
    static const uint8_t padding[ALIGNMENT] = {0};
    const size_t length = strlen(name), unaligned = (a->at + LOCAL_HEADER + length + EXTRA_HEADER) % ALIGNMENT;
    const size_t pad = (ALIGNMENT - unaligned) % ALIGNMENT;
    const uint64_t header_at = a->at, end = a->at + LOCAL_HEADER + length + EXTRA_HEADER + pad + size;
    if (end > UINT32_MAX || a->entries == UINT16_MAX) return status_fail(IDM_FAILED, "%s: too large for a torch file (4 GiB)", a->path);
    bytes common = {0};                 // what the local header and the directory have in common
    put_number(&common, 20, 2);         // zip version
    put_number(&common, 0x800, 2);      // names are UTF-8
    put_number(&common, 0, 2);          // stored
    put_number(&common, 0x00210000, 4); // 1980-01-01: the same weights make the same file
    put_number(&common, crc32_z(0, data, size), 4);
    put_number(&common, size, 4);
    put_number(&common, size, 4);
    put_number(&common, length, 2);
    bytes local = {0};
    put_text(&local, "PK\3\4");
    put(&local, common.data, common.size);
    put_number(&local, EXTRA_HEADER + pad, 2);
    put_text(&local, name);
    put_text(&local, "FB"); // the extra field that torch pads with
    put_number(&local, pad, 2);
    put(&local, padding, pad);
    put_text(&a->directory, "PK\1\2");
    put_number(&a->directory, 20, 2);
    put(&a->directory, common.data, common.size);
    put_number(&a->directory, 0, 2 + 2 + 2 + 2); // no extra, comment, disk, attributes
    put_number(&a->directory, 0, 4);
    put_number(&a->directory, header_at, 4);
    put_text(&a->directory, name);
    idm_status status = IDM_OK;
    if (common.failed || local.failed || a->directory.failed) status = status_fail(IDM_FAILED, "%s: not enough memory to write", a->path);
    else status = files_write(a->writer, local.data, local.size);
    if (status == IDM_OK) status = files_write(a->writer, data, size);
    free(common.data);
    free(local.data);
    a->at = end;
    a->entries++;
    return status;
}

static idm_status write_directory(archive *a)
{
    bytes end = {0};
    const uint64_t size = a->directory.size;
    if (a->at + size > UINT32_MAX) return status_fail(IDM_FAILED, "%s: too large for a torch file (4 GiB)", a->path);
    put_text(&end, "PK\5\6");
    put_number(&end, 0, 4); // disks
    put_number(&end, a->entries, 2);
    put_number(&end, a->entries, 2);
    put_number(&end, size, 4);
    put_number(&end, a->at, 4);
    put_number(&end, 0, 2); // comment
    idm_status status = end.failed ? status_fail(IDM_FAILED, "%s: not enough memory to write", a->path) : IDM_OK;
    if (status == IDM_OK) status = files_write(a->writer, a->directory.data, a->directory.size);
    if (status == IDM_OK) status = files_write(a->writer, end.data, end.size);
    free(end.data);
    return status;
}

static void pickle_text(bytes *b, const char *text)
{
    put_text(b, "X");
    put_number(b, strlen(text), 4);
    put_text(b, text);
}

// LONG1: any 64-bit number.
static void pickle_number(bytes *b, int64_t value)
{
    put_text(b, "\x8a\x08");
    put_number(b, (uint64_t)value, 8);
}

static void pickle_tuple(bytes *b, const int64_t *values, int count)
{
    put_text(b, "(");
    for (int i = 0; i < count; i++) pickle_number(b, values[i]);
    put_text(b, "t");
}

static size_t tensor_values(const torch_zip_tensor *tensor)
{
    size_t count = 1;
    for (int d = 0; d < tensor->rank; d++) count *= (size_t)tensor->shape[d];
    return count;
}

// name: _rebuild_tensor_v2(("storage", FloatStorage, key, "cpu", count), 0, shape, strides, False, OrderedDict())
static void pickle_tensor(bytes *b, const torch_zip_tensor *tensor, size_t key)
{
    int64_t stride[TENSOR_FILE_RANK_MAX], step = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= tensor->shape[d];
    }
    char text[32];
    (void)snprintf(text, sizeof text, "%zu", key);
    pickle_text(b, tensor->name);
    put_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(b, "storage");
    put_text(b, "ctorch\nFloatStorage\n");
    pickle_text(b, text);
    pickle_text(b, "cpu");
    pickle_number(b, (int64_t)tensor_values(tensor));
    put_text(b, "tQ");
    pickle_number(b, 0);
    pickle_tuple(b, tensor->shape, tensor->rank);
    pickle_tuple(b, stride, tensor->rank);
    put_text(b, "\x89"
                "ccollections\nOrderedDict\n)RtR");
}

// The storage of a tensor has the number of the first tensor with the same values.
static size_t storage_key(const torch_zip_tensor *tensors, size_t index)
{
    size_t first = 0;
    while (tensors[first].data != tensors[index].data) first++;
    return first;
}

static idm_status write_entries(archive *a, const bytes *pickled, const torch_zip_tensor *tensors, size_t count)
{
    IDM_TRY(write_entry(a, "archive/data.pkl", pickled->data, pickled->size));
    IDM_TRY(write_entry(a, "archive/byteorder", "little", 6));
    for (size_t i = 0; i < count; i++) {
        if (storage_key(tensors, i) != i) continue;
        char name[64];
        (void)snprintf(name, sizeof name, "archive/data/%zu", i);
        IDM_TRY(write_entry(a, name, tensors[i].data, tensor_values(&tensors[i]) * sizeof(float)));
    }
    IDM_TRY(write_entry(a, "archive/version", "3\n", 2));
    return write_directory(a);
}

idm_status torch_zip_write(const char *path, const torch_zip_tensor *tensors, size_t count)
{
    bytes pickled = {0};
    put_text(&pickled, "\x80\x02"
                       "ccollections\nOrderedDict\n)R(");
    for (size_t i = 0; i < count; i++) pickle_tensor(&pickled, &tensors[i], storage_key(tensors, i));
    put_text(&pickled, "u.");
    archive a = {.path = path};
    idm_status status =
        pickled.failed ? status_fail(IDM_FAILED, "%s: not enough memory to write", path) : files_write_begin(path, &a.writer);
    if (status == IDM_OK) {
        status = write_entries(&a, &pickled, tensors, count);
        if (status == IDM_OK) status = files_write_commit(a.writer);
        else files_write_abort(a.writer);
    }
    free(a.directory.data);
    free(pickled.data);
    return status;
}
