// Checks of src/ops/adam.h (see tune/check.h).
#ifndef TUNE_CHECK_ADAM_H
#define TUNE_CHECK_ADAM_H

#include "tune/check.h"

typedef struct adam_problem {
    size_t counts[3]; // of parameters in each array; 0: not there
    int steps;
    double learning_rate; // halved in the middle
    double clip;          // of the gradient's norm, which is about sqrt(parameters / 24); 0: none
    bool scaling, averaged;
} adam_problem;

// Steps with random gradients of sizes from 1e-7 to 1. The worst of weights, which begin near 0, averages, both moments and the norm.
check_result check_adam(ops *o, const adam_problem *p);
// Bias corrections at a selection of steps up to `last`: the largest relative error of a single one.
check_result check_adam_corrections(ops *o, double beta1, double beta2, double learning_rate, int last);

#endif
