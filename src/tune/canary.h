// The canary: before a device is trusted with real work, a tiny network with a known answer and every operation's own check
// (tune/selftest.h) must come out right.
#ifndef TUNE_CANARY_H
#define TUNE_CANARY_H

#include "core/sizes.h"
#include "ops/ops.h"

// Runs once for each (device, driver, program, variants, tuning, sizes), and again before the first training: a pass is remembered beside
// the kernel cache. t: kernel parameters in use, each row of which is tried (trial.h) whatever its class. Takes some seconds the first
// time. Uses contexts of its own, so it may run while another one is open. IDM_WRONG_RESULT names the operation that is wrong and what to
// do. `running` (may be null) is called before the checks start, not when the pass was remembered.
idm_status canary_run(const device_info *device, const idm_config *config, const model_sizes *sizes, double cs_ratio, bool training,
                      const tuning *t, void (*running)(void *user), void *user);

#endif
