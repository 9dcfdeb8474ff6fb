// The parts of `idm verify`.
#ifndef CLI_VERIFY_H
#define CLI_VERIFY_H

#include "cli/cli.h"
#include "io/measurement.h"
#include "io/safetensors.h"
#include "train/golden.h"

// Tensors for --dump, under the golden's names.
typedef struct verify_dump {
    safetensors_tensor *tensors; // names and data are owned
    size_t count, capacity;
} verify_dump;

idm_status verify_dump_add(verify_dump *d, const char *prefix, const char *name, int rank, const int64_t shape[4], const float *data,
                           size_t count);
void verify_dump_free(verify_dump *d);

typedef struct verification {
    const cli_call *call;
    tensor_file *file;
    measurement m;
    float *out; // what was computed
    double loss, tolerance, gradient_tolerance;
    double output_error, loss_error; // NaN: nothing to compare with
    golden_errors gradients, parameters;
    double training_error; // of the worst of `losses`, relative; NaN: nothing to compare with
    double step_seconds;   // of the fastest of Adam's steps after the first; NaN: there was none
    verify_dump dump;
} verification;

// Compares the loss's gradients, and the losses and parameters of Adam's steps, where the golden has them.
idm_status verify_gradients(verification *v, const idm_config *config);
idm_status verify_steps(verification *v, const idm_config *config);

#endif
