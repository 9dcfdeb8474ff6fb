// A disk that fails, from outside the program: loaded by LD_PRELOAD, it counts what goes towards the disk (files opened for writing,
// folders made, writes, flushes, syncs, renames, cuts) and makes one of them fail with ENOSPC.
//   IDM_FAIL_AT=n       the n-th operation fails, from 1; 0 or unset: none
//   IDM_FAIL_ON=1       and all after it, as on a full disk: a write() gets half its bytes out first
//   IDM_FAIL_UNDER=s    only of what has s in its path
//   IDM_FAIL_TRACE=f    each operation is a line "name path" (rename: "rename from to") in this file
//   IDM_NO_EXCHANGE=1   two folders cannot be exchanged, as on many file systems
// One thread at a time.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The function of the same name in the library behind this one.
static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    return function;
}

static void trace(const char *name, const char *from, const char *to)
{
    static int file = -1;
    char line[2 * PATH_MAX + 64];
    const char *path = getenv("IDM_FAIL_TRACE");
    if (!path) return;
    if (file < 0) file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const int length = snprintf(line, sizeof line, "%s %s%s%s\n", name, from, to ? " " : "", to ? to : "");
    (void)syscall(SYS_write, file, line, (size_t)length);
}

// Counts an operation; true: it shall fail, errno is set.
static bool fails(const char *name, const char *from, const char *to)
{
    static long count;
    const char *at = getenv("IDM_FAIL_AT"), *on = getenv("IDM_FAIL_ON"), *under = getenv("IDM_FAIL_UNDER");
    const long wanted = at ? atol(at) : 0;
    if (under && !strstr(from, under)) return false;
    trace(name, from, to);
    count++;
    if (wanted <= 0 || count < wanted || (count > wanted && !on)) return false;
    errno = ENOSPC;
    return true;
}

// Terminals and pipes are not on the disk, nor is what has no descriptor; standard output may be, but is not what is tested.
static bool descriptor_fails(const char *name, int descriptor)
{
    char link[64], path[PATH_MAX];
    struct stat info;
    if (descriptor <= STDERR_FILENO || fstat(descriptor, &info) != 0 || (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))) return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return fails(name, path, NULL);
}

static bool stream_fails(const char *name, FILE *stream)
{
    const int descriptor = stream ? fileno(stream) : -1;
    const int flags = descriptor >= 0 ? fcntl(descriptor, F_GETFL) : O_RDONLY;
    return (flags & O_ACCMODE) != O_RDONLY && descriptor_fails(name, descriptor);
}

static bool open_fails(const char *path, int flags)
{
    return ((flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT)) && strcmp(path, "/dev/null") != 0 && strcmp(path, "/dev/tty") != 0 &&
           fails("open", path, NULL);
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & O_CREAT ? (mode_t)va_arg(list, unsigned) : 0;
}

int open(const char *path, int flags, ...)
{
    int (*const real)(const char *, int, ...) = next("open");
    va_list list;
    va_start(list, flags);
    const mode_t mode = mode_of(flags, list);
    va_end(list);
    return open_fails(path, flags) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    int (*const real)(const char *, int, ...) = next("open64");
    va_list list;
    va_start(list, flags);
    const mode_t mode = mode_of(flags, list);
    va_end(list);
    return open_fails(path, flags) ? -1 : real(path, flags, mode);
}

int mkdir(const char *path, mode_t mode)
{
    int (*const real)(const char *, mode_t) = next("mkdir");
    return fails("mkdir", path, NULL) ? -1 : real(path, mode);
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    ssize_t (*const real)(int, const void *, size_t) = next("write");
    if (!descriptor_fails("write", descriptor)) return real(descriptor, data, size);
    return size > 1 && getenv("IDM_FAIL_ON") ? real(descriptor, data, size / 2) : -1;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream)
{
    size_t (*const real)(const void *, size_t, size_t, FILE *) = next("fwrite");
    return stream_fails("fwrite", stream) ? 0 : real(data, size, count, stream);
}

int fflush(FILE *stream)
{
    int (*const real)(FILE *) = next("fflush");
    return stream_fails("fflush", stream) ? EOF : real(stream);
}

int fclose(FILE *stream)
{
    int (*const real)(FILE *) = next("fclose");
    const bool failed = stream_fails("fclose", stream);
    const int code = real(stream);
    if (failed) errno = ENOSPC;
    return failed ? EOF : code;
}

int fsync(int descriptor)
{
    int (*const real)(int) = next("fsync");
    return descriptor_fails("fsync", descriptor) ? -1 : real(descriptor);
}

int rename(const char *from, const char *to)
{
    int (*const real)(const char *, const char *) = next("rename");
    return fails("rename", from, to) ? -1 : real(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    int (*const real)(int, const char *, int, const char *, unsigned) = next("renameat2");
    if (getenv("IDM_NO_EXCHANGE")) {
        errno = EINVAL;
        return -1;
    }
    return fails("exchange", from, to) ? -1 : real(from_folder, from, to_folder, to, flags);
}
