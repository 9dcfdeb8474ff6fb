// A progress bar on stderr, when that is a terminal; and where a running reconstruction learns that a signal asked to stop.
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/cli.h"
#include <idm/idm.h>

typedef struct progress {
    idm_session *session;
    bool shown, visible; // drawn at all; on the screen now
    double work, done, item_work;
    size_t items, item;
    char label[64];
    double began, drawn;
} progress;

// work: of all items together, in any unit (FLOPs).
void progress_begin(progress *p, const cli_call *call, idm_session *session, double work, size_t items);
// The next item, which is `work` of the whole.
void progress_item(progress *p, const char *label, double work);
// An idm_progress; `user` is the progress. After a signal it makes the reconstruction end early with IDM_FAILED.
void progress_report(void *user, double fraction);
// Takes the bar off the screen, before something is printed or at the end.
void progress_clear(progress *p);

#endif
