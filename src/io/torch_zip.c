#include "io/torch_zip.h"

#include "core/status.h"
#include "io/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

enum { ENTRY_NAME_MAX = 512 };

typedef struct storage {
    zip_uint64_t zip_index;
    file_dtype dtype;
    int64_t count;
} storage;

typedef struct archive {
    char *path;
    zip_t *zip;
    char prefix[ENTRY_NAME_MAX]; // "NAME/" or ""
    storage *storages;           // at most one per zip entry
    size_t storage_count;
    size_t *storage_of; // by zip index: 1 + index into storages, 0 none yet
    uint8_t *loaded;    // values of the storage that was read last
    size_t loaded_index;
} archive;

static const struct {
    const char *global;
    file_dtype dtype;
} storage_types[] = {
    {"torch.FloatStorage", FILE_F32},     {"torch.HalfStorage", FILE_F16}, {"torch.DoubleStorage", FILE_F64},
    {"torch.BFloat16Storage", FILE_BF16}, {"torch.LongStorage", FILE_I64}, {"torch.IntStorage", FILE_I32},
    {"torch.ShortStorage", FILE_I16},     {"torch.CharStorage", FILE_I8},  {"torch.ByteStorage", FILE_U8},
    {"torch.BoolStorage", FILE_BOOL},
};
enum { STORAGE_TYPES = sizeof storage_types / sizeof *storage_types };

// What a pickle may name. Those after the storages hold no tensors: they are what training programs keep beside the weights in a .ckpt, and
// stay uninterpreted.
static const char *const globals[] = {
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "collections.OrderedDict",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.DoubleStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    "torch.Size",
    "torch.device",
    "_codecs.encode",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    NULL,
};

static void archive_close(void *self)
{
    archive *a = self;
    if (a->zip) zip_discard(a->zip);
    free(a->path);
    free(a->storages);
    free(a->storage_of);
    free(a->loaded);
    free(a);
}

static idm_status no_memory(const archive *a)
{
    return status_fail(IDM_FAILED, "%s: not enough memory to read the archive", a->path);
}

// An entry's size is believed only as far as the bytes that the archive has for it can go: deflate gains less than a factor of 1032.
static bool size_is_possible(const zip_stat_t *info)
{
    enum { DEFLATE_GAIN_MAX = 1032, DEFLATE_SLACK = 64 };
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((info->valid & needed) != needed || info->encryption_method != ZIP_EM_NONE) return false;
    if (info->size > INT64_MAX || info->comp_size > INT64_MAX / (2 * DEFLATE_GAIN_MAX)) return false;
    if (info->comp_method == ZIP_CM_STORE) return info->size == info->comp_size;
    return info->comp_method == ZIP_CM_DEFLATE && info->size <= info->comp_size * DEFLATE_GAIN_MAX + DEFLATE_SLACK;
}

static idm_status entry_size(const archive *a, zip_uint64_t index, const char *name, size_t *size)
{
    zip_stat_t info;
    zip_stat_init(&info);
    if (zip_stat_index(a->zip, index, 0, &info) != 0 || !size_is_possible(&info))
        return status_fail(IDM_BAD_INPUT, "%s: archive entry of %s is damaged, encrypted, or of an unknown compression", a->path, name);
    *size = (size_t)info.size;
    return IDM_OK;
}

static bool read_all(zip_file_t *file, uint8_t *bytes, size_t size)
{
    for (size_t got = 0; got < size;) {
        const zip_int64_t n = zip_fread(file, bytes + got, size - got);
        if (n <= 0) return false;
        got += (size_t)n;
    }
    uint8_t beyond;
    return zip_fread(file, &beyond, 1) == 0; // at the end libzip compares the CRC
}

