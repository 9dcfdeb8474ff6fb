// The whole network with some weights, to time it with one tuning and another.
#ifndef TUNE_WHOLE_H
#define TUNE_WHOLE_H

#include "core/sizes.h"
#include "model/network.h"

typedef struct whole {
    ops *o;
    network net;
    model_sizes sizes;
    double cs_ratio;
} whole;

// `o` must outlive it, and have no tuning.
idm_status whole_open(whole *w, ops *o, const model_sizes *sizes, double cs_ratio);
void whole_close(whole *w);

// A forward pass on one picture of side x side pixels, after one that is not timed. t: null for none. o is left as
// whole_open found it, and the layouts made are gone.
idm_status whole_time(whole *w, const tuning *t, int side, double *seconds);

#endif
