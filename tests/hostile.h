// Common to the tests of file readers: a temporary folder, hand-made files in it, and the check that a file is refused with the right
// words.
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include <idm/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN "../../shared/golden/"

static char temporary_folder[64];

// cmocka group fixtures.
static inline int make_temporary(void **state)
{
    (void)state;
    (void)snprintf(temporary_folder, sizeof temporary_folder, "/tmp/idm-test-XXXXXX");
    return mkdtemp(temporary_folder) ? 0 : -1;
}

static inline int remove_temporary(void **state)
{
    (void)state;
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r '%s'", temporary_folder);
    return system(command);
}

// A path in the temporary folder; valid until the fourth next call.
static inline const char *temporary(const char *name)
{
    static char paths[4][160];
    static int next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", temporary_folder, name);
    return path;
}

static inline void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

// Reads a whole file (freed by the caller), or skips the test where the shared folder is not beside the source.
static inline uint8_t *read_or_skip(const char *path, size_t *size)
{
    *size = 0;
    FILE *file = fopen(path, "rb");
    if (!file) {
        print_message("needs %s\n", path);
        skip();
        return NULL;
    }
    (void)fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    (void)fclose(file);
    return bytes;
}

static inline void need_file(const char *path)
{
    if (access(path, R_OK) == 0) return;
    print_message("needs %s\n", path);
    skip();
}

// The status is IDM_BAD_INPUT and the message has the path and the words.
static inline void assert_refused(idm_status status, const char *path, const char *words)
{
    if (status != IDM_BAD_INPUT || !strstr(idm_message(), words) || !strstr(idm_message(), path))
        fail_msg("status %d, message \"%s\", expected 3 and \"%s\"", status, idm_message(), words);
}

#endif
