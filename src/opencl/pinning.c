#include "opencl/pinning.h"

#include <stdbool.h>
#include <stdlib.h>
#ifdef __linux__
#include <sched.h>
#include <unistd.h>

static bool all_processors_allowed(void)
{
    const long count = sysconf(_SC_NPROCESSORS_CONF);
    cpu_set_t allowed;
    if (count < 1 || count > CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
    for (long i = 0; i < count; i++)
        if (!CPU_ISSET((size_t)i, &allowed)) return false;
    return sysconf(_SC_NPROCESSORS_ONLN) == count;
}

void pinning_ask(void)
{
    if (getenv("POCL_AFFINITY") || getenv("POCL_MAX_PTHREAD_COUNT") || getenv("POCL_CPU_MAX_CU_COUNT")) return;
    if (all_processors_allowed()) (void)setenv("POCL_AFFINITY", "1", 0);
}
#else
void pinning_ask(void)
{
}
#endif
