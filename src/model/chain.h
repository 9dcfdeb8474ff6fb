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
    tensor skip; // a resnet that reads cat[x1, skip]: set before each run; NO_TENSOR otherwise
} module;

enum { CHAIN_MAX = 11 };

typedef struct chain {
    module modules[CHAIN_MAX];
    int count;
} chain;

// What all modules of one forward pass share.
typedef struct pass {
    ops *o;
    const sensing *s;
    tensor back_projection; // A^T y (n, H, W, 1)
    int step;               // t, 1..T: which injector weights
    // Called after each module was launched, for progress; may be null.
    void (*after_module)(void *user);
    void *user;
} pass;

// Runs the modules on the streams; both tensors are overwritten, and the pointers swap as the streams do.
void chain_forward(const pass *p, const chain *c, tensor *x1, tensor *x2);

#endif