// *bytes from malloc. `name` is for messages.
static idm_status read_entry(const archive *a, zip_uint64_t index, const char *name, size_t size, uint8_t **bytes)
{
    *bytes = malloc(size + 1);
    if (!*bytes) return no_memory(a);
    zip_file_t *file = zip_fopen_index(a->zip, index, 0);
    const bool sound = file && read_all(file, *bytes, size);
    if (file) (void)zip_fclose(file);
    if (sound) return IDM_OK;
    free(*bytes);
    *bytes = NULL;
    return status_fail(IDM_BAD_INPUT, "%s: archive entry of %s is damaged (its checksum or length is wrong)", a->path, name);
}

static idm_status archive_storage(void *self, const tensor_entry *entry, const uint8_t **bytes)
{
    archive *a = self;
    if (!a->loaded || a->loaded_index != entry->storage) {
        free(a->loaded);
        a->loaded = NULL;
        const storage *s = &a->storages[entry->storage];
        const size_t size = (size_t)s->count * file_dtype_size(s->dtype);
        IDM_TRY(read_entry(a, s->zip_index, entry->name, size, &a->loaded));
        a->loaded_index = entry->storage;
    }
    *bytes = a->loaded;
    return IDM_OK;
}

static idm_status bad_tensor(const archive *a, const char *name, const char *what)
{
    return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\": %s", a->path, name, what);
}

static bool storage_dtype(const pickle_node *node, file_dtype *dtype)
{
    for (size_t i = 0; i < STORAGE_TYPES; i++) {
        if (!pickle_is_global(node, storage_types[i].global)) continue;
        *dtype = storage_types[i].dtype;
        return true;
    }
    return false;
}

// The zip entry data/KEY; -1 where there is none.
static zip_int64_t locate_storage(const archive *a, const pickle_node *key)
{
    char name[2 * ENTRY_NAME_MAX];
    if (key->length == 0 || key->length >= ENTRY_NAME_MAX || memchr(key->text, '\0', key->length)) return -1;
    (void)snprintf(name, sizeof name, "%sdata/%.*s", a->prefix, (int)key->length, key->text);
    return zip_name_locate(a->zip, name, 0);
}

// ("storage", torch.XStorage, key, location, count[, None])
static idm_status find_storage(archive *a, const char *name, const pickle_node *node, size_t *index)
{
    if (node->kind != PICKLE_PERSISTENT) return bad_tensor(a, name, "has no storage");
    const pickle_node *id = node->items[0];
    pickle_node *const *part = id->items;
    storage s;
    if ((id->count != 5 && id->count != 6) || !pickle_is_text(part[0], "storage") || part[2]->kind != PICKLE_TEXT ||
        part[3]->kind != PICKLE_TEXT || part[4]->kind != PICKLE_INT || part[4]->integer < 0 ||
        (id->count == 6 && part[5]->kind != PICKLE_NONE))
        return bad_tensor(a, name, "its storage is described in an unknown way");
    if (!storage_dtype(part[1], &s.dtype)) return bad_tensor(a, name, "its storage has an unknown type");
    const zip_int64_t located = locate_storage(a, part[2]);
    if (located < 0) return bad_tensor(a, name, "its storage is missing in the archive");
    s.zip_index = (zip_uint64_t)located;
    s.count = part[4]->integer;
    size_t *known = &a->storage_of[s.zip_index];
    if (*known == 0) {
        size_t size;
        int64_t needed;
        IDM_TRY(entry_size(a, s.zip_index, name, &size));
        if (__builtin_mul_overflow(s.count, (int64_t)file_dtype_size(s.dtype), &needed) || (int64_t)size != needed)
            return bad_tensor(a, name, "its storage and the archive's entry differ in size");
        a->storages[a->storage_count++] = s;
        *known = a->storage_count;
    }
    *index = *known - 1;
    if (a->storages[*index].dtype != s.dtype || a->storages[*index].count != s.count)
        return bad_tensor(a, name, "shares a storage with a tensor that describes it differently");
    return IDM_OK;
}

static bool read_tuple(const pickle_node *tuple, int64_t values[TENSOR_FILE_RANK_MAX])
{
    if (tuple->kind != PICKLE_TUPLE || tuple->count > TENSOR_FILE_RANK_MAX) return false;
    for (size_t i = 0; i < tuple->count; i++) {
        if (tuple->items[i]->kind != PICKLE_INT || tuple->items[i]->integer < 0) return false;
        values[i] = tuple->items[i]->integer;
    }
    return true;
}

