// Time that passes.
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

// Seconds of a clock that never jumps, from an arbitrary start.
double clock_seconds(void);

#endif
