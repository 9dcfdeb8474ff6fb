// What a run has logged so far, read back; also while a program trains there.
#ifndef TRAIN_HISTORY_H
#define TRAIN_HISTORY_H

#include "train/run.h"

// In the order of the files. Owns all that the rows point to.
typedef struct history {
    run_row *rows; // of log.jsonl
    size_t row_count;
    run_validation *validations; // of validation.jsonl
    size_t validation_count;
} history;

// Numbers that are null or missing are NaN (0 where they are whole numbers); a line that is not finished yet is left out; a file that is
// not there has no lines. IDM_BAD_INPUT, naming file and line: not such a log. On failure *h is empty.
idm_status history_read(const char *folder, history *h);
void history_free(history *h);

#endif
