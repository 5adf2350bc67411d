/*
 * ring.pml - an entry of the ring of commit numbers is never mistaken for another's: ring_low,
 * `evicting` and `ending` of storage/txn/csn.c.
 *
 * A ring of two entries; a granule is one xid.  Xid 0 commits while the evictor makes room for
 * xid 2, which takes the same entry and commits; readers ask for xid 0.  An evictor may die, and
 * another take over.
 *
 * Asserted: N2 (who finds its xid still in the ring has read its own entry), N3 (an entry is
 * written by its own xid only), N4 (what has left the ring and ended, is told right by the spill);
 * and that a commit tries again only once for each eviction that was begun.
 * An entry holds xid + 1 in the place of a number, and MARK + xid in the place of COMMITTING.
 *
 * holds:
 * holds: -DUDEATHS=2
 * breaks: -DNO_LOW_AGAIN
 * breaks: -DCLEAR_FIRST
 * breaks: -DNO_ENDING
 * breaks: -DNO_AWAIT
 * breaks: -DEVICTING_LATE
 * breaks: -DNO_SPILL
 * breaks: -DNO_LOCK_FOR_SPILL
 * breaks: -DNO_SET_BACK -DUDEATHS=1
 */
#ifndef UDEATHS
#define UDEATHS 0
#endif
#define MARK 8

byte ring[2];
byte ring_low, evicting;
bool ending, running = true; /* of the place that runs xid 0 */
bool locked;             /* RANK_XID_EXTEND */
bool spilled;            /* xid 0 has a place in the spill */
byte spill;
bool committed;          /* xid 0, and its place is clear: everybody must see it */
bool made;               /* xid 2 may be given */
byte deaths;

/* csn_commit for xid 0 */
proctype Commit()
{
    byte low, turns;

again:
#ifndef NO_ENDING
    ending = true;
#endif
    low = evicting; /* N3 */
    if
    :: low == 0 ->
        ring[0] = MARK;
        atomic { assert(ring[0] == MARK); ring[0] = 1 }; /* N3 */
        running = false;
        ending = false
    :: else ->
        ending = false;
#ifndef NO_LOCK_FOR_SPILL
        atomic { !locked -> locked = true };
#ifndef NO_SET_BACK
        evicting = ring_low; /* one died at it */
#endif
        locked = false;
#endif
        if
        :: ring_low == 0 -> turns++; assert(turns <= UDEATHS + 1); goto again
        :: else
        fi;
        assert(spilled); /* N4: it runs */
        atomic { spill = 1; running = false }
    fi;
    committed = true
}

#if UDEATHS > 0
#define U_MAY_DIE if :: deaths < UDEATHS -> atomic { deaths++; locked = false; goto begin } \
    :: true fi
#else
#define U_MAY_DIE skip
#endif

/* extend, evict: xid 0 leaves the ring */
proctype Evictor()
{
begin:
    atomic { !locked -> locked = true };
#ifndef NO_SET_BACK
    evicting = ring_low;
#endif
    if :: ring_low == 1 -> goto through :: else fi;
    U_MAY_DIE;
#ifndef EVICTING_LATE
    evicting = 1; /* N3 */
#endif
    U_MAY_DIE;
#ifndef NO_AWAIT
    !(ending && running); /* txntable_await_ending */
#endif
#ifdef EVICTING_LATE
    evicting = 1;
#endif
    U_MAY_DIE;
#ifndef NO_SPILL
    atomic { spill = ring[0]; spilled = true };
#endif
    U_MAY_DIE;
    /* A critical section: no death. */
#ifdef CLEAR_FIRST
    ring[0] = 0;
    ring_low = 1;
#else
    ring_low = 1; /* N2 */
    ring[0] = 0;
#endif
through:
    made = true;
    locked = false
}

/* Xid 2 has the same entry. */
proctype Later()
{
    made;
    ring[0] = MARK + 2;
    atomic { assert(ring[0] == MARK + 2); ring[0] = 3 } /* N3 */
}

/* csn_fate for xid 0 */
proctype Reader()
{
    byte value;
    bool must, ran;

    must = committed;
again:
    if :: ring_low > 0 -> goto old :: else fi;
    value = ring[0];
#ifndef NO_LOW_AGAIN
    if :: ring_low > 0 -> goto old :: else fi; /* N2 */
#endif
    assert(value == 0 || value == 1 || value == MARK);
    if :: value == MARK -> goto again :: else fi;
    goto told;
old:
    ran = true;
    do
    :: atomic { value = (spilled -> spill : 1) };
        if
        :: value != 0 || !ran -> break
        :: else -> ran = running
        fi;
        if :: ran -> break :: else fi
    od;
    assert(value == 0 || value == 1);
told:
    assert(!must || value == 1) /* a commit that is through is seen */
}

init { atomic { run Commit(); run Evictor(); run Later(); run Reader(); run Reader() } }
