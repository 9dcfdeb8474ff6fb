// Runs a job in a child process, since what it does may hang or kill the process that does it; and again after such an end, as long as
// there is time. The parent calls no OpenCL, before or after: a child begins with a clean slate.
#ifndef TUNE_SUPERVISE_H
#define TUNE_SUPERVISE_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>

// The child's line to its parent.
typedef struct supervise_link supervise_link;

// Seconds of clock_seconds without those in which the program was stopped (Ctrl-Z, a debugger): what deadlines are in.
double supervise_clock(const supervise_link *link);

// What follows takes at most so many seconds, or the child is killed.
void supervise_limit(supervise_link *link, double seconds);
void supervise_no_limit(supervise_link *link);
// A line for the user; the job's result, one line, which ends a job that went well.
void supervise_say(supervise_link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));
void supervise_result(supervise_link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The reason where the job was at its end: what the child did then is not to blame.
#define SUPERVISE_OUT_OF_TIME "out of time"

typedef struct supervise_attempt {
    int number;         // 0: the first
    bool last;          // there is no more time: to finish with what there is
    const char *reason; // how the one before ended: "killed by signal 11", "no answer within 10 s"; "" for the first
} supervise_attempt;

typedef struct supervise_job {
    idm_status (*run)(void *user, supervise_link *link, const supervise_attempt *attempt); // in the child
    void (*say)(void *user, const char *text);                                             // in the parent
    void *user;
    double seconds; // from supervise_run on: then a child is killed and one more is started, the last
} supervise_job;

// IDM_OK: `result` is the job's. Else the status and message that a child returned, or IDM_FAILED: the last child died too.
idm_status supervise_run(const supervise_job *job, char *result, size_t size);

#endif
