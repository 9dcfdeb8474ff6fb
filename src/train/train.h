// A whole training run in a run directory (DESIGN.md sections 4, 5): data, steps, log, validation, checkpoints.
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "train/trainer.h"
#include <idm/config.h>
#include <stdio.h>

typedef struct train_progress {
    uint64_t step, steps, epoch, epochs; // done
    double loss;                         // mean over the steps since the last report
    double learning_rate, images_per_second, seconds_left;
    uint64_t skipped; // steps with a gradient that was not finite, in all
    size_t peak_bytes;
} train_progress;

typedef struct train_validation {
    uint64_t step;
    size_t images;
    double psnr, ssim; // averages
    bool best;
} train_validation;

// All optional but `stop`.
typedef struct train_listener {
    void *user;
    bool (*stop)(void *user); // asked after every step: finish, save, return
    void (*say)(void *user, bool warning, const char *text);
    void (*progress)(void *user, const train_progress *p);
    void (*validation)(void *user, const train_validation *v);
    FILE *profile; // at the end the time of each kernel goes there
} train_listener;

typedef struct train_result {
    uint64_t step;
    char checkpoint[IDM_PATH_SIZE]; // the newest
    double loss, best_psnr;         // NaN: none
} train_result;

// Trains by `config` in config->train.out, from its newest complete checkpoint with `resume`, else from the start, which a directory with
// checkpoints refuses. IDM_OK also when `stop` ended it.
idm_status train_run(const idm_config *config, bool resume, const train_listener *listener, train_result *result);

// The trainer that a configuration asks for.
trainer_options train_options(const idm_config *config);

// train.init as the session takes it, config->model.weights. IDM_USAGE when both are given.
idm_status train_initial_weights(idm_config *config);

#endif
