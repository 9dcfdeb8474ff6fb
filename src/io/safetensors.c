#include "io/safetensors.h"

#include "core/files.h"
#include "core/status.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100000000 };

typedef struct mapping {
    uint8_t *bytes; // NULL: nothing mapped
    size_t size, data_begin;
} mapping;

static void mapping_close(void *self)
{
    mapping *map = self;
    if (map->bytes) (void)munmap(map->bytes, map->size);
    free(map);
}

static idm_status mapping_storage(void *self, const tensor_entry *entry, const uint8_t **bytes)
{
    (void)entry;
    const mapping *map = self;
    *bytes = map->bytes + map->data_begin;
    return IDM_OK;
}

static idm_status map_file(const char *path, mapping *map)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return status_fail(IDM_BAD_INPUT, "%s: cannot read: %s", path, strerror(errno));
    struct stat info;
    idm_status status = IDM_OK;
    if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) status = status_fail(IDM_BAD_INPUT, "%s: not a regular file", path);
    else if (info.st_size < 8) status = status_fail(IDM_BAD_INPUT, "%s: too short for a safetensors file", path);
    else {
        map->size = (size_t)info.st_size;
        void *bytes = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (bytes == MAP_FAILED) status = status_fail(IDM_FAILED, "%s: cannot map into memory: %s", path, strerror(errno));
        else map->bytes = bytes;
    }
    (void)close(descriptor);
    return status;
}

// A whole number that a double holds exactly.
static bool whole_number(const cJSON *item, int64_t *value)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 0x1p53) || item->valuedouble != floor(item->valuedouble))
        return false;
    *value = (int64_t)item->valuedouble;
    return true;
}

static bool parse_dtype(const cJSON *item, file_dtype *dtype)
{
    const char *name = cJSON_GetStringValue(item);
    for (int type = FILE_F64; name && type <= FILE_BOOL; type++) {
        if (strcmp(name, file_dtype_name((file_dtype)type)) != 0) continue;
        *dtype = (file_dtype)type;
        return true;
    }
    return false;
}

static bool parse_shape(const cJSON *item, tensor_entry *entry)
{
    if (!cJSON_IsArray(item)) return false;
    for (const cJSON *dimension = item->child; dimension; dimension = dimension->next) {
        if (entry->rank == TENSOR_FILE_RANK_MAX || !whole_number(dimension, &entry->shape[entry->rank])) return false;
        entry->rank++;
    }
    return true;
}

// The three members, each once and no others.
typedef struct description {
    const cJSON *dtype, *shape, *offsets;
} description;

static bool find_members(const cJSON *item, description *found)
{
    const struct {
        const char *name;
        const cJSON **place;
    } members[] = {{"dtype", &found->dtype}, {"shape", &found->shape}, {"data_offsets", &found->offsets}};
    if (!cJSON_IsObject(item)) return false;
    for (const cJSON *member = item->child; member; member = member->next) {
        size_t i = 0;
        while (i < 3 && strcmp(member->string, members[i].name) != 0) i++;
        if (i == 3 || *members[i].place) return false;
        *members[i].place = member;
    }
    return found->dtype && found->shape && found->offsets;
}

static idm_status parse_tensor(const char *path, const cJSON *item, size_t data_size, tensor_list *list)
{
    const char *name = item->string;
    description has = {0};
    tensor_entry entry = {0};
    int64_t begin, end;
    if (!tensor_text_is_sound(name, strlen(name)))
        return status_fail(IDM_BAD_INPUT, "%s: tensor %zu has an unusable name (empty, too long, or with control characters)", path,
                           list->count);
    if (!find_members(item, &has))
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.100s\" needs exactly dtype, shape and data_offsets", path, name);
    if (!parse_dtype(has.dtype, &entry.dtype)) {
        const char *dtype = cJSON_GetStringValue(has.dtype);
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.100s\" has the type %.20s, which is not supported", path, name,
                           dtype && tensor_text_is_sound(dtype, strlen(dtype)) ? dtype : "(unprintable)");
    }
    if (!parse_shape(has.shape, &entry))
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.100s\" has a damaged shape, or one of more than %d dimensions", path, name,
                           TENSOR_FILE_RANK_MAX);
    if (!tensor_entry_count(&entry)) return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.100s\" has an impossibly large shape", path, name);
    if (!cJSON_IsArray(has.offsets) || cJSON_GetArraySize(has.offsets) != 2 || !whole_number(has.offsets->child, &begin) ||
        !whole_number(has.offsets->child->next, &end) || begin > end || (size_t)end > data_size)
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.100s\" lies outside the file (truncated?)", path, name);
    if ((size_t)(end - begin) != entry.count * file_dtype_size(entry.dtype))
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.100s\" has %lld bytes, but its shape and type need %zu", path, name,
                           (long long)(end - begin), entry.count * file_dtype_size(entry.dtype));
    entry.offset = (size_t)begin;
    tensor_entry_make_contiguous(&entry);
    return tensor_list_add(list, path, name, strlen(name), entry);
}

