// Programs: source with includes in place, built with options, kept on disk between runs.
// A cache file is: magic, the length of the key text, the key text (everything the binary depends on), the binary's size and hash, the
// binary.
#include "opencl/program.h"

#include "core/files.h"
#include "core/status.h"
#include "opencl/internal.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char MAGIC[8] = "idmclb01";
enum { SOURCE_LIMIT = 16 << 20, BINARY_LIMIT = 256 << 20 };

// ---- source

// Text of one file of cl/, from IDM_CL_DIR if that is set, else the embedded one. The caller's to free().
static idm_status read_source(const char *name, char **text)
{
    const char *folder = getenv("IDM_CL_DIR");
    if (folder && *folder) {
        char path[4096];
        size_t size;
        IDM_TRY(files_join(path, sizeof path, folder, name));
        return files_read_whole(path, SOURCE_LIMIT, (uint8_t **)text, &size);
    }
    for (const struct embedded_source *s = embedded_sources; s->name; s++)
        if (strcmp(s->name, name) == 0) {
            *text = strdup(s->text);
            return *text ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
        }
    return status_fail(IDM_FAILED, "there is no kernel source '%s'", name);
}

idm_status program_hash(uint64_t *hash)
{
    uint64_t sum = 0;
    for (const struct embedded_source *s = embedded_sources; s->name; s++) {
        char *text;
        IDM_TRY(read_source(s->name, &text));
        sum = XXH3_64bits_withSeed(text, strlen(text), sum + 1);
        free(text);
    }
    *hash = sum ? sum : 1;
    return IDM_OK;
}

static bool append(char **text, size_t *length, const char *more, size_t count)
{
    char *grown = realloc(*text, *length + count + 1);
    if (!grown) return false;
    memcpy(grown + *length, more, count);
    *length += count;
    grown[*length] = 0;
    *text = grown;
    return true;
}

// Appends `name` with its #include "x" lines replaced by x, each file once.
static idm_status expand(const char *name, char **out, size_t *length, char *seen, size_t seen_size, int depth)
{
    char tag[160];
    (void)snprintf(tag, sizeof tag, "|%s|", name);
    if (strstr(seen, tag)) return IDM_OK;
    if (depth > 8 || strlen(seen) + strlen(tag) + 1 > seen_size)
        return status_fail(IDM_FAILED, "kernel source '%s': too many includes", name);
    strcat(seen, tag);
    char *text;
    IDM_TRY(read_source(name, &text));
    idm_status status = IDM_OK;
    for (const char *line = text; *line && status == IDM_OK;) {
        const size_t count = strcspn(line, "\n") + (strchr(line, '\n') ? 1 : 0);
        char included[128];
        if (sscanf(line, "#include \"%127[^\"\n]\"", included) == 1) status = expand(included, out, length, seen, seen_size, depth + 1);
        else if (!append(out, length, line, count)) status = status_fail(IDM_FAILED, "out of memory");
        line += count;
    }
    free(text);
    return status;
}

