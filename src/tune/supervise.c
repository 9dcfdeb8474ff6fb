#include "tune/supervise.h"

#include "core/clock.h"
#include "core/status.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// Messages are lines: a letter, then text.
enum { LIMIT = 'l', SAY = 's', RESULT = 'r', FAILED = 'f' };
enum { LINE_SIZE = 4096, ATTEMPTS_MOST = 64, LAST_SECONDS = 20 };

struct supervise_link {
    int descriptor;
    const volatile double *stopped; // seconds, shared with the parent, who counts them
};

double supervise_clock(const supervise_link *link)
{
    return clock_seconds() - *link->stopped;
}

// ---- the child's side

static void send_line(const supervise_link *link, char kind, const char *text)
{
    char line[LINE_SIZE];
    int length = snprintf(line, sizeof line - 1, "%c%s", kind, text);
    if (length < 0) return;
    if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
    for (int i = 0; i < length; i++)
        if (line[i] == '\n') line[i] = ' ';
    line[length++] = '\n';
    for (const char *p = line; length > 0;) {
        const ssize_t written = write(link->descriptor, p, (size_t)length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) _exit(IDM_FAILED); // nobody listens any more
        p += written;
        length -= (int)written;
    }
}

static void send_format(const supervise_link *link, char kind, const char *format, va_list list)
{
    char text[LINE_SIZE];
    (void)vsnprintf(text, sizeof text, format, list);
    send_line(link, kind, text);
}

void supervise_limit(supervise_link *link, double seconds)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.3f", seconds);
    send_line(link, LIMIT, text);
}

void supervise_no_limit(supervise_link *link)
{
    supervise_limit(link, 0);
}

void supervise_say(supervise_link *link, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    send_format(link, SAY, format, list);
    va_end(list);
}

void supervise_result(supervise_link *link, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    send_format(link, RESULT, format, list);
    va_end(list);
}

static void child_main(const supervise_job *job, supervise_link link, pid_t parent, const supervise_attempt *attempt)
{
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // a parent that is killed takes the search with it
    if (getppid() != parent) _exit(IDM_FAILED);
    const idm_status status = job->run(job->user, &link, attempt);
    if (status != IDM_OK) {
        char text[LINE_SIZE];
        (void)snprintf(text, sizeof text, "%d %.4000s", (int)status, idm_message());
        send_line(&link, FAILED, text);
    }
    _exit((int)status); // without the driver's own end, which may hang
}

// ---- the parent's side

typedef struct watch {
    const supervise_job *job;
    int descriptor;
    double end, limit_end;    // on the clock; of the child, of what it does now
    volatile double *stopped; // as the link's
    double limit;             // seconds of that; 0: none
    char buffer[2 * LINE_SIZE];
    size_t used;
    char *result;
    size_t result_size;
    bool has_result;
    idm_status failure; // that the child reported
} watch;

static void take_line(watch *w, char *line)
{
    char *text = line + 1, *message;
    switch (line[0]) {
    case LIMIT:
        w->limit = strtod(text, NULL);
        w->limit_end = w->limit > 0 ? clock_seconds() + w->limit : INFINITY;
        break;
    case SAY:
        if (w->job->say) w->job->say(w->job->user, text);
        break;
    case RESULT:
        (void)snprintf(w->result, w->result_size, "%s", text);
        w->has_result = true;
        break;
    default:
        w->failure = (idm_status)strtol(text, &message, 10);
        status_message("%s", *message ? message + 1 : message);
        break;
    }
}

// False: the child has closed its end.
static bool take_lines(watch *w)
{
    const ssize_t got = read(w->descriptor, w->buffer + w->used, sizeof w->buffer - 1 - w->used);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    w->used += (size_t)got;
    w->buffer[w->used] = '\0';
    char *line = w->buffer, *end;
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        if (*line) take_line(w, line);
        line = end + 1;
    }
    w->used -= (size_t)(line - w->buffer);
    memmove(w->buffer, line, w->used);
    if (w->used == sizeof w->buffer - 1) w->used = 0; // no line of ours
    return true;
}

static const double TICK = 0.25; // seconds

