#include "core/files.h"

#include "core/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct files_writer {
    char *path;      // final name
    char *temporary; // NULL: written directly
    FILE *file;
    int error; // errno of the first failure
};

static idm_status fail_write(const char *path, int error)
{
    return status_fail(IDM_FAILED, "%s: cannot write: %s", path, strerror(error));
}

static idm_status fail_read(const char *path, int error)
{
    return status_fail(IDM_BAD_INPUT, "%s: cannot read: %s", path, strerror(error));
}

static void writer_free(files_writer *writer)
{
    if (!writer) return;
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

static void writer_discard(files_writer *writer)
{
    if (writer->file) (void)fclose(writer->file);
    writer->file = NULL;
    if (writer->temporary) (void)unlink(writer->temporary);
}

// Opens a file beside the target whose name no other process or thread has. Returns an errno, 0 when done.
static int open_temporary(files_writer *writer)
{
    static atomic_uint counter;
    enum { NAME_SHOWN = 200 }; // so that target names near NAME_MAX still work
    const char *name = files_name(writer->path);
    for (int attempt = 0; attempt < 1000; attempt++) {
        free(writer->temporary);
        const int folder_length = (int)(name - writer->path);
        if (asprintf(&writer->temporary, "%.*s%.*s.%ld-%u.tmp", folder_length, writer->path, NAME_SHOWN, name, (long)getpid(),
                     atomic_fetch_add(&counter, 1U)) < 0) {
            writer->temporary = NULL;
            return ENOMEM;
        }
        const int descriptor = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0) {
            writer->file = fdopen(descriptor, "wb");
            if (writer->file) return 0;
            const int error = errno;
            (void)close(descriptor);
            (void)unlink(writer->temporary);
            return error;
        }
        if (errno != EEXIST) return errno;
    }
    return EEXIST;
}

static int writer_open(files_writer *writer, const char *path)
{
    struct stat info;
    const bool there = stat(path, &info) == 0;
    if (there && S_ISDIR(info.st_mode)) return EISDIR;
    // a link stays a link: its target is what gets replaced
    writer->path = there && S_ISREG(info.st_mode) ? realpath(path, NULL) : strdup(path);
    if (!writer->path) return errno;
    if (!there || S_ISREG(info.st_mode)) return open_temporary(writer);
    writer->file = fopen(path, "wbe");
    return writer->file ? 0 : errno;
}

idm_status files_write_begin(const char *path, files_writer **writer)
{
    *writer = calloc(1, sizeof **writer);
    if (!*writer) return fail_write(path, ENOMEM);
    const int error = writer_open(*writer, path);
    if (error == 0) return IDM_OK;
    writer_free(*writer);
    *writer = NULL;
    return fail_write(path, error);
}

static idm_status writer_fail(files_writer *writer)
{
    if (writer->error == 0) writer->error = errno ? errno : EIO;
    writer_discard(writer);
    return fail_write(writer->path, writer->error);
}

idm_status files_write(files_writer *writer, const void *data, size_t size)
{
    if (writer->error) return fail_write(writer->path, writer->error);
    errno = 0;
    if (size > 0 && fwrite(data, 1, size, writer->file) != size) return writer_fail(writer);
    return IDM_OK;
}

// Without it a power loss may undo the rename. Best effort: the content is safe either way.
static void sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    if (files_folder_of(folder, sizeof folder, path) != IDM_OK) return;
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    (void)fsync(descriptor);
    (void)close(descriptor);
}

static idm_status writer_finish(files_writer *writer)
{
    if (writer->error) return fail_write(writer->path, writer->error);
    errno = 0;
    if (fflush(writer->file) != 0) return writer_fail(writer);
    if (writer->temporary && fsync(fileno(writer->file)) != 0) return writer_fail(writer);
    FILE *file = writer->file;
    writer->file = NULL;
    if (fclose(file) != 0) return writer_fail(writer);
    if (!writer->temporary) return IDM_OK;
    if (rename(writer->temporary, writer->path) != 0) return writer_fail(writer);
    sync_folder_of(writer->path);
    return IDM_OK;
}

