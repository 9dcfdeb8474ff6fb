// OpenCL devices: listing, choosing, and what matters of each for idm.
#ifndef OPENCL_DEVICE_H
#define OPENCL_DEVICE_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum device_type { DEVICE_CPU, DEVICE_GPU, DEVICE_OTHER } device_type;

typedef struct device_info {
    int platform, index; // "P:D" on the command line
    char name[128], vendor[128], driver[128], version[128], platform_name[128];
    device_type type;
    uint64_t global_memory, max_allocation, local_memory; // bytes
    size_t max_work_group;
    unsigned compute_units, clock_mhz;
    unsigned native_vector; // floats in one of the device's registers, as it says; 16 with AVX-512, 1 on most GPUs
    bool fp16, fp64, subgroups;
    unsigned nvidia_capability;    // 86 for sm_86; 0: not NVIDIA's
    unsigned intel_matrix;         // size of the sub-groups that Intel's matrix unit works for; 0: there is none
    void *platform_id, *device_id; // OpenCL handles; null for a device that is only described (dry run)
} device_info;

// Every device of every platform, in the ICD loader's order, with IDM_LIMITS applied. Platforms without devices are left out; no device at
// all is IDM_OK with count 0. *list is the caller's to free().
idm_status device_list(device_info **list, size_t *count);

// selector: "P:D", part of a name (case ignored), "cpu", "gpu" or "auto" (the fastest GPU by compute units x clock, else a CPU, else
// anything). IDM_FAILED when there is none, with the list of those that are there.
idm_status device_choose(const char *selector, device_info *info);

// IDM_LIMITS="max_alloc=64MiB,local=32KiB,workgroup=256,vector=8,fp16=0,fp64=0,subgroups=0,memory=1GiB" narrows what a device says of
// itself (for tests). IDM_USAGE for an unknown name or value.
idm_status device_apply_limits(device_info *info);

#endif
