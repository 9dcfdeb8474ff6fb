// How library code reports a failure: `return status_fail(IDM_BAD_INPUT, "%s: ...", path);`
#ifndef CORE_STATUS_H
#define CORE_STATUS_H

#include <idm/status.h>

// Stores the message for idm_message() and is `status`, so that a caller can return it at once. A macro, so that compilers and analysers
// see that it is not IDM_OK.
#define status_fail(status, ...) (status_message(__VA_ARGS__), (status))
void status_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Puts "text: " before the current message; for callers that know more (the file, the key) than the callee did.
idm_status status_prefix(idm_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define IDM_TRY(call)                                  \
    do {                                               \
        const idm_status try_status_ = (call);         \
        if (try_status_ != IDM_OK) return try_status_; \
    } while (0)

#endif
