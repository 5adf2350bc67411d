/*
 * latch.h - sleeping until somebody wants something of this process, or time is up.
 *
 * Each slot has one latch.  To wait for a state: clear, look, wait.  Setting is idempotent and may
 * be done by anyone, also to a dead process.
 */
#ifndef SHMEM_LATCH_H
#define SHMEM_LATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shmem/proc.h"

void latch_set(struct proc *proc);
void latch_clear(void); /* the own */
/* Sleep until the own latch is set or `until_ns` (clock_now_ns; 0: for ever); true: it was set. */
bool latch_wait(int64_t until_ns);

/* Sleep until fd is ready for `events` (poll bits), the latch is set, or time is up.
   Returns the ready poll bits, 0 on time-out; *set tells whether the latch is set.
   In server processes (after latch_use_signal) all signals come in meanwhile, and a setter sends
   SIGUSR1 to end the poll. */
int latch_wait_fd(int fd, short events, int64_t until_ns, bool *set);
/* Receive from a blocking socket, without a time limit; the latch ends it.  As recv: EAGAIN or
   EINTR when nothing has come.  *set as above.  Only after latch_use_signal, in processes with one
   thread that let SIGUSR1 in. */
ssize_t latch_receive(int fd, void *to, size_t size, bool *set);
/* Install the SIGUSR1 handler; once a process (forked children have it), server only.  Without it a
   poll looks at the latch every 20 ms. */
void latch_use_signal(void);

/* Wake whoever sleeps on a latch that is set: after the death of a process that may have been about
   to.  By proc_bury. */
void latch_mend(void);

#endif
