// When things happen in training: epochs, learning rate, saving. A step is one optimiser step; `step` counts the steps that are done, so
// step 0 is the start, and the update that is made next is the one from `step` to `step` + 1.
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include <idm/config.h>
#include <stdbool.h>
#include <stdint.h>

// Whole epochs that are done.
uint64_t schedule_epoch(const idm_config *config, uint64_t step);

// Steps of the whole training.
uint64_t schedule_steps(const idm_config *config);

// Learning rate of the next update: multiplied by gamma, one multiplication after the other as PyTorch's MultiStepLR, for every milestone
// whose epoch is done.
double schedule_learning_rate(const idm_config *config, uint64_t step);

// Step `step` ends an epoch after which to validate.
bool schedule_validates(const idm_config *config, uint64_t step);

typedef enum schedule_unit { SCHEDULE_MINUTES, SCHEDULE_ITERATIONS, SCHEDULE_EPOCHS } schedule_unit;

typedef struct schedule_interval {
    schedule_unit unit;
    uint64_t count; // > 0
} schedule_interval;

// "30min", "200it", "1epoch". IDM_USAGE for anything else.
idm_status schedule_parse_interval(const char *text, schedule_interval *interval);

// The interval is over at `step`: iterations and epochs are counted from step 0, wherever a run was resumed; minutes since the last time,
// `seconds` ago.
bool schedule_due(const schedule_interval *interval, const idm_config *config, uint64_t step, double seconds);

#endif
