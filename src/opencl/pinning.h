// Where PoCL's threads run.
#ifndef OPENCL_PINNING_H
#define OPENCL_PINNING_H

// Sets POCL_AFFINITY=1, once, before the first OpenCL call and while the process has one thread: PoCL then keeps each of its threads on a
// processor of its own. Left alone, the threads that a launch wakes often share one for the few milliseconds that it takes. Does nothing
// where that could harm: if the user says anything about PoCL's threads, and unless this process may use all processors, since PoCL takes
// processors 0, 1, ... without asking which it may use, and aborts where it may not.
void pinning_ask(void);

#endif
