// A full set of IDM weights in host memory: float32, published names, published layout (OIHW kernels, out x in matrices), from any weight
// file users have.
#ifndef IO_WEIGHTS_H
#define IO_WEIGHTS_H

#include "io/names.h"

typedef struct weights {
    model_sizes sizes; // channels and steps are always known; heads, groups, block: 0 if neither file nor caller said
    double cs_ratio;   // 0 if not known
    parameter_name *parameters;
    size_t count;
    float **values;   // values[i]: parameters[i].count floats
    float *block;     // what values point into
    float *phi;       // N x M, N = sizes.block^2; NULL if the file has none
    int measurements; // M; 0 without phi
    bool imported;    // from Stable Diffusion: where training starts, no trained network
} weights;

typedef struct weights_options {
    model_sizes sizes; // what the caller knows, else 0: fills in what the file does not say; a contradiction is IDM_BAD_INPUT naming both
    double cs_ratio;   // the same
    bool any_ratio;    // weights of another ratio serve too, where training starts: their phi is then left out, cs_ratio is the caller's
    uint64_t seed;     // of the start values of tensors that Stable Diffusion 1.5 lacks
    bool accept_nonfinite; // else NaN or infinity in a tensor is IDM_BAD_INPUT
} weights_options;

// Reads, whatever the file's layout:
//  - IDM weights (safetensors, or torch zip with or without the authors' 494 second names, which must equal the first ones), names with or
//  without "module.";
//    sizes from metadata and the tensors' shapes; heads and groups are the published ones for the published channels
//  - Stable Diffusion 1.5's U-Net, diffusers' or single-file layout: the start of training. Other tensors are ignored; what IDM has and SD
//  has not gets the
//    published start values; steps from the options, else 3
// IDM_BAD_INPUT names the file and the tensor. `options` may be NULL. On failure *result is NULL.
idm_status weights_load(const char *path, const weights_options *options, weights **result);

// Start values for every tensor, PyTorch's defaults included. Needs channels and steps; no phi.
idm_status weights_init_random(const model_sizes *sizes, uint64_t seed, weights **result);

void weights_free(weights *w); // NULL is fine

// NULL: no such parameter.
float *weights_find(const weights *w, const char *name);

// Safetensors with published names, phi beside them, sizes in the metadata.
idm_status weights_save(const weights *w, const char *path);

// The values of parameter `index` in the published layout, valid until the next call. NULL: there are none, with a message.
typedef const float *weights_source(void *user, size_t index);

// The same with values that are asked for one tensor at a time; those of `w` are not read.
idm_status weights_save_from(const weights *w, const char *path, weights_source *source, void *user);

// Frees the values, for who has them elsewhere; names, sizes and phi stay.
void weights_drop_values(weights *w);

// The authors' torch zip: state dict of all 1079 names (3 steps), second names sharing storage. It has no place for phi, heads and groups.
idm_status weights_save_torch(const weights *w, const char *path);

// Safetensors with the parameters rounded to binary16, half the size; phi stays float32, for it is what others measured with. IDM_FAILED,
// naming the tensor: a value is too large for 16 bits.
idm_status weights_save_half(const weights *w, const char *path);

// Reads `in` and writes `out` as its ending says: .safetensors (half: by weights_save_half), or .pkl .pt .pth .ckpt .bin for a torch zip.
// IDM_USAGE: another ending, or a torch zip in half.
idm_status weights_convert(const char *in, const char *out, const weights_options *options, bool half);

// Makes an empty set for these sizes (values undefined): for readers.
idm_status weights_allocate(const model_sizes *sizes, weights **result);

// Fills parameter i with its start value.
void weights_start(weights *w, size_t i, uint64_t seed);

#endif
