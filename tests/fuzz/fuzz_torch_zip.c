#include "fuzz_tensors.h"

#include <string.h>
#include <zip.h>

static void add(zip_t *zip, const char *name, const void *bytes, size_t size)
{
    const zip_int64_t index = zip_file_add(zip, name, zip_source_buffer(zip, bytes, size, 0), 0);
    if (index < 0 || zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0) abort();
}

// An archive around a pickle, with two storages: a mutated archive would hardly get past its checksums.
static void open_wrapped(const uint8_t *pickled, size_t size)
{
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    zip_source_t *source = zip_source_buffer_create(NULL, 0, 0, NULL);
    zip_t *zip = zip_open_from_source(source, ZIP_TRUNCATE, NULL);
    if (!zip) abort();
    zip_source_keep(source);
    add(zip, "a/data.pkl", pickled, size);
    add(zip, "a/data/0", values, sizeof values);
    add(zip, "a/data/1", values, 8);
    if (zip_close(zip) != 0 || zip_source_open(source) != 0) abort();
    zip_stat_t info;
    zip_source_stat(source, &info);
    uint8_t *whole = malloc(info.size);
    if (zip_source_read(source, whole, info.size) != (zip_int64_t)info.size) abort();
    fuzz_open(whole, info.size);
    free(whole);
    (void)zip_source_close(source);
    zip_source_free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 4 && memcmp(data, "PK\3\4", 4) == 0) fuzz_open(data, size);
    else open_wrapped(data, size);
    return 0;
}
