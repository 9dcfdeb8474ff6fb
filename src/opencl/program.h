// The kernel sources that the program carries (the table is generated at build time by cmake/embed.cmake), and the cache of what
// was made from them.
#ifndef OPENCL_PROGRAM_H
#define OPENCL_PROGRAM_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embedded_source {
    const char *name, *text; // "conv.cl"
};
extern const struct embedded_source embedded_sources[]; // ends with a null name

// Of all sources as they are read now, IDM_CL_DIR's if that is set. Never 0.
idm_status program_hash(uint64_t *hash);

// Where something that belongs to the key is kept between runs: IDM_CACHE_DIR, else XDG_CACHE_HOME/idm, else ~/.cache/idm, then KIND/HASH.
// False: nowhere.
bool program_cache_path(const char *kind, const char *key, char *path, size_t size);

#endif
