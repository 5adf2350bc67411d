/*
 * undertaker.pml - slots, the postmaster's zombie, the undertaker and those who come after the dead:
 * shmem/proc.c, shmem/ledger.c, postmaster/{postmaster,children,undertaker}.c.
 *
 * Children come one after the other; each takes a slot, then a thing that only one may have, changes
 * it in a critical section, lets go, and gives its slot back.  It may be killed at any step.  The
 * kernel gives any number that is neither a living process's nor a zombie's to the next child.
 * The postmaster leaves the dead one a zombie until the undertaker has reported; after an end in order it
 * does not ask.  -DUDEATHS: the undertaker dies, too: all are restarted, or (-DRESPAWN) a new one
 * is given the orders that were not answered.
 *
 * Asserted: S1 and S2 (nobody writes the slot of a living process but itself), S3 (a slot given back
 * has an empty ledger and crit 0), G1 (what is held stands in the ledger), that nobody sees a half
 * change (the undertaker's law), and at the end that no slot, ledger, thing or zombie is left.
 *
 * holds: -DCHILDREN=3 -DSLOTS=1
 * holds: -DUDEATHS=1
 * holds: -DUDEATHS=2 -DRESPAWN
 * holds: -DCHILDREN=3 -DSLOTS=1 -DUDEATHS=1 -DRESPAWN
 * long: -DCHILDREN=3 -DUDEATHS=2 -DRESPAWN
 * breaks: -DNO_ZOMBIE
 * breaks: -DNO_CRIT
 * breaks: -DNO_LEDGER
 * breaks: -DNO_INTENT
 * breaks: -DBURY_FIRST
 * breaks: -DNO_BURY
 * breaks: -DNO_REPEAT -DUDEATHS=1 -DRESPAWN
 * breaks: -DNO_RESTART
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef CHILDREN
#define CHILDREN 2
#endif
#ifndef UDEATHS
#define UDEATHS 0
#endif
#define PIDS 2

mtype = { NOBODY, LIVING, ZOMBIE };

mtype kernel[PIDS + 1] = NOBODY;
bool by_signal[PIDS + 1], ordered[PIDS + 1];
byte slot_pid[SLOTS];
bool slot_ledger[SLOTS], slot_crit[SLOTS];
byte thing;              /* slot + 1 of who has it */
bool half;               /* it is half changed */
bool crashed;            /* all are being ended; memory is made anew */
byte forked, gone;       /* children so far */
byte udeaths;
bool undertaker_dead;

chan orders = [CHILDREN] of { byte };
chan reports = [CHILDREN] of { byte, bool };

#define MAY_DIE if :: true -> goto killed :: crashed -> goto killed :: !crashed fi
/* What the process itself knows to be so; S2. */
#define STILL_MINE assert(crashed || (kernel[number] == LIVING && slot_pid[me] == number))

proctype Child(byte number)
{
    byte me;
    bool signalled;

    atomic { /* proc_attach; a child that finds no slot ends */
        if
        :: slot_pid[0] == 0 -> me = 0
#if SLOTS > 1
        :: slot_pid[0] != 0 && slot_pid[1] == 0 -> me = 1
#endif
        :: else -> goto ended
        fi;
        assert(crashed || (!slot_ledger[me] && !slot_crit[me])); /* S3 */
        slot_pid[me] = number
    };
    MAY_DIE;
#ifndef NO_INTENT
    slot_ledger[me] = true;
    MAY_DIE;
#endif
    atomic {
        if
        :: crashed -> goto killed
        :: thing == 0 -> thing = me + 1; assert(!half)
        :: true -> goto killed
        fi
    };
    MAY_DIE;
    STILL_MINE;
#ifdef NO_INTENT
    slot_ledger[me] = true;
#endif
    MAY_DIE;
    slot_crit[me] = true;
    MAY_DIE;
    atomic { STILL_MINE; assert(crashed || thing == me + 1); half = true };
    MAY_DIE;
    atomic { STILL_MINE; assert(crashed || thing == me + 1); half = false };
    MAY_DIE;
    slot_crit[me] = false;
    MAY_DIE;
    atomic { STILL_MINE; assert(crashed || thing == me + 1); thing = 0 };
    MAY_DIE;
    atomic { assert(crashed || slot_ledger[me]); slot_ledger[me] = false }; /* G1, S2 */
    MAY_DIE;
    atomic { STILL_MINE; slot_pid[me] = 0 }; /* proc_detach */
    MAY_DIE;
    goto ended;
killed:
    signalled = true;
ended:
    atomic {
        by_signal[number] = signalled;
        kernel[number] = ZOMBIE;
        signalled = false;
        me = 0
    }
}

