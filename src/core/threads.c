#include "core/threads.h"

#include <signal.h>

bool threads_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(thread, NULL, run, argument) == 0; // inherits the mask
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}
