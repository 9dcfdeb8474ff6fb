#include "io/tensor_file.h"

#include "core/status.h"
#include "io/half.h"
#include "io/safetensors.h"
#include "io/tensor_reader.h"
#include "io/torch_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files hold little-endian values, which are copied as they are");

struct tensor_file {
    char *path;
    tensor_list list;
    const tensor_entry **by_name;
    tensor_reader reader;
};

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [FILE_F64] = {"F64", 8}, [FILE_F32] = {"F32", 4}, [FILE_F16] = {"F16", 2}, [FILE_BF16] = {"BF16", 2}, [FILE_I64] = {"I64", 8},
    [FILE_I32] = {"I32", 4}, [FILE_I16] = {"I16", 2}, [FILE_I8] = {"I8", 1},   [FILE_U8] = {"U8", 1},     [FILE_BOOL] = {"BOOL", 1}};

size_t file_dtype_size(file_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *file_dtype_name(file_dtype dtype)
{
    return dtypes[dtype].name;
}

bool tensor_text_is_sound(const char *text, size_t length)
{
    enum { TEXT_MAX = 4095 };
    if (length == 0 || length > TEXT_MAX) return false;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false; // such as a terminal's escape sequences
    }
    return true;
}

static idm_status no_memory(const char *path)
{
    return status_fail(IDM_FAILED, "%s: not enough memory to read the file", path);
}

// Room for one more element of a growing array.
static void *grown(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return array;
    const size_t larger = *capacity ? 2 * *capacity : 64;
    void *result = reallocarray(array, larger, size);
    if (result) *capacity = larger;
    return result;
}

idm_status tensor_list_add(tensor_list *list, const char *path, const char *name, size_t name_length, tensor_entry entry)
{
    if (!tensor_text_is_sound(name, name_length))
        return status_fail(IDM_BAD_INPUT, "%s: tensor %zu has an unusable name (empty, too long, or with control characters)", path,
                           list->count);
    tensor_entry *entries = grown(list->entries, list->count, &list->capacity, sizeof *entries);
    if (!entries) return no_memory(path);
    list->entries = entries;
    entry.name = strndup(name, name_length);
    if (!entry.name) return no_memory(path);
    entries[list->count++] = entry;
    return IDM_OK;
}

idm_status tensor_list_add_metadata(tensor_list *list, const char *path, const char *key, const char *value)
{
    tensor_metadata *metadata = grown(list->metadata, list->metadata_count, &list->metadata_capacity, sizeof *metadata);
    if (!metadata) return no_memory(path);
    list->metadata = metadata;
    for (size_t i = 0; i < list->metadata_count; i++) {
        if (strcmp(metadata[i].key, key) == 0) return status_fail(IDM_BAD_INPUT, "%s: metadata key \"%.100s\" is there twice", path, key);
    }
    const tensor_metadata item = {strdup(key), strdup(value)};
    metadata[list->metadata_count++] = item;
    return item.key && item.value ? IDM_OK : no_memory(path);
}

void tensor_list_free(tensor_list *list)
{
    for (size_t i = 0; i < list->count; i++) free((char *)list->entries[i].name);
    for (size_t i = 0; i < list->metadata_count; i++) {
        free(list->metadata[i].key);
        free(list->metadata[i].value);
    }
    free(list->entries);
    free(list->metadata);
    *list = (tensor_list){0};
}

bool tensor_entry_count(tensor_entry *entry)
{
    int64_t count = 1;
    for (int d = 0; d < entry->rank; d++) {
        if (entry->shape[d] < 0 || __builtin_mul_overflow(count, entry->shape[d], &count)) return false;
    }
    int64_t bytes;
    if (__builtin_mul_overflow(count, (int64_t)file_dtype_size(entry->dtype), &bytes)) return false;
    entry->count = (size_t)count;
    return true;
}

void tensor_entry_make_contiguous(tensor_entry *entry)
{
    int64_t stride = 1;
    for (int d = entry->rank - 1; d >= 0; d--) {
        entry->stride[d] = stride;
        // with a dimension of 0 the product of the others may overflow; such a tensor has no values to reach
        stride = entry->count ? stride * entry->shape[d] : 0;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const tensor_entry *const *)a)->name, (*(const tensor_entry *const *)b)->name);
}