// The last value that the tensor reaches must lie inside; tensors whose values overlap (expanded ones) are no weights.
static bool lies_inside(const tensor_entry *entry, int64_t first, int64_t storage_values)
{
    if (first < 0 || first > storage_values) return false;
    if (entry->count == 0) return true;
    int64_t last = first;
    for (int d = 0; d < entry->rank; d++) {
        int64_t reach;
        if (__builtin_mul_overflow(entry->shape[d] - 1, entry->stride[d], &reach) || __builtin_add_overflow(last, reach, &last))
            return false;
    }
    return last < storage_values && entry->count <= (size_t)storage_values;
}

// _rebuild_tensor_v2(storage, first value, shape, strides, requires_grad, hooks[, metadata])
static idm_status add_tensor(archive *a, const char *name, const pickle_node *arguments, tensor_list *list)
{
    tensor_entry entry = {0};
    if (arguments->count != 6 && arguments->count != 7) return bad_tensor(a, name, "is described in an unknown way");
    pickle_node *const *part = arguments->items;
    if (part[1]->kind != PICKLE_INT || !read_tuple(part[2], entry.shape) || !read_tuple(part[3], entry.stride) ||
        part[2]->count != part[3]->count)
        return bad_tensor(a, name, "has a damaged shape or strides, or more than 8 dimensions");
    entry.rank = (int)part[2]->count;
    IDM_TRY(find_storage(a, name, part[0], &entry.storage));
    const storage *s = &a->storages[entry.storage];
    entry.dtype = s->dtype;
    if (!tensor_entry_count(&entry)) return bad_tensor(a, name, "has an impossibly large shape");
    tensor_entry contiguous = entry;
    tensor_entry_make_contiguous(&contiguous);
    for (int d = 0; d < entry.rank; d++) { // the stride of a single row means nothing and may be anything
        if (entry.shape[d] == 1) entry.stride[d] = contiguous.stride[d];
    }
    if (!lies_inside(&entry, part[1]->integer, s->count)) return bad_tensor(a, name, "reaches outside its storage");
    entry.offset = (size_t)part[1]->integer * file_dtype_size(s->dtype);
    return tensor_list_add(list, a->path, name, strlen(name), entry);
}

// Adds the item if it is a tensor (or a parameter, which wraps one) under a text; other items are none of our business.
static idm_status add_item(archive *a, const pickle_node *key, const pickle_node *value, tensor_list *list)
{
    const pickle_node *parameter = pickle_call_arguments(value, "torch._utils._rebuild_parameter");
    if (parameter && parameter->count > 0) value = parameter->items[0];
    const pickle_node *tensor = pickle_call_arguments(value, "torch._utils._rebuild_tensor_v2");
    if (!tensor || key->kind != PICKLE_TEXT) return IDM_OK;
    if (!tensor_text_is_sound(key->text, key->length))
        return status_fail(IDM_BAD_INPUT, "%s: tensor %zu has an unusable name (empty, too long, or with control characters)", a->path,
                           list->count);
    char *name = strndup(key->text, key->length);
    if (!name) return no_memory(a);
    const idm_status status = add_tensor(a, name, tensor, list);
    free(name);
    return status;
}

static idm_status add_state_dict(archive *a, const pickle_node *root, tensor_list *list)
{
    const pickle_node *inner = pickle_get(root, "state_dict");
    const pickle_node *dict = inner ? inner : root;
    if (dict->kind != PICKLE_DICT) return status_fail(IDM_BAD_INPUT, "%s: holds no dict of tensors", a->path);
    for (size_t i = 0; i < dict->count; i += 2) IDM_TRY(add_item(a, dict->items[i], dict->items[i + 1], list));
    if (list->count == 0) return status_fail(IDM_BAD_INPUT, "%s: holds no tensors by name", a->path);
    return IDM_OK;
}

