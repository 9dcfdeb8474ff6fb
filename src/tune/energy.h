// The energy a device has used, where the platform tells without further libraries: of CPUs by Intel's and AMD's counters (powercap,
// often readable by root alone), of AMD GPUs by the driver's average power.
#ifndef TUNE_ENERGY_H
#define TUNE_ENERGY_H

#include "opencl/device.h"

enum { ENERGY_SOURCES_MAX = 8 };

typedef struct energy {
    struct {
        char path[256];
        double last, range; // microjoules: as last read, and where the counter begins again; range 0: microwatts
    } sources[ENERGY_SOURCES_MAX];
    int count;
    double joules, time; // since the beginning; of the last reading
} energy;

// Begins to count. root: "/sys". Without sources it stays empty.
void energy_begin(energy *e, const device_info *device, const char *root);
// Joules since then; NaN: not known. To be asked more often than the counters run over (minutes).
double energy_joules(energy *e);

#endif
