/*
 * lwlock.h - light locks: short, shared or exclusive, between processes.
 *
 * The owner of an exclusive lock stands in the lock word; sharers are counted there and
 * each holder's ledger (shmem/ledger.h) names the lock, published before the word
 * changes; so a third party can release what a dead process held.  A waiting writer
 * keeps new readers out.  Waits are not interruptible: locks are held for microseconds.
 * A process without a slot (proc_self NULL) may not take one.
 */
#ifndef SHMEM_LWLOCK_H
#define SHMEM_LWLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shmem/lockrank.h"

enum lwlock_mode { LW_SHARED, LW_EXCLUSIVE };

/* Only lwlock.c looks inside; it is here so that other structs can hold one. */
struct lwlock {
    _Atomic uint32_t state; /* owner, sharers, flags: see lwlock.c */
    _Atomic uint32_t wakes; /* sleepers wait for this to change */
    uint16_t rank;          /* const after lwlock_init */
    uint16_t pad[3];
};
_Static_assert(sizeof(struct lwlock) == 16, "four to a cache line");

void lwlock_init(struct lwlock *lock, enum lockrank rank); /* the lock lies in the segment */
void lwlock_acquire(struct lwlock *lock, enum lwlock_mode mode);
bool lwlock_try(
    struct lwlock *lock, enum lwlock_mode mode); /* ranks are not checked: it cannot wait */
void lwlock_release(struct lwlock *lock);
bool lwlock_held(const struct lwlock *lock,
    enum lwlock_mode mode);  /* by this process; EXCLUSIVE counts as SHARED */
bool lwlock_none_held(void); /* at the end of a request */

/* In a child just forked from a process that held some: they are the parent's. */
void lwlock_forget(void);

/* Tell the ledger how a dead process's light locks are let go of.  By proc.c, before any fork. */
void lwlock_set_undo(void);

/* After an internal fault: is this a lock, in a possible state?  Errors: ERR_INTERNAL. */
err_t lwlock_verify(const struct lwlock *lock) MUST_CHECK;

/* Slot number of the exclusive owner, or -1: for reports. */
int lwlock_owner(const struct lwlock *lock);
/* How many shared holds there are; 0 while one is exclusive, or while they are recounted. */
uint32_t lwlock_shares(const struct lwlock *lock);
/* Neither held nor being recounted at this moment: for checks and tests. */
bool lwlock_free(const struct lwlock *lock);
const char *lwlock_rank_name(const struct lwlock *lock);

#endif
