#ifndef CORE_THREADS_H
#define CORE_THREADS_H

#include <pthread.h>
#include <stdbool.h>

// A thread that no signal interrupts: signals are for the thread that installed their handlers. False: the system gives none.
bool threads_start(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