static idm_status index_names(tensor_file *file)
{
    const size_t count = file->list.count;
    file->by_name = calloc(count + 1, sizeof *file->by_name);
    if (!file->by_name) return no_memory(file->path);
    for (size_t i = 0; i < count; i++) file->by_name[i] = &file->list.entries[i];
    qsort(file->by_name, count, sizeof *file->by_name, compare_names);
    for (size_t i = 1; i < count; i++) {
        if (compare_names(&file->by_name[i - 1], &file->by_name[i]) == 0)
            return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" is there twice", file->path, file->by_name[i]->name);
    }
    return IDM_OK;
}

// Torch archives are told by the zip's first bytes; everything else is held to be safetensors, whose reader says what is wrong.
static idm_status read_tables(tensor_file *file)
{
    static const uint8_t old_torch[8] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46}; // a pickled magic number
    FILE *stream = fopen(file->path, "rbe");
    uint8_t first[8] = {0};
    const size_t got = stream ? fread(first, 1, sizeof first, stream) : 0;
    if (stream) (void)fclose(stream);
    if (got >= 4 && memcmp(first, "PK\3\4", 4) == 0) IDM_TRY(torch_zip_open(file->path, &file->list, &file->reader));
    else if (memcmp(first, old_torch, sizeof old_torch) == 0)
        return status_fail(IDM_BAD_INPUT, "%s: written by torch before 1.6: load it there and save it again with a newer torch",
                           file->path);
    else IDM_TRY(safetensors_open(file->path, &file->list, &file->reader));
    return index_names(file);
}

idm_status tensor_file_open(const char *path, tensor_file **file)
{
    *file = NULL;
    tensor_file *opened = calloc(1, sizeof *opened);
    if (!opened) return no_memory(path);
    opened->path = strdup(path);
    const idm_status status = opened->path ? read_tables(opened) : no_memory(path);
    if (status == IDM_OK) *file = opened;
    else tensor_file_close(opened);
    return status;
}

void tensor_file_close(tensor_file *file)
{
    if (!file) return;
    if (file->reader.close) file->reader.close(file->reader.self);
    tensor_list_free(&file->list);
    free(file->by_name);
    free(file->path);
    free(file);
}

const char *tensor_file_path(const tensor_file *file)
{
    return file->path;
}

const char *tensor_file_format(const tensor_file *file)
{
    return file->reader.format;
}

size_t tensor_file_count(const tensor_file *file)
{
    return file->list.count;
}

const tensor_entry *tensor_file_at(const tensor_file *file, size_t index)
{
    return &file->list.entries[index];
}

