// Sizes of the network that a command is about, where it loads no weights.
#ifndef CLI_SIZES_H
#define CLI_SIZES_H

#include "core/sizes.h"
#include <idm/config.h>

// As [model] says, else the weights file, else published.
idm_status sizes_find(const idm_config *c, model_sizes *sizes);
// As [sensing] says, else the published 0.1.
double sizes_ratio(const idm_config *c);

#endif