static idm_status parse_metadata(const char *path, const cJSON *item, tensor_list *list)
{
    if (!cJSON_IsObject(item) || list->metadata_count > 0) return status_fail(IDM_BAD_INPUT, "%s: damaged or repeated __metadata__", path);
    enum { METADATA_MAX = 1000 };
    for (const cJSON *member = item->child; member; member = member->next) {
        const char *value = cJSON_GetStringValue(member);
        if (!value) return status_fail(IDM_BAD_INPUT, "%s: metadata \"%.100s\" is not a text", path, member->string);
        if (list->metadata_count == METADATA_MAX) return status_fail(IDM_BAD_INPUT, "%s: more than %d metadata keys", path, METADATA_MAX);
        IDM_TRY(tensor_list_add_metadata(list, path, member->string, value));
    }
    return IDM_OK;
}

static int compare_places(const void *a, const void *b)
{
    const tensor_entry *first = *(const tensor_entry *const *)a, *second = *(const tensor_entry *const *)b;
    if (first->offset != second->offset) return first->offset < second->offset ? -1 : 1;
    return (first->count > 0) - (second->count > 0); // empty ones before the one that begins at the same place
}

// Sorted by place, each tensor must begin where the one before ended.
static idm_status check_coverage(const char *path, const tensor_list *list, size_t data_size)
{
    const tensor_entry **sorted = calloc(list->count + 1, sizeof *sorted);
    if (!sorted) return status_fail(IDM_FAILED, "%s: not enough memory to read the file", path);
    for (size_t i = 0; i < list->count; i++) sorted[i] = &list->entries[i];
    qsort(sorted, list->count, sizeof *sorted, compare_places);
    idm_status status = IDM_OK;
    size_t end = 0;
    for (size_t i = 0; i < list->count && status == IDM_OK; i++) {
        if (sorted[i]->offset < end)
            status = status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" overlaps the one before it", path, sorted[i]->name);
        else if (sorted[i]->offset > end)
            status = status_fail(IDM_BAD_INPUT, "%s: there is a gap before tensor \"%s\"", path, sorted[i]->name);
        end = sorted[i]->offset + sorted[i]->count * file_dtype_size(sorted[i]->dtype);
    }
    free(sorted);
    if (status == IDM_OK && end != data_size)
        status = status_fail(IDM_BAD_INPUT, "%s: %zu bytes after the last tensor", path, data_size - end);
    return status;
}

// cJSON wants text that ends in a zero (its bounded parser has read past the end of unterminated text), so the header is copied.
static idm_status parse_json(const char *path, const uint8_t *bytes, size_t size, cJSON **header)
{
    char *text = malloc(size + 1);
    if (!text) return status_fail(IDM_FAILED, "%s: not enough memory to read the header", path);
    memcpy(text, bytes, size);
    text[size] = '\0';
    *header = size > 0 && text[0] == '{' && strlen(text) == size ? cJSON_ParseWithOpts(text, NULL, true) : NULL;
    free(text);
    if (!*header) return status_fail(IDM_BAD_INPUT, "%s: neither a safetensors file nor a torch zip archive (damaged header)", path);
    return IDM_OK;
}

static idm_status read_header(const char *path, mapping *map, tensor_list *list)
{
    uint64_t header_size;
    memcpy(&header_size, map->bytes, sizeof header_size);
    if (header_size > map->size - 8 || header_size > HEADER_MAX)
        return status_fail(IDM_BAD_INPUT, "%s: neither a safetensors file nor a torch zip archive, or truncated (header of %llu bytes)",
                           path, (unsigned long long)header_size);
    map->data_begin = 8 + (size_t)header_size;
    const size_t data_size = map->size - map->data_begin;
    cJSON *header;
    IDM_TRY(parse_json(path, map->bytes + 8, (size_t)header_size, &header));
    idm_status status = IDM_OK;
    for (const cJSON *item = header->child; item && status == IDM_OK; item = item->next) {
        if (strcmp(item->string, "__metadata__") == 0) status = parse_metadata(path, item, list);
        else status = parse_tensor(path, item, data_size, list);
    }
    cJSON_Delete(header);
    if (status == IDM_OK) status = check_coverage(path, list, data_size);
    return status;
}

