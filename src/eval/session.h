// The insides of a session that our own commands use beyond <idm/idm.h>.
#ifndef EVAL_SESSION_H
#define EVAL_SESSION_H

#include "opencl/context.h"
#include <idm/idm.h>

context *session_context(idm_session *session);

// "cpu: conv cpu, gemm cpu, attention cpu" for logs.
void session_describe(const idm_session *session, char *out, size_t size);

// What must come right before the session's results are to be trusted (tune/canary.h); remembered between runs.
idm_status session_canary(const idm_session *session, void (*running)(void *user), void *user);

#endif
