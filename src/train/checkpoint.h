// Checkpoints of a run directory: RUN/step_NNNNNNN/ with
//   weights.safetensors    what weights_save writes, phi included: a weights file like any other
//   optimizer.safetensors  m/NAME, v/NAME and, where weights are averaged, ema/NAME: float32, published names and layout
//   config.ini             the configuration
//   state                  train/state.h
//   tuning.txt             the kernel parameters in use, where there are any (tune/tuning_file.h)
// and RUN/best/ with weights.safetensors and validation.json of the best validation. A folder is written as NAME.partial, every file in it
// synced, then the folder, then renamed, then RUN synced: whatever happens at any instant, the newest folder that bears its final name is
// whole, and the one before is there until then. One program at a time per run directory (train/run.h locks it).
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "io/weights.h"
#include "train/state.h"
#include "train/warning.h"
#include "tune/tuning_file.h"
#include <idm/config.h>

typedef enum checkpoint_kind { CHECKPOINT_WEIGHT, CHECKPOINT_M, CHECKPOINT_V, CHECKPOINT_EMA } checkpoint_kind;

// which->count values in the published layout, valid until the next call. NULL: there are none, with a message.
typedef const float *checkpoint_source(void *user, checkpoint_kind kind, const parameter_name *which);

typedef struct checkpoint_content {
    const weights *w; // names, sizes, phi; its values are not read (they may be dropped)
    bool has_ema;
    checkpoint_source *source;
    void *user;
    const idm_config *config;
    const training_state *state;
    const tuning_file *tuning; // kernel parameters in use; null: none
} checkpoint_content;

// Writes RUN/step_NNNNNNN of state->step, in the place of one that is there. IDM_FAILED: cannot write, a value is NaN or infinite, or phi
// is missing; then no checkpoint has been touched, unless the message says that all is written but may not outlive a power loss.
idm_status checkpoint_write(const char *run, const checkpoint_content *content);

// Removes all but the `keep` > 0 newest complete ones. IDM_FAILED: one cannot be removed.
idm_status checkpoint_prune(const char *run, int keep);

// Replaces RUN/best: the averaged weights where there are any, else the trained ones, and `rows` as validation.json. Failures as in
// checkpoint_write.
idm_status checkpoint_write_best(const char *run, const checkpoint_content *content, const char *rows);

// What a killed program left: removes folders that are not complete, says so. To be called by who holds the lock, before the others.
idm_status checkpoint_recover(const char *run, warning_sink warn);

// Path of the newest complete checkpoint; "" if there is none. Newer ones that are damaged are passed over with a warning.
idm_status checkpoint_newest(const char *run, warning_sink warn, char *path, size_t size);

// Reads one. Weights are best read by weights_load(PATH/weights.safetensors), which checks the network.
typedef struct checkpoint checkpoint;

// IDM_BAD_INPUT: incomplete or damaged. On failure *c is NULL.
idm_status checkpoint_open(const char *path, checkpoint **c);
void checkpoint_close(checkpoint *c); // NULL is fine

const training_state *checkpoint_state(const checkpoint *c);
bool checkpoint_has_ema(const checkpoint *c);

// *values: those of `which` in the published layout, valid until the next call. IDM_BAD_INPUT: not there, of another shape, or not finite.
idm_status checkpoint_read(checkpoint *c, checkpoint_kind kind, const parameter_name *which, const float **values);

// Lists what differs of all that shapes the bits of later steps, in state and configuration: "device was A, is B; train.batch_size was 8,
// is 4". Empty when nothing does.
idm_status checkpoint_changes(const checkpoint *c, const idm_config *config, const training_state *state, char *out, size_t size);

#endif
