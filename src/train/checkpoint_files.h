// Names inside a checkpoint's folder: for what writes and what reads it.
#ifndef TRAIN_CHECKPOINT_FILES_H
#define TRAIN_CHECKPOINT_FILES_H

#include "train/checkpoint.h"

#define CHECKPOINT_WEIGHTS "weights.safetensors"
#define CHECKPOINT_OPTIMIZER "optimizer.safetensors"
#define CHECKPOINT_CONFIG "config.ini"
#define CHECKPOINT_STATE "state"
#define CHECKPOINT_TUNING "tuning.txt"

enum { CHECKPOINT_NAME_SIZE = NAMES_LENGTH_MAX + 8 };

// Before a parameter's name: "", "m/", "v/", "ema/".
extern const char *const checkpoint_prefixes[4];
void checkpoint_name(char out[CHECKPOINT_NAME_SIZE], checkpoint_kind kind, const parameter_name *which);

// The configuration as a file.
idm_status checkpoint_write_config(const char *path, const idm_config *config);

#endif
