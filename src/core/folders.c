#include "core/folders.h"

#include "core/files.h"
#include "core/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_name(char ***names, size_t *count, const char *name)
{
    char **larger = realloc(*names, (*count + 1) * sizeof *larger), *copy = strdup(name);
    if (larger) *names = larger;
    if (larger && copy) larger[(*count)++] = copy;
    else free(copy);
    return larger && copy;
}

idm_status folders_list(const char *path, char ***names, size_t *count)
{
    *names = NULL;
    *count = 0;
    DIR *directory = opendir(path);
    if (!directory) return status_fail(IDM_BAD_INPUT, "%s: cannot read: %s", path, strerror(errno));
    bool sound = true;
    const struct dirent *entry;
    errno = 0;
    while (sound && (entry = readdir(directory))) {
        struct stat info;
        if (entry->d_name[0] != '.' && fstatat(dirfd(directory), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode))
            sound = add_name(names, count, entry->d_name);
        if (sound) errno = 0;
    }
    const int error = sound ? errno : ENOMEM;
    (void)closedir(directory);
    if (error == 0) {
        if (*count) qsort(*names, *count, sizeof **names, compare_names);
        return IDM_OK;
    }
    folders_free_names(*names, *count);
    *names = NULL;
    *count = 0;
    return status_fail(IDM_BAD_INPUT, "%s: cannot read: %s", path, strerror(error));
}

void folders_free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

// Returns an errno, 0 when all is gone. Links are removed, not followed.
static int remove_tree(int above, const char *name)
{
    if (unlinkat(above, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return errno;
    const int descriptor = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    if (!directory) {
        const int error = errno;
        if (descriptor >= 0) (void)close(descriptor);
        return error;
    }
    int error = 0;
    const struct dirent *entry;
    while (error == 0 && (entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) error = remove_tree(descriptor, entry->d_name);
    (void)closedir(directory);
    if (error == 0 && unlinkat(above, name, AT_REMOVEDIR) != 0) error = errno;
    return error;
}

idm_status folders_remove(const char *path)
{
    const int error = remove_tree(AT_FDCWD, path);
    return error ? status_fail(IDM_FAILED, "%s: cannot remove the folder: %s", path, strerror(error)) : IDM_OK;
}

void folders_discard(const char *path)
{
    (void)remove_tree(AT_FDCWD, path);
}

idm_status folders_make_empty(const char *path)
{
    IDM_TRY(folders_remove(path));
    if (mkdir(path, 0777) == 0) return IDM_OK;
    return status_fail(IDM_FAILED, "%s: cannot make the folder: %s", path, strerror(errno));
}

idm_status folders_sync(const char *path)
{
    const int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
    const int error = errno;
    if (descriptor >= 0) (void)close(descriptor);
    return synced ? IDM_OK : status_fail(IDM_FAILED, "%s: cannot write the folder to disk: %s", path, strerror(error));
}

static idm_status fail_rename(const char *from, const char *to)
{
    return status_fail(IDM_FAILED, "%s: cannot rename to %s: %s", from, files_name(to), strerror(errno));
}

// The old folder makes room by another name.
static idm_status step_aside(const char *from, const char *to, const char *aside)
{
    IDM_TRY(folders_remove(aside));
    if (rename(to, aside) != 0) return fail_rename(to, aside);
    if (rename(from, to) == 0) return IDM_OK;
    const idm_status status = fail_rename(from, to);
    (void)rename(aside, to);
    return status;
}

static idm_status aside_of(const char *path, char aside[PATH_MAX])
{
    const int length = snprintf(aside, PATH_MAX, "%s" FOLDERS_ASIDE, path);
    return length < PATH_MAX ? IDM_OK : status_fail(IDM_FAILED, "%.100s...: the path is too long", path);
}

idm_status folders_put(const char *from, const char *to)
{
    char above[PATH_MAX], aside[PATH_MAX];
    IDM_TRY(files_folder_of(above, sizeof above, to));
    IDM_TRY(aside_of(to, aside));
    IDM_TRY(folders_sync(from));
    const char *old = NULL; // where the replaced folder is afterwards
    if (files_exists(to)) {
        old = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0 ? from : NULL;
        if (!old && errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return fail_rename(from, to);
        if (!old) {
            IDM_TRY(step_aside(from, to, aside));
            old = aside;
        }
    } else if (rename(from, to) != 0) return fail_rename(from, to);
    IDM_TRY(folders_sync(above)); // only then may the old one go
    return old ? folders_remove(old) : IDM_OK;
}

idm_status folders_recover(const char *path, bool *recovered)
{
    char aside[PATH_MAX];
    *recovered = false;
    IDM_TRY(aside_of(path, aside));
    if (files_exists(path)) return folders_remove(aside);
    if (!files_exists(aside)) return IDM_OK;
    if (rename(aside, path) != 0) return fail_rename(aside, path);
    *recovered = true;
    return IDM_OK;
}
