// What a long command does around its reconstructions: opens the session and says on what it runs, predicts time and memory, shows
// progress, decides whether a failure ends everything.
#ifndef CLI_JOB_H
#define CLI_JOB_H

#include "cli/progress.h"
#include "core/files.h"
#include "eval/evaluate.h"
#include "tune/forecast.h"

typedef struct job {
    const cli_call *call;
    idm_session *session;
    files_list inputs;
    double *work;          // FLOPs of each input; 0: not known
    double total, seconds; // of all; predicted, 0 where it was too little to measure
    size_t bytes;          // of device memory for the largest input
    int largest_pixels;    // of one reconstruction
    forecast forecast;
    progress bar;
    size_t failed;
    idm_status first_failure;
    char first_message[1024];
    cJSON *failures; // for --json
} job;

// Takes over `inputs`. On failure everything is freed.
idm_status job_open(job *j, const cli_call *call, files_list *inputs);
void job_close(job *j);

// Adds what reconstructing `t` takes to input i.
void job_add_work(job *j, size_t i, const tiling *t);

// Predicts time and memory and prints them where the job is long. may_stop: IDM_USAGE with advice above 10 minutes. Then starts the
// progress bar.
idm_status job_begin(job *j, bool may_stop);

// Before input i.
void job_next(job *j, size_t i);

// After input i failed: reports it and remembers it. IDM_OK: the others can go on.
idm_status job_failed(job *j, size_t i, idm_status status);

// IDM_OK, or the first failure's status with a summary.
idm_status job_end(job *j);

#endif