idm_status files_write_commit(files_writer *writer)
{
    const idm_status status = writer_finish(writer);
    writer_free(writer);
    return status;
}

void files_write_abort(files_writer *writer)
{
    if (!writer) return;
    if (!writer->error) writer_discard(writer);
    writer_free(writer);
}

idm_status files_write_whole(const char *path, const void *data, size_t size)
{
    files_writer *writer = NULL;
    IDM_TRY(files_write_begin(path, &writer));
    const idm_status status = files_write(writer, data, size);
    if (status != IDM_OK) {
        files_write_abort(writer);
        return status;
    }
    return files_write_commit(writer);
}

// Reads to the end, growing: pipes have no size, and a file may grow meanwhile.
static idm_status read_stream(FILE *file, const char *path, size_t limit, size_t expected, uint8_t **data, size_t *size)
{
    size_t capacity = expected + 2, used = 0; // one byte to see the end, one for the zero
    uint8_t *buffer = malloc(capacity);
    while (buffer) {
        used += fread(buffer + used, 1, capacity - 1 - used, file);
        if (ferror(file) || used > limit) break;
        if (used < capacity - 1) {
            buffer[used] = 0;
            *data = buffer;
            *size = used;
            return IDM_OK;
        }
        capacity *= 2;
        uint8_t *larger = realloc(buffer, capacity);
        if (!larger) free(buffer);
        buffer = larger;
    }
    if (!buffer) return status_fail(IDM_FAILED, "%s: cannot read: not enough memory for %zu bytes", path, capacity);
    free(buffer);
    if (used > limit) return status_fail(IDM_BAD_INPUT, "%s: larger than the %zu bytes that are read of such a file", path, limit);
    return fail_read(path, errno);
}

idm_status files_read_whole(const char *path, size_t limit, uint8_t **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    FILE *file = fopen(path, "rbe");
    if (!file) return fail_read(path, errno);
    struct stat info;
    idm_status status = IDM_OK;
    if (fstat(fileno(file), &info) != 0) status = fail_read(path, errno);
    else if (S_ISDIR(info.st_mode)) status = fail_read(path, EISDIR);
    else if ((uint64_t)info.st_size > limit)
        status = status_fail(IDM_BAD_INPUT, "%s: larger than the %zu bytes that are read of such a file", path, limit);
    else status = read_stream(file, path, limit, S_ISREG(info.st_mode) ? (size_t)info.st_size : 65536, data, size);
    (void)fclose(file);
    return status;
}

idm_status files_read_beginning(const char *path, size_t most, uint8_t **data, size_t *size)
{
    *data = malloc(most);
    *size = 0;
    if (!*data) return status_fail(IDM_FAILED, "%s: cannot read: not enough memory for %zu bytes", path, most);
    FILE *file = fopen(path, "rbe");
    if (file) *size = fread(*data, 1, most, file);
    const idm_status status = !file || ferror(file) ? fail_read(path, errno) : IDM_OK;
    if (file) (void)fclose(file);
    if (status == IDM_OK) return IDM_OK;
    free(*data);
    *data = NULL;
    return status;
}

// The folders that are open above one, so that a link back to one of them ends the descent.
typedef struct open_folder {
    dev_t device;
    ino_t inode;
    const struct open_folder *above;
} open_folder;

static idm_status list_add(files_list *list, char *path)
{
    if ((list->count & (list->count - 1)) == 0) { // full at every power of two
        char **larger = realloc(list->paths, (list->count ? 2 * list->count : 1) * sizeof *larger);
        if (!larger) return status_fail(IDM_FAILED, "%s: not enough memory to list the folder", path);
        list->paths = larger;
    }
    list->paths[list->count++] = path;
    return IDM_OK;
}

