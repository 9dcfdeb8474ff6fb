// Status codes of every libidm call that can fail, and the text that goes with the last failure.
#ifndef IDM_STATUS_H
#define IDM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define IDM_API __attribute__((visibility("default")))
#else
#define IDM_API
#endif

// The values are the exit statuses of the `idm` command.
typedef enum idm_status {
    IDM_OK = 0,
    IDM_FAILED = 1,       // failed while running: device, memory, disk
    IDM_USAGE = 2,        // wrong usage or configuration
    IDM_BAD_INPUT = 3,    // an input file is missing, damaged, or does not fit
    IDM_WRONG_RESULT = 4, // a check of numbers failed (verify, selftest, canary)
} idm_status;

// One line about this thread's most recent failure: what failed, which file, key or device, and what to do.
// Valid until this thread's next failing call; "" before the first.
IDM_API const char *idm_message(void);

// "1.2.3"
IDM_API const char *idm_version(void);

#ifdef __cplusplus
}
#endif
#endif
