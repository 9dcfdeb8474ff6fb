// The journal of a search for kernel parameters: what is about to run is on disk before it runs, so that whatever it does to the program
// or the machine, the next search knows. Beside the tuning file; a line a record. What failed once stays in it: the list of what is never
// tried again with these kernels on this device and driver.
#ifndef TUNE_JOURNAL_H
#define TUNE_JOURNAL_H

#include <idm/status.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct journal journal;

// Opens or makes it. program: a journal of other kernels counts for nothing. resumed: the records of finished groups count, those of the
// search that this one goes on with; else only what failed does. Where the last record says that something was begun and not ended it has
// failed, because of `reason`; null: it is not to blame. IDM_FAILED: cannot read or write. On failure *j is NULL.
idm_status journal_open(const char *path, uint64_t program, bool resumed, const char *reason, journal **j);
void journal_close(journal *j); // NULL is fine

// Why the candidate failed; NULL: it did not, as far as is known. Keys are words and spaces.
const char *journal_failure(const journal *j, const char *key);
// Number of candidates that failed, in all.
int journal_failures(const journal *j);

// On disk when it returns.
idm_status journal_begin(journal *j, const char *key);
// failure: NULL if all went well.
idm_status journal_end(journal *j, const char *key, const char *failure);

// What came of a group: any line of text. NULL: not finished.
idm_status journal_finish(journal *j, const char *group, const char *result);
const char *journal_result(const journal *j, const char *group);

#endif
