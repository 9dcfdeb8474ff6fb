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
    struct {
        int height, width; // 0: none kept
        bool backward;
    } kept_for; // what network_keep_layouts was called with
} network;

// Makes the parameters on POOL_WEIGHTS, exactly as large as needed; parameters_upload(&n->parameters, ...) fills them. IDM_USAGE for sizes
// that do not fit together (a width not divisible by heads, groups or 16; more than STEPS_MAX steps). `o` must outlive the network.
idm_status network_create(ops *o, const model_sizes *sizes, network *n);
void network_free(network *n);

// The widest tensor any convolution reads (for ops_create).
int network_max_channels(const model_sizes *sizes);

// Keeps weights in the layout the chosen variants read for pictures of height x width, with `backward` those of the backward pass too, as
// many as fit into `bytes` of device memory (those first that save most for their bytes, else first come first kept); the others, and for
// pictures that are read otherwise, are converted at each use. Those kept before are dropped.
void network_keep_layouts(network *n, int height, int width, size_t bytes, bool backward);
// Whether what is kept suits pictures of height x width: they read the same layouts, or it was kept for training, which goes on.
bool network_layouts_suit(const network *n, int height, int width);
// After the weights changed.
void network_renew_layouts(network *n);
// Gives their memory back.
void network_drop_layouts(network *n);

typedef struct network_progress {
    void (*report)(void *user, double done); // fraction of the forward pass that the device has finished
    void *user;
} network_progress;

// out (n, H, W, 1), not clamped, from y (n, 1, H*W/N, M). progress may be null; with it the queue is drained after each module.
void network_forward(network *n, const sensing *s, tensor y, tensor out, const network_progress *progress);

// ---- training (network_backward.c)

// How much a training pass keeps for the backward pass (DESIGN.md "Memory is a dial"); from the most memory to the least.
typedef struct network_dial {
    idm_recompute recompute; // never IDM_RECOMPUTE_AUTO
    bool keep_wide;          // the feed-forward layers' first product, eight times as wide as a stream
    bool keep_steps;         // what each step leaves; else only the last one's, and the others run forward once more
} network_dial;

// Makes the gradients of all parameters, zero.
void network_create_gradients(network *n);

// A batch's or micro-batch's share of loss and gradient: loss (1 value) += share sum |out - x|, and each parameter's gradient += scale
// times that loss's. x (n, H, W, 1) is the truth, out as network_forward's, share 1 / (values of the whole batch); scale: one value on the
// device, or NO_TENSOR for 1.
void network_gradient(network *n, const sensing *s, tensor y, tensor x, const network_dial *dial, float share, tensor scale, tensor loss,
                      tensor out);

// Looks at each chain's v (waits for the device) and notes which cannot be inverted (chain.h, small_v): bit b of the result is chain b in
// network order, down 0 chains 0 and 1, down 1, up 0, up 1. network_set_small_v sets them to what a checkpoint says.
idm_status network_find_small_v(network *n, unsigned *chains);
void network_set_small_v(network *n, unsigned chains);

#endif
