// The insides of a session that our own commands use beyond <idm/idm.h>.
#ifndef EVAL_SESSION_H
#define EVAL_SESSION_H

#include "core/sizes.h"
#include "model/network.h"
#include "tune/tuning_choose.h"
#include <idm/idm.h>

context *session_context(idm_session *session);

// "cpu: conv cpu, gemm cpu, attention cpu" for logs.
void session_describe(const idm_session *session, char *out, size_t size);

// The kernel parameters in use: the session's.
const tuning_choice *session_tuning(const idm_session *session);
// What to say once about them: that the device is untuned, or what is amiss with its tuning file. False: nothing.
bool session_tuning_note(const idm_session *session, char *out, size_t size);

// What must come right before the session's results are to be trusted (tune/canary.h); remembered between runs.
idm_status session_canary(const idm_session *session, bool training, void (*running)(void *user), void *user);

// What a trainer builds on. The pointers are the session's.
typedef struct session_parts {
    const idm_config *config;
    ops *o;
    network *net;
    model_sizes sizes;
    double cs_ratio;
    const float *phi; // N x measurements; null in a session that only plans
    int measurements;
    size_t budget; // bytes of device memory
} session_parts;

session_parts session_insides(idm_session *session);

// For plans alone: no weights are made, and nothing reaches the device, which may be one that is only described.
idm_status session_open_dry(const idm_config *config, const device_info *device, idm_session **session);

// The caller has laid out the device's memory anew: the next reconstruction plans again.
void session_forget_plan(idm_session *session);

#endif
