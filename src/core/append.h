// Files that grow record by record, each of them there whole or not at all: a program that is killed, or a full disk, leaves no half record
// behind (a killed one at most at the end). Every record is with the system when append_write returns, so that others can follow the file.
#ifndef CORE_APPEND_H
#define CORE_APPEND_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct appender {
    char *path;
    int descriptor;
    int64_t length; // of whole records
    bool torn;      // part of a record lies behind them
} appender;

// Opens the file, made if it is not there; `fresh`: it must not be there (*exists says that this is why it failed). Failures are
// IDM_FAILED. On failure *a is closed.
idm_status append_open(const char *path, bool fresh, bool *exists, appender *a);
idm_status append_write(appender *a, const void *record, size_t size);

// Survives a power loss from here on.
idm_status append_sync(appender *a);

// A zeroed appender, or one that is closed, is fine.
void append_close(appender *a);

#endif
