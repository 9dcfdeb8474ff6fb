// Files and folders: paths, sorted listings, whole-file reading, and writing that never leaves a half-written file under its final name.
// Failures while reading are IDM_BAD_INPUT, while writing IDM_FAILED; the message has the path and the system's reason.
#ifndef CORE_FILES_H
#define CORE_FILES_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A file being written beside its target. Devices and pipes (/dev/stdout) are written directly.
typedef struct files_writer files_writer;

// Every writer that was begun ends in exactly one commit or abort, which frees it; *writer is NULL after a failed begin.
idm_status files_write_begin(const char *path, files_writer **writer);

// After a failure the temporary is gone already, and later writes and the commit fail with the same reason.
idm_status files_write(files_writer *writer, const void *data, size_t size);

// Flushes, fsyncs, renames onto the target and fsyncs the folder.
idm_status files_write_commit(files_writer *writer);

// Removes what was written. `writer` may be NULL.
void files_write_abort(files_writer *writer);

// Begin, write and commit in one call.
idm_status files_write_whole(const char *path, const void *data, size_t size);

// Reads a whole file of at most `limit` bytes; the caller frees *data (never NULL on success; one zero byte follows the content).
idm_status files_read_whole(const char *path, size_t limit, uint8_t **data, size_t *size);

// Reads the first `most` bytes, fewer where the file ends before; the caller frees *data.
idm_status files_read_beginning(const char *path, size_t most, uint8_t **data, size_t *size);

// Paths of the files in a folder, the folder's own path in front, in byte order. Hidden ones (".x") are left out; links are followed.
typedef struct files_list {
    char **paths;
    size_t count;
} files_list;

// On failure *list is empty.
idm_status files_list_folder(const char *folder, bool recursive, files_list *list);
void files_list_free(files_list *list);

bool files_exists(const char *path);
bool files_is_folder(const char *path);

// Makes a folder and all missing ones above it.
idm_status files_make_folders(const char *path);

// folder/name into `out`; an absolute `name` stands alone, an empty folder is the working directory. IDM_USAGE: longer than `size` - 1.
idm_status files_join(char *out, size_t size, const char *folder, const char *name);

// "a/b/c.tar.gz" -> "a/b" (or "." without a slash, "/" for "/c"). IDM_USAGE: longer than `size` - 1.
idm_status files_folder_of(char *out, size_t size, const char *path);

// "a/b/c.tar.gz" -> "c.tar.gz", a pointer into `path`.
const char *files_name(const char *path);

// "a/b/c.tar.gz" -> "c.tar", ".hidden" -> ".hidden". IDM_USAGE: longer than `size` - 1.
idm_status files_base_name(char *out, size_t size, const char *path);

#endif
