// The simulated camera: makes the sampling operator of a configuration without a network or a device.
#ifndef EVAL_CAMERA_H
#define EVAL_CAMERA_H

#include "io/measurement.h"
#include <idm/idm.h>

typedef struct camera {
    int block_size, measurements;
    double cs_ratio;
    uint64_t seed;
    float *phi; // N x M, owned
} camera;

// Block size, ratio and Phi as an idm_session of the same configuration has them: from model.weights if that is given, then [sensing], then
// the published ones.
idm_status camera_open(const idm_config *config, camera *c);
void camera_close(camera *c);

// As idm_session_operator.
idm_status camera_operator(const camera *c, int height, int width, const char *name, idm_operator *op);

// The operator that a measurement was made by, a view of its arrays.
idm_operator camera_operator_of(const measurement *m);

#endif
