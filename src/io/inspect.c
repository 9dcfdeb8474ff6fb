#include "io/inspect.h"

#include "core/status.h"
#include "io/tensor_file.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

// For each tensor the index of the first one that is the same values, itself as a rule.
static size_t *find_shared(const tensor_file *file)
{
    const size_t count = tensor_file_count(file);
    size_t *first = calloc(count + 1, sizeof *first), *first_of_storage = calloc(count + 1, sizeof *first_of_storage);
    for (size_t i = 0; first && first_of_storage && i < count; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        first[i] = i;
        // only torch archives have more than storage 0, and each of theirs belongs to some tensor: indices stay below the count
        if (entry->storage >= count) continue;
        size_t *known = &first_of_storage[entry->storage];
        if (*known && tensor_entry_same(tensor_file_at(file, *known - 1), entry)) first[i] = *known - 1;
        else if (*known == 0) *known = i + 1;
    }
    free(first_of_storage);
    return first;
}

static size_t entry_bytes(const tensor_entry *entry)
{
    return entry->count * file_dtype_size(entry->dtype);
}

// Metadata may hold anything: what a terminal could take for commands is shown as "?".
static void print_harmless(const char *text, FILE *out)
{
    for (; *text; text++) (void)fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

static void print_table(const tensor_file *file, const size_t *first, FILE *out)
{
    const size_t count = tensor_file_count(file);
    size_t bytes = 0, values = 0, distinct = 0;
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        if (first[i] != i) continue;
        bytes += entry_bytes(entry);
        values += entry->count;
        distinct++;
    }
    (void)fprintf(out, "%s: %s, %zu tensors", tensor_file_path(file), tensor_file_format(file), count);
    if (distinct != count) (void)fprintf(out, " (%zu distinct)", distinct);
    (void)fprintf(out, ", %zu values, %zu bytes\n", values, bytes);
    const char *key, *value;
    for (size_t i = 0; (value = tensor_file_metadata_at(file, i, &key)); i++) {
        (void)fputs("  ", out);
        print_harmless(key, out);
        (void)fputs(" = ", out);
        print_harmless(value, out);
        (void)fputc('\n', out);
    }
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        char shape[200];
        tensor_shape_text(shape, entry->rank, entry->shape);
        (void)fprintf(out, "%-5s %-20s %s", file_dtype_name(entry->dtype), shape, entry->name);
        if (first[i] != i) (void)fprintf(out, " = %s", tensor_file_at(file, first[i])->name);
        (void)fputc('\n', out);
    }
}

static void add_tensor(cJSON *list, const tensor_file *file, size_t i, size_t first)
{
    const tensor_entry *entry = tensor_file_at(file, i);
    cJSON *item = cJSON_CreateObject();
    (void)cJSON_AddItemToArray(list, item);
    (void)cJSON_AddStringToObject(item, "name", entry->name);
    (void)cJSON_AddStringToObject(item, "dtype", file_dtype_name(entry->dtype));
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (int d = 0; d < entry->rank; d++) (void)cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)entry->shape[d]));
    (void)cJSON_AddNumberToObject(item, "bytes", (double)entry_bytes(entry));
    if (first != i) (void)cJSON_AddStringToObject(item, "shared_with", tensor_file_at(file, first)->name);
}

static idm_status print_json(const tensor_file *file, const size_t *first, FILE *out)
{
    cJSON *root = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(root, "file", tensor_file_path(file));
    (void)cJSON_AddStringToObject(root, "format", tensor_file_format(file));
    cJSON *metadata = cJSON_AddObjectToObject(root, "metadata");
    const char *key, *value;
    for (size_t i = 0; (value = tensor_file_metadata_at(file, i, &key)); i++) (void)cJSON_AddStringToObject(metadata, key, value);
    cJSON *list = cJSON_AddArrayToObject(root, "tensors");
    for (size_t i = 0; i < tensor_file_count(file); i++) add_tensor(list, file, i, first[i]);
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (!text) return status_fail(IDM_FAILED, "%s: not enough memory to describe the file", tensor_file_path(file));
    (void)fprintf(out, "%s\n", text);
    cJSON_free(text);
    return IDM_OK;
}

idm_status inspect_file(const char *path, FILE *out, bool json)
{
    tensor_file *file;
    IDM_TRY(tensor_file_open(path, &file));
    size_t *first = find_shared(file);
    idm_status status = IDM_OK;
    if (!first) status = status_fail(IDM_FAILED, "%s: not enough memory to describe the file", path);
    else if (json) status = print_json(file, first, out);
    else print_table(file, first, out);
    free(first);
    tensor_file_close(file);
    if (status == IDM_OK && ferror(out)) status = status_fail(IDM_FAILED, "cannot write the description of %s", path);
    return status;
}
