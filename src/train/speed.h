// How fast the whole network runs: forward, and a training iteration, for `idm bench`.
#ifndef TRAIN_SPEED_H
#define TRAIN_SPEED_H

#include "train/trainer.h"
#include "tune/stopwatch.h"

typedef struct speed {
    const char *mode; // "forward" or "train"
    int height, width, batch;
    double flops, bytes; // of one run, as counted
    double model_flops;  // the network's own: a forward pass, and twice as much for its gradients, nothing that is computed again
    char plan[128];      // of training: how
    timing time;         // samples 0 in a session that only plans
    double joules;       // of one run; NaN: the platform does not tell
} speed;

// Of reconstructing a picture of side x side pixels, copies to and from the device included. `seconds` as stopwatch_measure; all of it a
// random picture. In a session that only plans nothing is run; its context then holds the costs (context_cost_visit).
idm_status speed_forward(idm_session *session, int side, double seconds, double deadline, speed *result);

// Of an iteration of training as the options say, data aside. The weights stay as they are.
idm_status speed_train(idm_session *session, const trainer_options *options, double seconds, double deadline, speed *result);

#endif
