// What `idm tune` tries for an operation: axes, each a list of settings. The search goes along one axis after another, from the best so
// far, so the first axes are those that decide most.
#ifndef TUNE_CANDIDATES_H
#define TUNE_CANDIDATES_H

#include "opencl/device.h"
#include "ops/ops.h"

enum { SETTING_PARTS = 4 };

typedef struct candidate_setting {
    struct {
        tuning_parameter parameter;
        int value;
    } parts[SETTING_PARTS];
    int count;
} candidate_setting;

typedef struct candidate_axis {
    const candidate_setting *settings;
    size_t count;
} candidate_axis;

// Axes of the operation's variant on the device, most important first. 0: nothing to search.
size_t candidates_axes(tuned_op op, variant v, const device_info *device, const candidate_axis **axes);

// row with the setting's values.
tuning_row candidates_apply(const tuning_row *row, const candidate_setting *setting);

#endif
