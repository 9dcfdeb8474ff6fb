// What `measure` and `reconstruct` share: the options --operator and --tile.
#ifndef CLI_MEASURED_H
#define CLI_MEASURED_H

#include "cli/cli.h"
#include "eval/evaluate.h"
#include "io/measurement.h"

// The operator of --operator FILE.
typedef struct given_operator {
    const char *path; // NULL: not given
    bool made;        // op is there
    idm_operator op;  // a view of `file`, or owned by `own`
    measurement file;
    idm_operator own;
} given_operator;

// Reads the file if there is one; else it is to be made.
idm_status given_operator_open(given_operator *g, const char *path);
// Takes over `own` and writes it to the file.
idm_status given_operator_save(given_operator *g, idm_operator *own);
void given_operator_close(given_operator *g);

// The value of --tile; 0: not given.
idm_status measured_tile(const cli_call *call, int *tile);

#endif