idm_status safetensors_open(const char *path, tensor_list *list, tensor_reader *reader)
{
    mapping *map = calloc(1, sizeof *map);
    if (!map) return status_fail(IDM_FAILED, "%s: not enough memory to read the file", path);
    idm_status status = map_file(path, map);
    if (status == IDM_OK) status = read_header(path, map, list);
    if (status != IDM_OK) {
        mapping_close(map);
        return status;
    }
    *reader = (tensor_reader){"safetensors", map, mapping_storage, mapping_close};
    return IDM_OK;
}

static size_t tensor_size(const safetensors_tensor *tensor)
{
    size_t size = file_dtype_size(tensor->dtype);
    for (int d = 0; d < tensor->rank; d++) size *= (size_t)tensor->shape[d];
    return size;
}

// Calls visit(context, tensor) in file order: by type size, largest first.
typedef bool visitor(void *context, const safetensors_tensor *tensor);

static bool visit_in_file_order(const safetensors_tensor *tensors, size_t count, visitor *visit, void *context)
{
    for (size_t size = 8; size > 0; size /= 2) {
        for (size_t i = 0; i < count; i++) {
            if (file_dtype_size(tensors[i].dtype) == size && !visit(context, &tensors[i])) return false;
        }
    }
    return true;
}

typedef struct header_build {
    cJSON *root;
    size_t offset;
} header_build;

static bool add_to_header(void *context, const safetensors_tensor *tensor)
{
    header_build *build = context;
    cJSON *item = cJSON_AddObjectToObject(build->root, tensor->name);
    if (!cJSON_AddStringToObject(item, "dtype", file_dtype_name(tensor->dtype))) return false;
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (int d = 0; d < tensor->rank; d++) {
        if (!cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[d]))) return false;
    }
    const double begin = (double)build->offset;
    build->offset += tensor_size(tensor);
    cJSON *offsets = cJSON_AddArrayToObject(item, "data_offsets");
    return cJSON_AddItemToArray(offsets, cJSON_CreateNumber(begin)) &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)build->offset));
}

// The header's text, from malloc; NULL: no memory.
static char *build_header(const safetensors_tensor *tensors, size_t count, const safetensors_metadata *metadata, size_t metadata_count)
{
    header_build build = {cJSON_CreateObject(), 0};
    bool sound = build.root != NULL;
    cJSON *texts = sound && metadata_count ? cJSON_AddObjectToObject(build.root, "__metadata__") : NULL;
    for (size_t i = 0; i < metadata_count && sound; i++) sound = cJSON_AddStringToObject(texts, metadata[i].key, metadata[i].value) != NULL;
    sound = sound && visit_in_file_order(tensors, count, add_to_header, &build);
    char *text = sound ? cJSON_PrintUnformatted(build.root) : NULL;
    cJSON_Delete(build.root);
    return text;
}

typedef struct output {
    files_writer *writer;
    const safetensors_tensor *tensors;
    safetensors_source *source;
    void *user;
} output;

static bool write_values(void *context, const safetensors_tensor *tensor)
{
    const output *out = context;
    const void *values = out->source(out->user, (size_t)(tensor - out->tensors));
    return values && files_write(out->writer, values, tensor_size(tensor)) == IDM_OK;
}

static idm_status write_content(output *out, const char *header, size_t count)
{
    static const char spaces[8] = "        ";
    const size_t length = strlen(header), padding = (8 - length % 8) % 8;
    const uint64_t size = length + padding;
    IDM_TRY(files_write(out->writer, &size, sizeof size));
    IDM_TRY(files_write(out->writer, header, length));
    IDM_TRY(files_write(out->writer, spaces, padding));
    return visit_in_file_order(out->tensors, count, write_values, out) ? IDM_OK : IDM_FAILED;
}

idm_status safetensors_write_from(const char *path, const safetensors_tensor *tensors, size_t count, const safetensors_metadata *metadata,
                                  size_t metadata_count, safetensors_source *source, void *user)
{
    char *header = build_header(tensors, count, metadata, metadata_count);
    if (!header) return status_fail(IDM_FAILED, "%s: not enough memory to write the file", path);
    output out = {NULL, tensors, source, user};
    idm_status status = files_write_begin(path, &out.writer);
    if (status == IDM_OK) {
        status = write_content(&out, header, count);
        if (status == IDM_OK) status = files_write_commit(out.writer);
        else files_write_abort(out.writer);
    }
    cJSON_free(header);
    return status;
}

static const void *own_values(void *user, size_t index)
{
    const safetensors_tensor *const *tensors = user;
    return (*tensors)[index].data;
}

idm_status safetensors_write(const char *path, const safetensors_tensor *tensors, size_t count, const safetensors_metadata *metadata,
                             size_t metadata_count)
{
    return safetensors_write_from(path, tensors, count, metadata, metadata_count, own_values, &tensors);
}
