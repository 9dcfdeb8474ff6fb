#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t held, deferred, caught, on_terminal;

static void say(const char *line, size_t length)
{
    const size_t skip = on_terminal ? 0 : 1; // on a terminal the line may hold a progress bar
    (void)!write(STDERR_FILENO, line + skip, length - skip);
}

static void leave(int number)
{
    static const char message[] = "\nidm: stopped by a signal; the files written so far are whole\n";
    say(message, sizeof message - 1);
    _exit(128 + number); // a device may be busy for minutes yet
}

static void catch_signal(int number)
{
    static const char message[] = "\nidm: finishing the step and saving; once more to stop at once\n";
    if (deferred ? caught : !held) leave(number);
    if (deferred) say(message, sizeof message - 1);
    caught = number;
}

void interrupt_install(void)
{
    struct sigaction action = {.sa_handler = catch_signal, .sa_flags = SA_RESTART};
    on_terminal = isatty(STDERR_FILENO) == 1;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN); // a file over the user's limit is then an error of write()
}

void interrupt_hold(void)
{
    held = 1;
}

void interrupt_release(void)
{
    held = 0;
    if (caught) leave((int)caught);
}

void interrupt_defer(void)
{
    deferred = 1;
}

bool interrupt_caught(void *user)
{
    (void)user;
    return caught != 0;
}

void interrupt_leave(void)
{
    if (caught) leave((int)caught);
}
