// The training step on a device: gradients in micro-batches under a plan of memory, Adam, loss scaling. Builds on a session, whose network
// it trains; between steps the session may reconstruct (validation).
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "eval/session.h"
#include "ops/adam.h"

typedef struct trainer trainer;

typedef struct trainer_options {
    int batch, height, width; // of an optimiser step; both sides multiples of the block size
    bool optimiser;           // Adam's moments, and with ema > 0 averaged weights; else gradients only
    double clip, ema;         // 0: none
    idm_precision precision;  // half also scales the loss
    idm_recompute recompute;
    int micro_batch;  // 0: chosen
    const float *phi; // N x measurements, read by trainer_create; null: the session's
    int measurements;
} trainer_options;

// How an iteration runs. Of plans with the same micro_batch, two_pass and, where they invert, small_v, all that invert give the same bits,
// and all that do not.
typedef struct training_plan {
    network_dial dial;
    int micro_batch;
    bool two_pass;     // attention's backward pass (ops.h)
    unsigned small_v;  // chains that are not inverted (network.h)
    bool keep_layouts; // weights are kept in the layout the kernels read as well
    size_t peak;       // bytes of device memory in all
    size_t pools[POOL_COUNT], staging;
    double flops, bytes;  // of an iteration
    double forward_flops; // of a forward pass of the whole batch
} training_plan;

// Chooses among plans: the fewest FLOPs that fit the session's budget, with the largest micro-batch. recompute = invert asks for the least
// memory there is. `wanted`, or null: the plan of an earlier run, whose bits are to be kept; where none that keeps them fits, *changed and
// a free choice. IDM_FAILED names the least that is needed. Then lays out the memory, unless the session only plans.
idm_status trainer_create(idm_session *session, const trainer_options *options, const training_plan *wanted, bool *changed,
                          trainer **result);
void trainer_free(trainer *t);
const training_plan *trainer_plan(const trainer *t);
// "none", "blocks", "invert"; and the whole plan for people.
const char *training_plan_mode(const training_plan *p);
void training_plan_text(const training_plan *p, char *out, size_t size);

// What stays inside the network's modules is stored so.
dtype trainer_storage(idm_precision precision);

// Lays out the memory again after the session used it.
idm_status trainer_prepare(trainer *t);

// Looks again at which chains cannot be inverted, if any is; where that has changed, memory is laid out for it and *changed. Waits for the
// device.
idm_status trainer_watch_v(trainer *t, bool *changed);

// Exchanges the weights with their moving average, for a validation of the latter; again to go back.
void trainer_swap_average(trainer *t);

// Launches a step; all arrays are copied before it returns. x (batch, height, width); y: its measurements if they are known, else null, and
// they are made on the device. With the optimiser Adam follows; else the gradients stay in POOL_GRADIENTS.
void trainer_step(trainer *t, const float *x, const float *y, const int32_t *perm, double learning_rate);

typedef struct trainer_state {
    float loss; // the sum of all steps' losses since it was last set
    adam_state adam;
} trainer_state;
// Both wait for the device.
idm_status trainer_read(trainer *t, trainer_state *state);
void trainer_write(trainer *t, const trainer_state *state);

// out (batch, height, width) of the last step's forward pass. Waits.
idm_status trainer_output(trainer *t, float *out);

#endif