// NAME/data.pkl, whatever the NAME.
static idm_status find_pickle(archive *a, zip_uint64_t entries, zip_uint64_t *index)
{
    static const char wanted[] = "data.pkl";
    for (*index = 0; *index < entries; ++*index) {
        const char *name = zip_get_name(a->zip, *index, 0);
        if (!name) continue;
        const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
        if (strcmp(last, wanted) != 0 || last - name >= ENTRY_NAME_MAX) continue;
        memcpy(a->prefix, name, (size_t)(last - name));
        return IDM_OK;
    }
    return status_fail(IDM_BAD_INPUT, "%s: a zip archive, but not one of torch.save (no data.pkl in it)", a->path);
}

static idm_status check_byte_order(const archive *a)
{
    char name[2 * ENTRY_NAME_MAX];
    (void)snprintf(name, sizeof name, "%sbyteorder", a->prefix);
    const zip_int64_t index = zip_name_locate(a->zip, name, 0);
    if (index < 0) return IDM_OK; // torch 1.x wrote none
    size_t size;
    uint8_t *bytes;
    IDM_TRY(entry_size(a, (zip_uint64_t)index, "byteorder", &size));
    if (size > 6) size = 0; // longer than "little": not it
    IDM_TRY(read_entry(a, (zip_uint64_t)index, "byteorder", size, &bytes));
    const bool little = size == 6 && memcmp(bytes, "little", 6) == 0;
    free(bytes);
    return little ? IDM_OK : status_fail(IDM_BAD_INPUT, "%s: written on a big-endian machine, which is not supported", a->path);
}

static idm_status read_pickle(archive *a, zip_uint64_t index, tensor_list *list)
{
    size_t size;
    uint8_t *bytes;
    pickle *parsed = NULL;
    IDM_TRY(entry_size(a, index, "data.pkl", &size));
    if (size > PICKLE_BYTES_MAX) return status_fail(IDM_BAD_INPUT, "%s: data.pkl of more than %d bytes", a->path, PICKLE_BYTES_MAX);
    IDM_TRY(read_entry(a, index, "data.pkl", size, &bytes));
    idm_status status = pickle_parse(a->path, bytes, size, globals, &parsed);
    if (status == IDM_OK) status = add_state_dict(a, pickle_root(parsed), list);
    pickle_free(parsed);
    free(bytes);
    return status;
}

static idm_status read_archive(archive *a, tensor_list *list)
{
    int code = 0;
    a->zip = zip_open(a->path, ZIP_RDONLY, &code);
    if (!a->zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        const idm_status status =
            status_fail(IDM_BAD_INPUT, "%s: cannot read the zip archive (truncated?): %s", a->path, zip_error_strerror(&error));
        zip_error_fini(&error);
        return status;
    }
    const zip_int64_t entries = zip_get_num_entries(a->zip, 0);
    const size_t room = entries > 0 ? (size_t)entries : 1;
    a->storages = calloc(room, sizeof *a->storages);
    a->storage_of = calloc(room, sizeof *a->storage_of);
    if (!a->storages || !a->storage_of) return no_memory(a);
    zip_uint64_t pickle_index;
    IDM_TRY(find_pickle(a, (zip_uint64_t)(entries > 0 ? entries : 0), &pickle_index));
    IDM_TRY(check_byte_order(a));
    return read_pickle(a, pickle_index, list);
}

idm_status torch_zip_open(const char *path, tensor_list *list, tensor_reader *reader)
{
    archive *a = calloc(1, sizeof *a);
    if (!a) return status_fail(IDM_FAILED, "%s: not enough memory to read the archive", path);
    a->path = strdup(path);
    const idm_status status = a->path ? read_archive(a, list) : status_fail(IDM_FAILED, "%s: not enough memory to read the archive", path);
    if (status == IDM_OK) *reader = (tensor_reader){"torch zip", a, archive_storage, archive_close};
    else archive_close(a);
    return status;
}
