// What a checkpoint knows besides weights and moments: where training stood, and all that shapes the bits of what comes after.
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include <idm/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct training_state {
    uint64_t step;      // optimiser steps, skipped ones included
    uint64_t adam_step; // Adam's t: skipped steps do not count
    uint64_t good_steps, skipped_steps;
    double loss_scale;
    double seconds; // trained
    double best_psnr;
    uint64_t best_step; // 0: not validated yet
    // These must be the same for the same bits.
    int micro_batch, anchors, compute_units;
    uint64_t slab_bytes;
    char recompute[64], variants[256], tuning[64]; // words; tuning: hash of the tuning file
    char device[256], driver[256], version[32];
    uint64_t data_hash, data_count; // of the usable training images
} training_state;

// "key = value" lines, doubles to the last bit. Line ends within texts become spaces. The caller frees *text. IDM_FAILED: a number is NaN,
// or no memory.
idm_status training_state_format(const training_state *state, char **text);

// IDM_BAD_INPUT, naming `path`, line and key, unless every key is there once and has a usable value.
idm_status training_state_parse(const char *path, const char *text, training_state *state);

// Lists which of the things that shape the bits differ: "device was A, is B; compute_units was 16, is 8". Empty when none does.
void training_state_changes(const training_state *then, const training_state *now, char *out, size_t size);

#endif
