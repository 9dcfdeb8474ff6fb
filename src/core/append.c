#include "core/append.h"

#include "core/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

idm_status append_open(const char *path, bool fresh, bool *exists, appender *a)
{
    *a = (appender){.path = strdup(path), .descriptor = -1};
    if (exists) *exists = false;
    if (!a->path) return status_fail(IDM_FAILED, "%s: not enough memory", path);
    a->descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | (fresh ? O_EXCL : 0), 0666);
    a->length = a->descriptor >= 0 ? lseek(a->descriptor, 0, SEEK_END) : -1;
    if (a->length >= 0) return IDM_OK;
    const int error = errno;
    if (exists) *exists = error == EEXIST;
    append_close(a);
    return status_fail(IDM_FAILED, "%s: cannot write: %s", path, strerror(error));
}

static bool write_all(int descriptor, const char *data, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(descriptor, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

idm_status append_write(appender *a, const void *record, size_t size)
{
    errno = 0;
    if (a->torn) a->torn = ftruncate(a->descriptor, a->length) != 0;
    if (!a->torn && write_all(a->descriptor, record, size)) {
        a->length += (int64_t)size;
        return IDM_OK;
    }
    const int error = errno ? errno : EIO;
    a->torn = ftruncate(a->descriptor, a->length) != 0;
    return status_fail(IDM_FAILED, "%s: cannot write: %s", a->path, strerror(error));
}

idm_status append_sync(appender *a)
{
    return fsync(a->descriptor) == 0 ? IDM_OK : status_fail(IDM_FAILED, "%s: cannot write: %s", a->path, strerror(errno));
}

void append_close(appender *a)
{
    if (a->path && a->descriptor >= 0) (void)close(a->descriptor);
    free(a->path);
    *a = (appender){.descriptor = -1};
}
