// `idm tune`: the search for kernel parameters for a device and a network.
//
// For every class of calls that the network makes (workload.h), from the most work to the least, it goes along the axes of candidates.h. A
// candidate is first checked against the oracle at a fraction of the size, then its result at full size is held to that of the operation's
// own choice, then it is timed, shortly where it is no match for the best. All of it in a child process (supervise.h), with a journal that
// is on disk before each candidate's first launch (journal.h): one that kills the child, or does not answer in time, is remembered and
// never tried again. What is found is confirmed against the own choice in alternation and kept where it is more than 2 % faster; at the end
// the whole network is timed without and with all that was found.
#ifndef TUNE_TUNE_H
#define TUNE_TUNE_H

#include "core/sizes.h"
#include <idm/config.h>

typedef struct tune_options {
    const idm_config *config;
    model_sizes sizes;
    double cs_ratio;
    int side;        // of the picture that is tuned for, a multiple of the block size
    bool training;   // the gradient's operations too
    double seconds;  // for all
    const char *out; // tuning file; null: the device's own
} tune_options;

typedef struct tune_result {
    double untuned, tuned; // seconds of the network's forward pass on a picture of side x side; 0: there was no time to measure
    int side;
    int groups, improved;     // classes searched; rows kept
    int candidates, failures; // tried; that failed, in this search or an earlier one
    char path[IDM_PATH_SIZE]; // of the tuning file
} tune_result;

// say: a line for the user, from the parent. IDM_USAGE: nothing to tune in this table of variants, or too little time to search anything.
idm_status tune_run(const tune_options *options, void (*say)(void *user, const char *text), void *user, tune_result *result);

#endif
