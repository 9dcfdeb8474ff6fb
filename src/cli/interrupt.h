// SIGINT and SIGTERM end the program at once with status 128 + signal, except while a file is being written: then right after it. So no
// file is left half written.
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_install(void);

// Around writing.
void interrupt_hold(void);
void interrupt_release(void);

// For a command that stops by itself and saves: from interrupt_defer on the first signal only shows in interrupt_caught (`user` is not
// used), a second one ends the program. interrupt_leave ends it after saving, if there was one.
void interrupt_defer(void);
bool interrupt_caught(void *user);
void interrupt_leave(void);

#endif
