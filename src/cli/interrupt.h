// SIGINT and SIGTERM: the first one asks the running command to stop cleanly, a second one ends the program at once.
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

void interrupt_install(void);

// The signal that asked to stop; 0: none.
int interrupt_signal(void);

#endif
