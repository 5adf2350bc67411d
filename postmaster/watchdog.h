/*
 * watchdog.h - ending processes that stand still with something that others want.
 */
#ifndef POSTMASTER_WATCHDOG_H
#define POSTMASTER_WATCHDOG_H

#include <stdint.h>

/* Look once, now and then: about every second, by one process.  A process that was stopped, traced
   or frozen, and has not run for `timeout_ns` while others waited for what it holds, is killed; its
   death is then the undertaker's business as any other.  0: look at nothing. */
void watchdog_look(int64_t timeout_ns);

#endif