// Until the child ends or must be ended; true: it was in time.
static bool follow(watch *w)
{
    for (;;) {
        const double end = fmin(w->end, w->limit_end), left = end - clock_seconds();
        if (left <= 0) return false;
        struct pollfd p = {.fd = w->descriptor, .events = POLLIN};
        const double asked = fmin(left, TICK), began = clock_seconds();
        const int ready = poll(&p, 1, (int)ceil(asked * 1000));
        const double over = clock_seconds() - began - asked;
        if (over > TICK) { // this process was stopped, and the child with it
            *w->stopped += over;
            w->end += over;
            w->limit_end += over;
        }
        if (ready > 0 && !take_lines(w)) return true;
    }
}

static idm_status start_child(watch *w, const supervise_attempt *attempt, pid_t *child)
{
    int ends[2];
    const pid_t parent = getpid();
    (void)fflush(NULL); // what is buffered is written once
    // closed in what the child executes: a compiler that the driver starts does not hold it open
    if (pipe2(ends, O_CLOEXEC) != 0) return status_fail(IDM_FAILED, "cannot make a pipe: %s", strerror(errno));
    *child = fork();
    if (*child == 0) {
        (void)setpgid(0, 0); // so that it is killed with all that the driver started
        (void)close(ends[0]);
        child_main(w->job, (supervise_link){ends[1], w->stopped}, parent, attempt);
    }
    (void)close(ends[1]);
    w->descriptor = ends[0];
    if (*child > 0) return IDM_OK;
    (void)close(ends[0]);
    return status_fail(IDM_FAILED, "cannot start a process: %s", strerror(errno));
}

// One child from start to end; `reason`: how it ended, if neither with a result nor with a failure of its own.
static idm_status run_child(watch *w, const supervise_attempt *attempt, char *reason, size_t size)
{
    pid_t child = -1;
    int status = 0;
    w->limit_end = INFINITY;
    w->used = 0;
    w->limit = 0;
    IDM_TRY(start_child(w, attempt, &child));
    const bool in_time = follow(w);
    if (!in_time && kill(-child, SIGKILL) != 0) (void)kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    while (!in_time && poll(&(struct pollfd){.fd = w->descriptor, .events = POLLIN}, 1, 0) > 0 && take_lines(w)) { // said before
    }
    (void)close(w->descriptor);
    if (!in_time && w->limit > 0 && w->limit_end <= w->end) (void)snprintf(reason, size, "no answer within %.0f s", w->limit);
    else if (!in_time) (void)snprintf(reason, size, SUPERVISE_OUT_OF_TIME);
    else if (WIFSIGNALED(status)) (void)snprintf(reason, size, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else (void)snprintf(reason, size, "ended with status %d", WEXITSTATUS(status));
    return IDM_OK;
}

static idm_status run_children(watch *w)
{
    char reason[128] = "", before[128] = "";
    const double began = clock_seconds();
    bool last = false;
    for (int number = 0; !w->has_result && w->failure == IDM_OK && !last && number < ATTEMPTS_MOST; number++) {
        const double end = began + w->job->seconds + *w->stopped;
        last = number > 0 && (clock_seconds() >= end || number == ATTEMPTS_MOST - 1);
        w->end = last ? clock_seconds() + LAST_SECONDS : end;
        memcpy(before, reason, sizeof before);
        const supervise_attempt attempt = {number, last, before};
        IDM_TRY(run_child(w, &attempt, reason, sizeof reason));
    }
    if (w->failure != IDM_OK || w->has_result) return w->failure;
    return status_fail(IDM_FAILED, "the search for kernel parameters ended: %s", reason);
}

idm_status supervise_run(const supervise_job *job, char *result, size_t size)
{
    watch *w = malloc(sizeof *w);
    void *shared = mmap(NULL, sizeof *w->stopped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    idm_status status = w && shared != MAP_FAILED ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) {
        *w = (watch){.job = job, .result = result, .result_size = size, .stopped = shared};
        status = run_children(w);
    }
    if (shared != MAP_FAILED) (void)munmap(shared, sizeof *w->stopped);
    free(w);
    return status;
}
