/*
 * interrupt.h - asking a process to stop what it does.
 *
 * Handlers and other processes set a bit and the latch; the process looks before each
 * wait and in each long loop: TRY(interrupt_check(op)).
 */
#ifndef SHMEM_INTERRUPT_H
#define SHMEM_INTERRUPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/op.h"
#include "shmem/proc.h"

enum interrupt {
    INTERRUPT_CANCEL = 1,    /* this request only: ERR_INTERRUPTED */
    INTERRUPT_TERMINATE = 2, /* the session: ERR_TERMINATED; stays set */
    INTERRUPT_SHUTDOWN = 4,  /* the server stops: ERR_SHUTDOWN for new requests; stays set */
    INTERRUPT_RELOAD = 8,    /* reread the configuration between requests; not an error */
    INTERRUPT_CATALOG = 16,  /* private copies of the catalog may be stale; not an error */
};

void interrupt_raise(struct proc *proc, enum interrupt bits); /* and sets its latch */
void interrupt_raise_self(enum interrupt bits);               /* async-signal-safe */
bool interrupt_pending(enum interrupt bits);
void interrupt_clear(enum interrupt bits); /* the own */
bool interrupt_take(enum interrupt bits);  /* was it pending?  Cleared then */

err_t interrupt_serve(const struct op *op) MUST_CHECK; /* interrupt_check, the slow part */

/* Errors: ERR_INTERRUPTED, ERR_TERMINATED, and ERR_MAX_TIME if the op's deadline is past.  `op` may
   be NULL.  Clears CANCEL.  A request that runs when the server stops may go on until it is told to
   TERMINATE; whoever begins one asks interrupt_pending(INTERRUPT_SHUTDOWN). */
static inline err_t interrupt_check(const struct op *op) MUST_CHECK;
static inline err_t
interrupt_check(const struct op *op)
{
    const uint32_t ends = INTERRUPT_CANCEL | INTERRUPT_TERMINATE;

    if (__builtin_expect((op == NULL || op->deadline_ns == 0) &&
                             (proc_self == NULL || (atomic_load_explicit(&proc_self->interrupts,
                                                        memory_order_relaxed) &
                                                       ends) == 0),
            1))
        return OK;
    return interrupt_serve(op);
}

#endif