const tensor_entry *tensor_file_find(const tensor_file *file, const char *name)
{
    const tensor_entry wanted = {.name = name}, *key = &wanted;
    const tensor_entry **found = bsearch(&key, file->by_name, file->list.count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

const char *tensor_file_metadata(const tensor_file *file, const char *key)
{
    for (size_t i = 0; i < file->list.metadata_count; i++) {
        if (strcmp(file->list.metadata[i].key, key) == 0) return file->list.metadata[i].value;
    }
    return NULL;
}

const char *tensor_file_metadata_at(const tensor_file *file, size_t index, const char **key)
{
    if (index >= file->list.metadata_count) return NULL;
    *key = file->list.metadata[index].key;
    return file->list.metadata[index].value;
}

// A row is the last dimension: calls `convert` once per row, or once for all values of a contiguous tensor.
typedef void convert_row(file_dtype dtype, const uint8_t *from, int64_t stride, size_t count, void *to);

static void convert_all(const tensor_entry *entry, const uint8_t *base, convert_row *convert, uint8_t *to, size_t to_size)
{
    tensor_entry contiguous = *entry;
    tensor_entry_make_contiguous(&contiguous);
    if (entry->rank == 0 || memcmp(entry->stride, contiguous.stride, (size_t)entry->rank * sizeof *entry->stride) == 0) {
        convert(entry->dtype, base, 1, entry->count, to);
        return;
    }
    const int last = entry->rank - 1;
    const int64_t size = (int64_t)file_dtype_size(entry->dtype);
    int64_t index[TENSOR_FILE_RANK_MAX] = {0};
    for (size_t done = 0; done < entry->count; done += (size_t)entry->shape[last]) {
        int64_t at = 0;
        for (int d = 0; d < last; d++) at += index[d] * entry->stride[d];
        convert(entry->dtype, base + at * size, entry->stride[last], (size_t)entry->shape[last], to + done * to_size);
        for (int d = last - 1; d >= 0 && ++index[d] == entry->shape[d]; d--) index[d] = 0;
    }
}

// Values need not lie at multiples of their size in the file, hence the copies.
#define LOAD(type, from)                        \
    __extension__({                             \
        type value_;                            \
        memcpy(&value_, (from), sizeof value_); \
        value_;                                 \
    })

static void row_to_f32(file_dtype dtype, const uint8_t *from, int64_t stride, size_t count, void *to)
{
    float *out = to;
    const int64_t step = stride * (int64_t)file_dtype_size(dtype);
    if (dtype == FILE_F32 && stride == 1) {
        memcpy(out, from, count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < count; i++, from += step) {
        switch (dtype) {
        case FILE_F64:
            out[i] = (float)LOAD(double, from);
            break;
        case FILE_F16:
            out[i] = half_to_float(LOAD(uint16_t, from));
            break;
        case FILE_BF16:
            out[i] = bfloat16_to_float(LOAD(uint16_t, from));
            break;
        default:
            out[i] = LOAD(float, from);
            break;
        }
    }
}

static void row_to_i64(file_dtype dtype, const uint8_t *from, int64_t stride, size_t count, void *to)
{
    int64_t *out = to;
    const int64_t step = stride * (int64_t)file_dtype_size(dtype);
    for (size_t i = 0; i < count; i++, from += step) {
        switch (dtype) {
        case FILE_I32:
            out[i] = LOAD(int32_t, from);
            break;
        case FILE_I16:
            out[i] = LOAD(int16_t, from);
            break;
        case FILE_I8:
            out[i] = (int8_t)*from;
            break;
        case FILE_U8:
        case FILE_BOOL:
            out[i] = *from;
            break;
        default:
            out[i] = LOAD(int64_t, from);
            break;
        }
    }
}

static idm_status read_values(tensor_file *file, const tensor_entry *entry, convert_row *convert, void *values, size_t size)
{
    if (entry->count == 0) return IDM_OK;
    const uint8_t *bytes;
    IDM_TRY(file->reader.storage(file->reader.self, entry, &bytes));
    convert_all(entry, bytes + entry->offset, convert, values, size);
    return IDM_OK;
}

idm_status tensor_file_read_f32(tensor_file *file, const tensor_entry *entry, float *values)
{
    if (entry->dtype > FILE_BF16)
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" holds %s where floating-point values belong", file->path, entry->name,
                           file_dtype_name(entry->dtype));
    return read_values(file, entry, row_to_f32, values, sizeof *values);
}

idm_status tensor_file_read_i64(tensor_file *file, const tensor_entry *entry, int64_t *values)
{
    if (entry->dtype < FILE_I64)
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" holds %s where integers belong", file->path, entry->name,
                           file_dtype_name(entry->dtype));
    return read_values(file, entry, row_to_i64, values, sizeof *values);
}

// As an integer: fast-math flags would fold isfinite away.
static bool is_finite(const float *value)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    return (bits & 0x7f800000) != 0x7f800000;
}

size_t tensor_first_nonfinite(const float *values, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++) finite &= is_finite(&values[i]); // no early end: compilers make vectors of it
    if (finite) return count;
    size_t first = 0;
    while (is_finite(&values[first])) first++;
    return first;
}

idm_status tensor_file_check_finite(const tensor_file *file, const tensor_entry *entry, const float *values)
{
    const size_t first = tensor_first_nonfinite(values, entry->count);
    if (first == entry->count) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" holds NaN or infinity (value %zu)", file->path, entry->name, first);
}

bool tensor_entry_same(const tensor_entry *a, const tensor_entry *b)
{
    const size_t dimensions = (size_t)a->rank * sizeof *a->shape;
    return a->storage == b->storage && a->offset == b->offset && a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->shape, b->shape, dimensions) == 0 && memcmp(a->stride, b->stride, dimensions) == 0;
}

void tensor_shape_text(char out[200], int rank, const int64_t *shape)
{
    size_t used = (size_t)snprintf(out, 200, "(");
    for (int d = 0; d < rank; d++) used += (size_t)snprintf(out + used, 200 - used, "%s%lld", d ? ", " : "", (long long)shape[d]);
    (void)snprintf(out + used, 200 - used, ")");
}

idm_status tensor_file_expect_shape(const tensor_file *file, const tensor_entry *entry, int rank, const int64_t *shape)
{
    if (entry->rank == rank && memcmp(entry->shape, shape, (size_t)rank * sizeof *shape) == 0) return IDM_OK;
    char has[200], wanted[200];
    tensor_shape_text(has, entry->rank, entry->shape);
    tensor_shape_text(wanted, rank, shape);
    return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" has the shape %s, expected %s", file->path, entry->name, has, wanted);
}
