// The reversible chain (MODEL.md "Reversible chain", IDM section 3.2): modules wired (x1, x2) -> ((1 - v) body(x1) + v x2, x1), each with
// its own learned v.
#ifndef MODEL_CHAIN_H
#define MODEL_CHAIN_H

#include "model/resnet.h"
#include "model/transformer.h"
#include "ops/sensing.h"

enum { STEPS_MAX = 16 };

// Detour of the features through the image domain; one set of weights for each step.
typedef struct injector {
    int r; // pixels per side that one feature pixel covers
    tensor f2i_weight[STEPS_MAX], f2i_bias[STEPS_MAX], i2f_weight[STEPS_MAX], i2f_bias[STEPS_MAX];
} injector;

injector injector_create(parameters *p, int channels, int r, int steps, const char *name);

typedef enum module_kind { MODULE_RESNET, MODULE_TRANSFORMER, MODULE_INJECTOR } module_kind;

typedef struct module {
    module_kind kind;
    union {
        resnet resnet;
        transformer transformer;
        injector injector;
    } body;
    tensor v;
    tensor skip, skip_gradient; // a resnet that reads cat[x1, skip]: set before each run; NO_TENSOR otherwise
} module;

enum { CHAIN_MAX = 11 };

typedef struct chain {
    module modules[CHAIN_MAX];
    int count;
    bool small_v; // dividing by v would lose the streams: IDM_RECOMPUTE_INVERT runs this chain as IDM_RECOMPUTE_BLOCKS
} chain;

// Inverting multiplies errors by 1 / |v| a module: chains with smaller ones are not inverted, and at most so many modules in a row are.
static const float CHAIN_SMALL_V = 0.25f;
enum { CHAIN_ANCHOR_EVERY = 6 };

// What all modules of one forward pass share.
typedef struct pass {
    ops *o;
    const sensing *s;
    tensor back_projection; // A^T y (n, H, W, 1)
    int step;               // t, 1..T: which injector weights
    // Of training passes: what is kept and what is made again (DESIGN.md "Memory is a dial"), never IDM_RECOMPUTE_AUTO; whether a tape
    // holds the feed-forward layers' first product.
    idm_recompute recompute;
    bool keep_wide;
    // Called after each module was launched, for progress; may be null.
    void (*after_module)(void *user);
    void *user;
} pass;

// What a forward pass leaves for the backward pass. Everything in it lies on POOL_ACTIVATIONS; the caller releases it.
typedef struct module_tape {
    union {
        resnet_tape resnet;
        transformer_tape transformer;
    } body;
    tensor f; // body(x1)
} module_tape;

typedef struct chain_tape {
    idm_recompute mode;
    // The streams before module i, and after the last: all of them, or when inverting the last and every CHAIN_ANCHOR_EVERYth (NO_TENSOR
    // elsewhere).
    tensor x1[CHAIN_MAX + 1], x2[CHAIN_MAX + 1];
    module_tape modules[CHAIN_MAX]; // IDM_RECOMPUTE_NONE only
} chain_tape;

// How the chain is run in this pass.
idm_recompute chain_mode(const pass *p, const chain *c);

// Runs the modules on the streams; both tensors are overwritten, and the pointers swap as the streams do. With a tape (mode set by
// chain_mode) they are overwritten only when inverting, else they become part of the tape.
void chain_forward(const pass *p, const chain *c, tensor *x1, tensor *x2, chain_tape *tape);

// d1, d2: the gradients of the chain's two results, become those of its two inputs; the pointers swap. The tape gets x1[0] and x2[0] where
// it lacks them, and is used up. Gradients of parameters are added to; a module's skip_gradient is overwritten.
void chain_backward(const pass *p, const chain *c, chain_tape *tape, tensor *d1, tensor *d2);

#endif
