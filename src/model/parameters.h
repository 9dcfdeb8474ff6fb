// The network's parameters on the device: made while the network is put together, then filled from published tensors.
#ifndef MODEL_PARAMETERS_H
#define MODEL_PARAMETERS_H

#include "ops/weight.h"

typedef struct parameter {
    char name[96]; // published
    int rank, shape[4];
    tensor value;   // float32; a kernel or matrix lies as [taps][in][out] (ops/weight.h), everything else as published
    bool transpose; // published out x in x taps, here [taps][in][out]
} parameter;

// The list grows with each parameters_* call, in the order of the network. Names are printf formats.
typedef struct parameters {
    ops *o;
    parameter *list;
    size_t count, capacity;
} parameters;

// `count` values as they are, on POOL_WEIGHTS. rank 1 unless the published shape is another: (rows, columns, 1, 1).
tensor parameters_vector(parameters *p, int count, const char *name, ...) __attribute__((format(printf, 3, 4)));
tensor parameters_plain_kernel(parameters *p, int rows, int columns, const char *name, ...) __attribute__((format(printf, 4, 5)));
// window: side of a convolution's window, 1 or 3; 0: a linear layer's matrix (published without one).
weight parameters_weight(parameters *p, int in, int out, int window, const char *name, ...) __attribute__((format(printf, 5, 6)));

// Where published values come from: `count` floats of the tensor `name` in the published layout, valid until the next call; null when there
// is none (its own message is set).
typedef const float *parameters_source(void *user, const parameter *which, size_t count);
// Fills the parameters, or with another pool what mirrors them there (gradients, moments).
idm_status parameters_upload(parameters *p, pool to, parameters_source *source, void *user);

// Where they go: called for each with its values in the published layout, valid during the call. Anything but IDM_OK ends the walk.
typedef idm_status parameters_sink(void *user, const parameter *which, const float *values, size_t count);
// Waits for the device.
idm_status parameters_read(const parameters *p, const parameter *which, pool from, float *values); // one, in the published layout
idm_status parameters_download(const parameters *p, pool from, parameters_sink *sink, void *user);

const parameter *parameters_find(const parameters *p, const char *name); // null: none

void parameters_free(parameters *p);

// Where the gradient of a parameter (or of a part of one) lies: at its place in POOL_GRADIENTS. NO_TENSOR of NO_TENSOR.
tensor parameters_gradient(const ops *o, tensor value);

// A 3x3 or 1x1 convolution or linear layer with its bias (NO_TENSOR when it has none).
typedef struct layer {
    weight w;
    tensor bias;
} layer;
typedef struct norm_layer {
    tensor weight, bias;
} norm_layer;

layer parameters_layer(parameters *p, int in, int out, int window, bool bias, const char *name, ...) __attribute__((format(printf, 6, 7)));
norm_layer parameters_norm(parameters *p, int channels, const char *name, ...) __attribute__((format(printf, 3, 4)));

#endif
