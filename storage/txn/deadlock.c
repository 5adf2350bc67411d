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
 *   D3  The finder takes one wait out under the lock: exactly one victim a circle.  Whose wait is
 *       not there any more has been chosen.
 *   D4  The victim is who began to wait last, counted from the first wait of its request, however
 *       often that was tried again.  So the one that has waited longest of all is never chosen:
 *       of statements that meet again and again, one after the other goes through.
 *
 * IF A PROCESS DIES waiting, its edge goes with its place (txn_end_dead).  Until then it may close
 * a circle that ends by itself: somebody is told to try again, for nothing.  If it dies having
 * chosen another and not woken it, that one looks by itself within 100 ms.
 */
#include "storage/txn/deadlock.h"

#include "base/panic.h"
#include "shmem/proc.h"
#include "storage/txn/txntable.h"

struct circle {
    uint64_t met;       /* the sum of the waits; 0: no circle */
    struct place *last; /* D4 */
    xid_t waits_for;
    int64_t since_ns;
};

void
deadlock_waits_for(xid_t xid, int64_t since_ns)
{
    struct place *own = txntable_own();

    atomic_store(&own->waits_since_ns, since_ns);
    atomic_store(&own->waits_for, xid);
}

bool
deadlock_chose(xid_t xid)
{
    return atomic_load(&txntable_own()->waits_for) != xid;
}

/* Follow the waits from this process. */
static struct circle
walk(void)
{
    uint32_t self = proc_self->index + 1, owner = self;
    struct circle circle = { .met = 0 };

    for (unsigned step = 0; step < proc_count(); step++) {
        struct place *waiter = txntable_place(owner - 1), *place;
        xid_t xid = atomic_load(&waiter->waits_for);
        int64_t since_ns = atomic_load(&waiter->waits_since_ns);

        if (xid == 0 || (place = txntable_find(xid)) == NULL)
            break;
        if (circle.last == NULL || since_ns > circle.since_ns ||
            (since_ns == circle.since_ns && waiter > circle.last)) {
            circle.last = waiter;
            circle.waits_for = xid;
            circle.since_ns = since_ns;
        }
        owner = atomic_load(&place->owner);
        if (owner == TXNTABLE_NOBODY)
            break;
        circle.met = (circle.met ^ xid ^ (uint64_t)owner << 48) * 0x9e3779b97f4a7c15u | 1;
        if (owner == self)
            return circle;
    }
    /* No circle, or one that this process only hangs on to: its members see to it. */
    circle.met = 0;
    return circle;
}

void
deadlock_search(void)
{
    struct circle circle = walk();
    uint64_t met = circle.met;

    if (met == 0)
        return;
    txntable_lock();
    circle = walk();
    if (circle.met == met) { /* D2 */
        xid_t waited_for = circle.waits_for;

        (void)atomic_compare_exchange_strong(&circle.last->waits_for, &waited_for, 0); /* D3 */
    }
    txntable_unlock();
    if (circle.met == met && circle.last != txntable_own())
        condition_wake(txntable_condition(circle.waits_for));
}
