/*
 * counters.h - counters that cost an addition in the own cache line.
 */
#ifndef SHMEM_COUNTERS_H
#define SHMEM_COUNTERS_H

#include <stdint.h>

enum counter {
#define COUNTER(name, key, help) name,
#include "base/lists/counters.def"
#undef COUNTER
    COUNTER_COUNT
};

/* Add to the own slot's counter; without a slot (proc_self NULL) nothing happens. */
void counters_add(enum counter counter, uint64_t n);

/* The sum over all slots, the dead ones' included, since the start or the last reset. */
uint64_t counters_total(enum counter counter);
void counters_reset(void);
const char *counters_key(enum counter counter);

#endif
