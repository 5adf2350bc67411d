/*
 * deadlock.c - finding circles of waits.
 *
 * A process waits for at most one xid, and an xid runs in at most one place, which has at most one
 * owner: so who waits for whom is a list, not a web, and following it takes no more steps than
 * there are slots.  The edges are the processes': a process that waits for the sake of one of its
 * transactions cannot go on with its others either.  A parked transaction has no owner and waits
 * for nobody; its timeout ends it.
 *
 * INVARIANTS
 *   D1  A wait stands in the own place from before the first look until it is over: a circle does
 *       not vanish while its members wake up to look around.
 *   D2  A circle is believed if two walks, the second one under the table's lock, find the same
 *       waits. A wait that is there in both was there all the time between, for an xid is waited
 *       for by a process once, and given once; so all of them stood at one moment, and a circle
 *       that stood stands.
 *   D3  The finder takes its own wait out under the lock: exactly one victim a circle.
 *
 * IF A PROCESS DIES waiting, its edge goes with its place (txn_end_dead).  Until then it may close
 * a circle that ends by itself: somebody is told to try again, for nothing.
 */
#include "storage/txn/deadlock.h"

#include "base/panic.h"
#include "shmem/proc.h"
#include "storage/txn/txntable.h"

void
deadlock_waits_for(xid_t xid)
{
    atomic_store(&txntable_own()->waits_for, xid);
}

/* Follow the waits from this process; the sum of what was met, 0: no circle. */
static uint64_t
walk(void)
{
    uint32_t self = proc_self->index + 1, owner = self;
    uint64_t met = 0;

    for (unsigned step = 0; step < proc_count(); step++) {
        xid_t xid = atomic_load(&txntable_place(owner - 1)->waits_for);
        struct place *place;

        if (xid == 0 || (place = txntable_find(xid)) == NULL)
            return 0;
        owner = atomic_load(&place->owner);
        if (owner == TXNTABLE_NOBODY)
            return 0;
        met = (met ^ xid ^ (uint64_t)owner << 48) * 0x9e3779b97f4a7c15u | 1;
        if (owner == self)
            return met;
    }
    return 0; /* a circle that this process only hangs on to: its members see to it */
}

bool
deadlock_found(void)
{
    uint64_t met = walk();
    bool found;

    if (met == 0)
        return false;
    txntable_lock();
    found = walk() == met; /* D2 */
    if (found)
        deadlock_waits_for(0); /* D3 */
    txntable_unlock();
    return found;
}
