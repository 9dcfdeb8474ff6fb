// The published names: every distinct parameter of the network with its shape and start value, the second names that the authors' files
// give to members of reversible chains, and the names of the same tensors in Stable Diffusion 1.5.
#ifndef IO_NAMES_H
#define IO_NAMES_H

#include "core/sizes.h"
#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// In model_sizes 0 stands for "not known" where a caller asks or a file does not say.
extern const model_sizes names_published_sizes; // 320,640  8  32  3  32

enum { NAMES_LENGTH_MAX = 127 };

typedef struct parameter_name {
    char name[NAMES_LENGTH_MAX + 1];
    int rank;         // 1, 2 (out, in) or 4 (out, in, kh, kw)
    int64_t shape[4]; // unused dimensions are 1
    size_t count;     // values
    // Where training starts: uniform in +-1/sqrt(fan_in), or `start` everywhere if fan_in is 0.
    int fan_in;
    float start;
} parameter_name;

// All distinct parameters in the published order: 342 + 81 steps. Needs channels (multiples of 4 and 16) and steps, at most 65536 and 1000.
// The caller frees *list.
idm_status names_parameters(const model_sizes *sizes, parameter_name **list, size_t *count);

// `alias` is another name of `name` in the authors' state dict: 494 of them with 3 steps, 1079 names in all. The caller frees *list.
typedef struct parameter_alias {
    char alias[NAMES_LENGTH_MAX + 1], name[NAMES_LENGTH_MAX + 1];
} parameter_alias;
idm_status names_aliases(const model_sizes *sizes, parameter_alias **list, size_t *count);

// The name in Stable Diffusion 1.5's U-Net of the tensor in the same role, in diffusers' layout or as in single-file checkpoints. False:
// there is none.
bool names_sd15(const char *name, bool single_file, char out[NAMES_LENGTH_MAX + 1]);

#endif
