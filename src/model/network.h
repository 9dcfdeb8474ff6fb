// The whole network: T DDIM steps of one U-Net as a reversible chain, from measurements to image (MODEL.md "Network").
#ifndef MODEL_NETWORK_H
#define MODEL_NETWORK_H

#include "model/unet.h"

typedef struct network {
    ops *o;
    parameters parameters;
    unet unet;
    tensor help, merge, alpha; // 1, 1, T values
    tensor v[STEPS_MAX];       // of step module T - t
} network;

// Makes the parameters on POOL_WEIGHTS, exactly as large as needed; parameters_upload(&n->parameters, ...) fills them. IDM_USAGE for sizes
// that do not fit together (a width not divisible by heads, groups or 16; more than STEPS_MAX steps). `o` must outlive the network.
idm_status network_create(ops *o, const model_sizes *sizes, network *n);
void network_free(network *n);

// The widest tensor any convolution reads (for ops_create).
int network_max_channels(const model_sizes *sizes);

// Keeps weights in the layout the chosen variants read, as many as fit into `bytes` of device memory (first come first kept); the others
// are converted at each use. Also renews kept ones after the weights changed.
void network_keep_layouts(network *n, size_t bytes);
// Gives their memory back.
void network_drop_layouts(network *n);

typedef struct network_progress {
    void (*report)(void *user, double done); // fraction of the forward pass that the device has finished
    void *user;
} network_progress;

// out (n, H, W, 1), not clamped, from y (n, 1, H*W/N, M). progress may be null; with it the queue is drained after each module.
void network_forward(network *n, const sensing *s, tensor y, tensor out, const network_progress *progress);

#endif