idm_status program_source(const char *file, char **text)
{
    char name[128], seen[1024] = "";
    size_t length = 0;
    *text = NULL;
    (void)snprintf(name, sizeof name, "%s.cl", file);
    const idm_status status = expand(name, text, &length, seen, sizeof seen, 0);
    if (status != IDM_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

// ---- disk cache; every defect of it means "not there"

// Everything a binary depends on, as text. The caller's to free().
static char *cache_key(const context *ctx, const char *source, const char *options)
{
    const device_info *d = &ctx->device;
    char *key = NULL;
    const XXH128_hash_t hash = XXH3_128bits(source, strlen(source));
    if (asprintf(&key, "%016llx%016llx|%s|%s|%s|%s|%s|%s", (unsigned long long)hash.high64, (unsigned long long)hash.low64, options,
                 d->name, d->vendor, d->driver, d->version, d->platform_name) < 0)
        return NULL;
    return key;
}

bool program_cache_path(const char *kind, const char *key, char *path, size_t size)
{
    const char *own = getenv("IDM_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const XXH128_hash_t hash = XXH3_128bits(key, strlen(key));
    int n;
    if (own && *own) n = snprintf(path, size, "%s", own);
    else if (xdg && *xdg) n = snprintf(path, size, "%s/idm", xdg);
    else if (home && *home) n = snprintf(path, size, "%s/.cache/idm", home);
    else return false;
    if (n < 0 || (size_t)n + 64 > size) return false;
    (void)snprintf(path + n, size - (size_t)n, "/%.16s/%016llx%016llx", kind, (unsigned long long)hash.high64,
                   (unsigned long long)hash.low64);
    return true;
}

typedef struct cache_header {
    char magic[sizeof MAGIC];
    uint64_t key_length, binary_size, binary_hash;
} cache_header;

static cl_program load_cached(context *ctx, const char *key, const char *path)
{
    uint8_t *data;
    size_t size;
    if (!files_exists(path) || files_read_whole(path, BINARY_LIMIT, &data, &size) != IDM_OK) return NULL;
    cl_program handle = NULL;
    cache_header header;
    const size_t key_length = strlen(key);
    if (size >= sizeof header) {
        memcpy(&header, data, sizeof header);
        const uint8_t *stored_key = data + sizeof header, *binary = stored_key + key_length;
        if (memcmp(header.magic, MAGIC, sizeof MAGIC) == 0 && header.key_length == key_length && size - sizeof header > key_length &&
            memcmp(stored_key, key, key_length) == 0 && header.binary_size == size - sizeof header - key_length &&
            XXH3_64bits(binary, header.binary_size) == header.binary_hash) {
            cl_device_id device = ctx->device.device_id;
            const size_t binary_size = header.binary_size;
            cl_int binary_status = CL_INVALID_BINARY, code;
            handle = clCreateProgramWithBinary(ctx->handle, 1, &device, &binary_size, &binary, &binary_status, &code);
            if (handle &&
                (code != CL_SUCCESS || binary_status != CL_SUCCESS || clBuildProgram(handle, 1, &device, "", NULL, NULL) != CL_SUCCESS)) {
                clReleaseProgram(handle);
                handle = NULL;
            }
        }
    }
    free(data);
    return handle;
}

// A cache that cannot be written costs time at the next start, nothing else.
static void store_cached(cl_program handle, const char *key, const char *path)
{
    size_t size = 0;
    if (clGetProgramInfo(handle, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || size == 0 || size > BINARY_LIMIT)
        return;
    unsigned char *binary = malloc(size);
    char folder[4096];
    files_writer *writer;
    if (binary && clGetProgramInfo(handle, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS &&
        files_folder_of(folder, sizeof folder, path) == IDM_OK && files_make_folders(folder) == IDM_OK &&
        files_write_begin(path, &writer) == IDM_OK) {
        cache_header header = {.key_length = strlen(key), .binary_size = size, .binary_hash = XXH3_64bits(binary, size)};
        memcpy(header.magic, MAGIC, sizeof MAGIC);
        (void)files_write(writer, &header, sizeof header);
        (void)files_write(writer, key, strlen(key));
        (void)files_write(writer, binary, size);
        (void)files_write_commit(writer);
    }
    free(binary);
}

// ---- building

static void fail_with_log(context *ctx, cl_program handle, const char *file, const char *options, cl_int code)
{
    char log[2048] = "";
    size_t size = 0;
    char *whole = NULL;
    if (clGetProgramBuildInfo(handle, ctx->device.device_id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS && size &&
        (whole = calloc(1, size + 1)) &&
        clGetProgramBuildInfo(handle, ctx->device.device_id, CL_PROGRAM_BUILD_LOG, size, whole, NULL) == CL_SUCCESS)
        (void)snprintf(log, sizeof log, "%s", whole);
    free(whole);
    context_fail(ctx, IDM_FAILED, "kernel %s.cl does not build on '%s' (%s) with '%s': %s", file, ctx->device.name, opencl_error_name(code),
                 options, log);
}

static cl_program compile(context *ctx, const char *file, const char *source, const char *options)
{
    cl_int code;
    cl_program handle = clCreateProgramWithSource(ctx->handle, 1, &source, NULL, &code);
    if (!context_check(ctx, code, "clCreateProgramWithSource")) return NULL;
    cl_device_id device = ctx->device.device_id;
    code = clBuildProgram(handle, 1, &device, options, NULL, NULL);
    if (code == CL_SUCCESS) return handle;
    fail_with_log(ctx, handle, file, options, code);
    clReleaseProgram(handle);
    return NULL;
}

// PoCL keeps every kernel that it has compiled by itself. Asked for a program's binary, it first compiles all kernels in it once more, for
// any local size, which takes longer than what is needed of them.
static bool keeps_binaries(const context *ctx)
{
    return strcmp(ctx->device.platform_name, "Portable Computing Language") == 0;
}

static cl_program load_or_compile(context *ctx, const char *file, const char *options)
{
    char *source, path[4096];
    const idm_status status = program_source(file, &source);
    if (status != IDM_OK) {
        context_fail(ctx, status, "%s", idm_message());
        return NULL;
    }
    char *key = cache_key(ctx, source, options);
    const bool cached = key && !keeps_binaries(ctx) && program_cache_path("kernels", key, path, sizeof path);
    cl_program handle = cached ? load_cached(ctx, key, path) : NULL;
    if (!handle) {
        handle = compile(ctx, file, source, options);
        if (handle && cached) store_cached(handle, key, path);
    }
    free(key);
    free(source);
    return handle;
}

cl_program program_build(context *ctx, const char *file, const char *options)
{
    for (program *p = ctx->programs; p; p = p->next)
        if (strcmp(p->file, file) == 0 && strcmp(p->options, options) == 0) return p->handle;
    char all[2048];
    // -w: PoCL prints a count of warnings on stderr. IDM_CL_OPTIONS: further options from outside, such as -cl-opt-disable for oclgrind's
    // uninitialised-memory check
    const char *more = getenv("IDM_CL_OPTIONS");
    (void)snprintf(all, sizeof all, "-cl-std=CL1.2 -w %s%s%s", options, more ? " " : "", more ? more : "");
    cl_program handle = load_or_compile(ctx, file, all);
    program *p = handle ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        if (handle) clReleaseProgram(handle);
        context_fail(ctx, IDM_FAILED, "out of memory");
        return NULL;
    }
    *p = (program){strdup(file), strdup(options), handle, ctx->programs};
    ctx->programs = p;
    return handle;
}

void program_free_all(context *ctx)
{
    for (program *p = ctx->programs, *next; p; p = next) {
        next = p->next;
        clReleaseProgram(p->handle);
        free(p->file);
        free(p->options);
        free(p);
    }
    ctx->programs = NULL;
}
