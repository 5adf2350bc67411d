/*
 * condition.h - waiting until something shared has become so.
 *
 *   for (;;) {
 *       uint32_t seen = condition_prepare(&c);
 *       if (it is so)
 *           break;
 *       TRY(condition_wait(op, &c, seen, WAIT_XID, xid));    or condition_wait_plain
 *   }
 * Whoever makes it so calls condition_wake after.  A waiter may die at any time: nothing is
 * counted that would have to be taken back (that somebody sleeps is a flag that wakers clear).
 */
#ifndef SHMEM_CONDITION_H
#define SHMEM_CONDITION_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/op.h"
#include "shmem/proc.h"

struct condition {
    _Atomic uint32_t changes; /* a futex; see condition.c */
};

void condition_init(struct condition *condition);
uint32_t condition_prepare(struct condition *condition);
/* Errors: ERR_INTERRUPTED, ERR_TERMINATED, ERR_MAX_TIME (the op's deadline).  Wakes up at least
   every 100 ms of its own accord to look at interrupts; that too returns OK: look again. */
err_t condition_wait(struct op *op, struct condition *condition, uint32_t seen, enum proc_wait why,
    uint64_t object) MUST_CHECK;
/* Not interruptible; returns after a wake or 100 ms. */
void condition_wait_plain(
    struct condition *condition, uint32_t seen, enum proc_wait why, uint64_t object);
void condition_wake(struct condition *condition); /* all of them */

#endif
