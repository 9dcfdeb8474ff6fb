// What a configuration means for training.
#include "core/status.h"
#include "train/train.h"
#include <string.h>

trainer_options train_options(const idm_config *c)
{
    return (trainer_options){
        .batch = c->train.batch_size,
        .height = c->data.patch_size,
        .width = c->data.patch_size,
        .optimiser = true,
        .clip = c->train.clip,
        .ema = c->train.ema,
        .precision = c->train.precision,
        .recompute = c->memory.recompute,
        .micro_batch = c->memory.micro_batch,
    };
}

idm_status train_initial_weights(idm_config *c)
{
    const char *file = strchr(c->train.init, ':');
    if (!file) return IDM_OK; // random, or model.weights
    if (c->model.weights[0])
        return status_fail(IDM_USAGE, "both train.init = %.100s and model.weights = %.100s are given; one of them is enough", c->train.init,
                           c->model.weights);
    memcpy(c->model.weights, file + 1, strlen(file + 1) + 1);
    return IDM_OK;
}
