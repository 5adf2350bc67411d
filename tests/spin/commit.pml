/*
 * commit.pml - no snapshot sees half of the order: the mark COMMITTING of storage/txn/csn.c.
 *
 * Two commits mark their entries, draw numbers, and store them; two readers take snapshots and
 * look at both, twice.
 *
 * Asserted: S1 (a snapshot sees a commit if and only if its number is below the snapshot's, and so
 * the second look says what the first said).
 *
 * holds:
 * breaks: -DNO_MARK
 * breaks: -DNO_WAIT
 * breaks: -DMARK_LATE
 */
#define RUNNING    0
#define COMMITTING 2
#define CSN_FIRST  16

byte next_csn = CSN_FIRST;
byte ring[2];
byte drawn[2];           /* what the commit will be, once it has drawn */

proctype Commit(byte me)
{
    byte csn;

#ifndef MARK_LATE
#ifndef NO_MARK
    ring[me] = COMMITTING;
#endif
#endif
    atomic { csn = next_csn; drawn[me] = csn; next_csn++ };
#ifdef MARK_LATE
    ring[me] = COMMITTING;
#endif
    ring[me] = csn
}

inline look(xid)
{
#ifdef NO_WAIT
    value = ring[xid];
#else
    atomic { ring[xid] != COMMITTING -> value = ring[xid] };
#endif
    atomic {
        assert((value >= CSN_FIRST && value < csn) == (drawn[xid] != 0 && drawn[xid] < csn)); /* S1 */
        value = 0
    }
}

proctype Reader()
{
    byte csn, value;

    csn = next_csn;
    look(0);
    look(1);
    look(0);
    look(1)
}

init { atomic { run Commit(0); run Commit(1); run Reader(); run Reader() } }
