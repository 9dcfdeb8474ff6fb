// Adam (Kingma & Ba 2015) over flat arrays of parameters, by the formula of torch.optim.Adam, with the loss scaling of
// torch.amp.GradScaler. All that a step decides is decided on the device, so that nothing has to be read back but `state`, for the log. A
// step is
//
//     for each array:  adam_begin(o, g[i], state);
//     adam_prepare(o, &settings, learning_rate, state);
//     for each array:  adam_update(o, &settings, state, g[i], w[i], m[i], v[i], average[i]);
//     adam_end(o, &settings, state);
//
// and the loss of the next step is scaled by state's first word (adam_scale). A step with a gradient that is infinite or not a number
// changes no parameter, moment or average, with loss scaling or without.
#ifndef OPS_ADAM_H
#define OPS_ADAM_H

#include "adam_state.clh"
#include "ops/ops.h"

typedef struct adam_settings {
    double beta1, beta2, eps;
    double clip;  // largest norm of the whole gradient (torch.nn.utils.clip_grad_norm_); 0: not clipped
    double decay; // of the weights' moving average: average = decay average + (1 - decay) w
    bool scaling; // of the loss: times `growth` after `growth_interval` good steps, times `backoff` after a bad one
    double growth, backoff;
    int growth_interval;
} adam_settings;

// torch's: betas 0.9 and 0.999, eps 1e-8, no clipping; scaling off, growth 2 after 2000 steps, backoff 0.5. decay 0.999.
adam_settings adam_defaults(void);

// The state before the first step: scale 65536 with loss scaling, else 1. On the device it is a float32 tensor of ADAM_STATE_WORDS values,
// which context_write and context_read copy from and to an adam_state.
adam_state adam_initial_state(bool scaling);
enum { ADAM_STATE_WORDS = sizeof(adam_state) / 4 };
tensor adam_push_state(ops *o, pool p); // not filled
tensor adam_scale(tensor state);        // the scale alone, one value on the device

// Looks at one array of gradients: adds to the gradient's norm, and notes what is not finite.
void adam_begin(ops *o, tensor g, tensor state);
// After all arrays: clipping and bias corrections, these as exact as in double precision.
void adam_prepare(ops *o, const adam_settings *s, double learning_rate, tensor state);
// One array's step; all of g's shape. average: NO_TENSOR or the moving average of w.
void adam_update(ops *o, const adam_settings *s, tensor state, tensor g, tensor w, tensor m, tensor v, tensor average);
// After all arrays: counters and the loss's scale.
void adam_end(ops *o, const adam_settings *s, tensor state);

#endif
