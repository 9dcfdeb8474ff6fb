// A progress bar on stderr, when that is a terminal.
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/cli.h"

typedef struct progress {
    bool shown, visible; // drawn at all; on the screen now
    double work, done, item_work;
    size_t items, item;
    char label[64];
    double began, drawn;
} progress;

// work: of all items together, in any unit (FLOPs).
void progress_begin(progress *p, const cli_call *call, double work, size_t items);
// The next item, which is `work` of the whole.
void progress_item(progress *p, const char *label, double work);
// An idm_progress; `user` is the progress.
void progress_report(void *user, double fraction);
// Takes the bar off the screen, before something is printed or at the end.
void progress_clear(progress *p);

#endif
