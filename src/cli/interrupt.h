// SIGINT and SIGTERM end the program at once with status 128 + signal, except while a file is being written: then right after it. So no
// file is left half written.
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

void interrupt_install(void);

// Around writing.
void interrupt_hold(void);
void interrupt_release(void);

#endif
