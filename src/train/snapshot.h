// A trainer's state to a checkpoint and back.
#ifndef TRAIN_SNAPSHOT_H
#define TRAIN_SNAPSHOT_H

#include "train/checkpoint.h"
#include "train/trainer.h"

// Describes the session's network and, with an optimiser, the trainer's moments for checkpoint_write. Owns `names` and `buffer`.
typedef struct snapshot {
    idm_session *session;
    weights names;
    float *buffer; // of the largest tensor
    checkpoint_content content;
} snapshot;

// state and config are read when the checkpoint is written.
idm_status snapshot_create(idm_session *session, bool has_ema, const idm_config *config, const training_state *state, snapshot *s);
void snapshot_free(snapshot *s);

// Fills moments (and averages) from a checkpoint; the weights come with the session.
idm_status snapshot_restore(const snapshot *s, checkpoint *c);

#endif