#define U_MAY_DIE                                                                \
    if                                                                           \
    :: udeaths < UDEATHS -> atomic { udeaths++; undertaker_dead = true; goto finish } \
    :: crashed -> goto finish                                                    \
    :: !crashed                                                                  \
    fi

proctype Undertaker()
{
    byte number, d;

next:
    atomic { d = 0; number = 0 };
    if
    :: orders?number -> skip
    :: crashed -> goto finish
    :: gone == CHILDREN -> goto finish
    fi;
    U_MAY_DIE;
    atomic { /* proc_find */
        if
        :: slot_pid[0] == number -> d = 0
#if SLOTS > 1
        :: slot_pid[0] != number && slot_pid[1] == number -> d = 1
#endif
        :: else -> goto answer
        fi
    };
    U_MAY_DIE;
#ifndef NO_CRIT
    atomic { if :: slot_crit[d] -> reports!number, false; goto next :: else fi };
#endif
#ifdef BURY_FIRST
    slot_pid[d] = 0;
#endif
#ifndef NO_LEDGER
    if
    :: slot_ledger[d] ->
        atomic { if :: thing == d + 1 -> thing = 0 :: else fi };
        U_MAY_DIE
    :: else
    fi;
#endif
    slot_ledger[d] = false;
    U_MAY_DIE;
#ifndef BURY_FIRST
#ifndef NO_BURY
    atomic { slot_crit[d] = false; slot_pid[d] = 0 };
#endif
#endif
    U_MAY_DIE;
answer:
    reports!number, true;
    goto next;
finish:
    atomic { d = 0; number = 0 }
}

inline look_at(p)
{
    atomic {
        kernel[p] == ZOMBIE && !ordered[p] && !crashed ->
        if
#ifdef NO_ZOMBIE
        :: by_signal[p] -> orders!p; kernel[p] = NOBODY; gone++
#else
        :: by_signal[p] -> orders!p; ordered[p] = true
#endif
        :: else -> kernel[p] = NOBODY; gone++
        fi
    }
}

/* The undertaker has died with orders that it took and did not answer. */
inline order_again(p)
{
    if :: ordered[p] -> orders!p :: else fi
}

proctype Postmaster()
{
    byte p;
    bool buried;

    do
    :: atomic { forked < CHILDREN && !crashed && (kernel[1] == NOBODY || kernel[2] == NOBODY) ->
            if
            :: kernel[1] == NOBODY -> p = 1
            :: kernel[2] == NOBODY -> p = 2
            fi;
            forked++; kernel[p] = LIVING; run Child(p); p = 0 }
    :: look_at(1)
    :: look_at(2)
    :: atomic { reports?p, buried ->
            if
#ifndef NO_RESTART
            :: !buried -> crashed = true
#endif
            :: else ->
#ifndef NO_ZOMBIE
                if
                :: ordered[p] -> assert(kernel[p] == ZOMBIE);
                    kernel[p] = NOBODY; ordered[p] = false; gone++
                :: else
                fi
#endif
            fi;
            p = 0; buried = false }
    :: atomic { undertaker_dead && !crashed ->
#ifdef RESPAWN
            undertaker_dead = false;
            do /* what it had not come to is told again with the rest */
            :: orders?p
            :: empty(orders) -> break
            od;
            p = 0;
            do
            :: reports?p, buried ->
                if
                :: !buried -> crashed = true
                :: buried && ordered[p] -> kernel[p] = NOBODY; ordered[p] = false; gone++
                :: else
                fi
            :: empty(reports) -> break
            od;
            p = 0; buried = false;
#ifndef NO_REPEAT
            order_again(1);
            order_again(2);
#endif
            run Undertaker()
#else
            crashed = true
#endif
        }
    :: atomic { crashed && kernel[1] != LIVING && kernel[2] != LIVING -> goto anew }
    :: atomic { !crashed && forked == CHILDREN && gone == CHILDREN -> break }
    od;
    atomic {
        assert(slot_pid[0] == 0 && !slot_ledger[0] && !slot_crit[0]);
#if SLOTS > 1
        assert(slot_pid[1] == 0 && !slot_ledger[1] && !slot_crit[1]);
#endif
        assert(thing == 0 && !half)
    };
anew:
    skip
}

init { atomic { run Postmaster(); run Undertaker() } }
