#include "cli/progress.h"

#include "core/clock.h"
#include "core/files.h"
#include <string.h>
#include <unistd.h>

void progress_begin(progress *p, const cli_call *call, double work, size_t items)
{
    *p = (progress){.work = work, .items = items, .began = clock_seconds()};
    p->shown = !call->quiet && isatty(STDERR_FILENO) == 1;
}

void progress_clear(progress *p)
{
    if (p->visible) fputs("\r\033[K", stderr);
    p->visible = false;
}

static void draw(progress *p, double fraction)
{
    enum { CELLS = 24 };
    const double now = clock_seconds(), share = p->work > 0 ? (p->done + fraction * p->item_work) / p->work : 0;
    if (now - p->drawn < 0.1) return;
    char bar[CELLS + 1], left[32];
    memset(bar, '.', CELLS);
    memset(bar, '#', (size_t)(CELLS * (share < 1 ? share : 1)));
    bar[CELLS] = '\0';
    fprintf(stderr, "\r\033[K[%s] %3.0f %%  %zu/%zu %s", bar, 100 * share, p->item, p->items, p->label);
    if (share > 0.01) fprintf(stderr, "  %s left", cli_time_text(left, (now - p->began) * (1 - share) / share));
    (void)fflush(stderr);
    p->drawn = now;
    p->visible = true;
}

void progress_item(progress *p, const char *label, double work)
{
    p->done += p->item_work;
    p->item_work = work;
    p->item++;
    (void)snprintf(p->label, sizeof p->label, "%s", files_name(label));
    if (p->shown) draw(p, 0);
}

void progress_report(void *user, double fraction)
{
    progress *p = user;
    if (p->shown) draw(p, fraction);
}