static idm_status list_into(const char *folder, bool recursive, const open_folder *above, files_list *list);

// Takes over `path`.
static idm_status list_entry(char *path, bool recursive, const open_folder *above, files_list *list)
{
    struct stat info;
    const bool there = stat(path, &info) == 0; // a dangling link is no file
    if (there && S_ISREG(info.st_mode)) {
        const idm_status status = list_add(list, path);
        if (status != IDM_OK) free(path);
        return status;
    }
    idm_status status = IDM_OK;
    if (there && S_ISDIR(info.st_mode) && recursive) status = list_into(path, recursive, above, list);
    free(path);
    return status;
}

static idm_status list_into(const char *folder, bool recursive, const open_folder *above, files_list *list)
{
    DIR *directory = opendir(folder);
    if (!directory) return fail_read(folder, errno);
    struct stat info;
    idm_status status = fstat(dirfd(directory), &info) == 0 ? IDM_OK : fail_read(folder, errno);
    bool again = false;
    for (const open_folder *one = above; one; one = one->above) again |= one->device == info.st_dev && one->inode == info.st_ino;
    const open_folder self = {info.st_dev, info.st_ino, above};
    while (status == IDM_OK && !again) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry) {
            if (errno) status = fail_read(folder, errno);
            break;
        }
        if (entry->d_name[0] == '.') continue;
        const size_t length = strlen(folder);
        char *path = NULL;
        if (asprintf(&path, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", entry->d_name) < 0)
            status = status_fail(IDM_FAILED, "%s: not enough memory to list the folder", folder);
        else status = list_entry(path, recursive, &self, list);
    }
    (void)closedir(directory);
    return status;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

idm_status files_list_folder(const char *folder, bool recursive, files_list *list)
{
    *list = (files_list){0};
    const idm_status status = list_into(folder, recursive, NULL, list);
    if (status != IDM_OK) files_list_free(list);
    else if (list->count) qsort(list->paths, list->count, sizeof *list->paths, compare_paths);
    return status;
}

void files_list_free(files_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->paths[i]);
    free(list->paths);
    *list = (files_list){0};
}

bool files_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool files_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

idm_status files_make_folders(const char *path)
{
    char part[PATH_MAX];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) return fail_write(path, length ? ENAMETOOLONG : ENOENT);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) == 0) continue;
        const int error = errno;
        if (!files_is_folder(part)) return status_fail(IDM_FAILED, "%s: cannot make the folder: %s", part, strerror(error));
    }
    return IDM_OK;
}

static idm_status copy_part(char *out, size_t size, const char *text, size_t length)
{
    if (length >= size) return status_fail(IDM_USAGE, "%.100s...: path longer than %zu characters", text, size - 1);
    memmove(out, text, length);
    out[length] = '\0';
    return IDM_OK;
}

idm_status files_join(char *out, size_t size, const char *folder, const char *name)
{
    const size_t length = strlen(folder);
    const bool alone = name[0] == '/' || length == 0;
    const char *slash = alone || folder[length - 1] == '/' ? "" : "/";
    const int needed = snprintf(out, size, "%s%s%s", alone ? "" : folder, slash, name);
    if (needed < 0 || (size_t)needed >= size) return status_fail(IDM_USAGE, "%.100s...: path longer than %zu characters", name, size - 1);
    return IDM_OK;
}

idm_status files_folder_of(char *out, size_t size, const char *path)
{
    const size_t length = (size_t)(files_name(path) - path);
    if (length == 0) return copy_part(out, size, ".", 1);
    return copy_part(out, size, path, length == 1 ? 1 : length - 1);
}

const char *files_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

idm_status files_base_name(char *out, size_t size, const char *path)
{
    const char *name = files_name(path);
    const char *dot = strrchr(name, '.');
    return copy_part(out, size, name, dot && dot != name ? (size_t)(dot - name) : strlen(name));
}
