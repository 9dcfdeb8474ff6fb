// Which tuning a run uses: [device] tuning = auto | none | FILE. auto: what `idm tune` wrote for this device and driver, else the table
// that the program carries (configs/tuning) for its architecture, its vendor, its class, else none.
#ifndef TUNE_TUNING_CHOOSE_H
#define TUNE_TUNING_CHOOSE_H

#include "opencl/device.h"
#include "opencl/program.h"
#include "tune/tuning_file.h"

extern const struct embedded_source embedded_tunings[]; // ends with a null name

typedef enum tuning_origin {
    TUNING_NONE,         // no table fits, or none is wanted
    TUNING_GIVEN,        // a file that the configuration names
    TUNING_DEVICE,       // made here for this device
    TUNING_ARCHITECTURE, // and the next two: carried
    TUNING_VENDOR,
    TUNING_CLASS,
} tuning_origin;

typedef struct tuning_choice {
    tuning_file file;
    tuning_origin origin;
    char name[64];  // "none", "device", "architecture skylake-avx512", or the given file's name
    char note[512]; // what the user should know, or ""
    uint64_t hash;  // tuning_hash
} tuning_choice;

// IDM_BAD_INPUT: the given file cannot be read or is damaged. What is wrong with a file that was chosen by itself is noted, and it is left
// out.
idm_status tuning_choose(const char *setting, const device_info *device, tuning_choice *c);
void tuning_choice_free(tuning_choice *c);

// The best table of a list for the device, by architecture, vendor, class; TUNING_NONE: none. IDM_BAD_INPUT: one is damaged.
idm_status tuning_choose_carried(const struct embedded_source *tables, const device_info *device, tuning_choice *c);

// Where `idm tune` keeps what it finds for the device and driver. False: nowhere (no home).
bool tuning_device_path(const device_info *device, char *path, size_t size);

#endif
