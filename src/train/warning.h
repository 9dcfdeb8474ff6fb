// Whom to tell of what went wrong without ending anything.
#ifndef TRAIN_WARNING_H
#define TRAIN_WARNING_H

// say(user, one line of text), always in the thread that called the function which warns; NULL: nobody listens.
typedef struct warning_sink {
    void (*say)(void *user, const char *text);
    void *user;
} warning_sink;

#endif
