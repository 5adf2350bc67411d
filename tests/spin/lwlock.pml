/*
 * lwlock.pml - the light lock of shmem/lwlock.c, with death at any step, an undertaker that may die
 * itself, and the recount.
 *
 * Asserted: L1 (exclusion), L2 (the count); and, at the end, that the lock is free and that nobody
 * sleeps (L3 to L6: an invalid end state would be a sleeper that nobody wakes).
 * A process takes the lock once or tries to, shared or exclusive (ROLES: one letter each: w r, or
 * t and s for a try).  A writer may become urgent at any loss, and a reader's patience with
 * urgent ones may end at any time.  Memory orders are argued in shmem/README.md.
 *
 * holds: -DN=2 -DDEATHS=2 -DUDEATHS=2
 * holds: -DN=3 -DDEATHS=0 -DROLE0=WRITER -DROLE1=WRITER -DROLE2=WRITER
 * holds: -DN=3 -DDEATHS=0 -DROLE0=WRITER -DROLE1=WRITER -DROLE2=READER
 * holds: -DN=3 -DDEATHS=2 -DUDEATHS=1 -DROLE0=TRY_READER -DROLE1=TRY_READER -DROLE2=TRY_READER
 * long: -DN=3 -DDEATHS=1 -DROLE0=WRITER -DROLE1=WRITER -DROLE2=WRITER
 * long: -DN=3 -DDEATHS=1 -DROLE0=WRITER -DROLE1=READER -DROLE2=TRY_READER
 * long: -DN=3 -DDEATHS=1 -DUDEATHS=1 -DROLE0=READER -DROLE1=READER -DROLE2=TRY_WRITER
 * breaks: -DNO_ROUSE
 * breaks: -DNO_RECOUNT
 * breaks: -DNO_SETTLE
 * breaks: -DNO_STOP_FOR_RECOUNT
 * breaks: -DNO_INTENT
 * breaks: -DNO_DOUBT
 * breaks: -DNO_COMPARE -DDEATHS=0
 * breaks: -DNO_BUMP -DDEATHS=0
 * breaks: -DNO_KEEP -DN=3 -DDEATHS=0 -DROLE0=WRITER -DROLE1=WRITER -DROLE2=WRITER
 * breaks: -DNO_CLEAR -DN=3 -DDEATHS=0 -DROLE0=WRITER -DROLE1=WRITER -DROLE2=READER
 * breaks: -DNO_TAKE_OVER -DUDEATHS=1
 * breaks: -DNO_G3 -DUDEATHS=1
 */
#ifndef N
#define N 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef UDEATHS
#define UDEATHS 0
#endif
#define RECOUNTER (N + 1)

mtype = { FREE, WAITING, INTENT, HELD };
mtype = { ANY, WRITER, READER, TRY_WRITER, TRY_READER };
#ifndef ROLE0
#define ROLE0 ANY
#define ROLE1 ANY
#define ROLE2 ANY
#endif

byte value;              /* owner + 1, or the number of shares, or the recounter */
bool exclusive, recount, writers, readers, urgent;
byte wakes;              /* counts modulo 256: no run here makes so many */
mtype entry[N] = FREE;   /* the ledger's one entry */
bool entry_exclusive[N];
bool dead[N], buried[N], done[N];
bool asleep[N], patient[N]; /* patient: it sleeps for a time only, because of an urgent writer */
byte in_exclusive, in_shared; /* what is really held, by the living and the dead */
bool really_ex[N], really_sh[N];
byte deaths, udeaths;

#define TO_BE_HAD(ex) ((ex && value == 0 && !recount) || \
    (!ex && !exclusive && !recount && !writers && !urgent))

/* Inside an atomic step. */
inline wake_writer()
{
    if
    :: asleep[0] && entry_exclusive[0] -> asleep[0] = false
    :: asleep[1] && entry_exclusive[1] -> asleep[1] = false
#if N > 2
    :: asleep[2] && entry_exclusive[2] -> asleep[2] = false
#endif
    :: else
    fi
}

inline wake_one_reader(j)
{
    if :: asleep[j] && !entry_exclusive[j] -> asleep[j] = false; patient[j] = false :: else fi
}

inline wake_readers()
{
    wake_one_reader(0);
    wake_one_reader(1)
#if N > 2
    ;
    wake_one_reader(2)
#endif
}

inline wake_all()
{
    asleep[0] = false; patient[0] = false;
    asleep[1] = false; patient[1] = false
#if N > 2
    ;
    asleep[2] = false; patient[2] = false
#endif
}

/* The process stops here for ever, now or never. */
#if DEATHS > 0
#define MAY_DIE if :: deaths < DEATHS -> goto died :: true fi
#else
#define MAY_DIE skip
#endif

inline note_taken()
{
    if
    :: ex -> really_ex[me] = true; in_exclusive++
    :: else -> really_sh[me] = true; in_shared++
    fi;
    assert(in_exclusive == 0 || (in_exclusive == 1 && in_shared == 0)) /* L1 */
}

proctype Process(byte me; mtype role)
{
    byte seen;
    bool ex, tries, keep, timed, w, r, free_now;

    atomic {
        if
        :: role == ANY || role == WRITER -> ex = true
        :: role == ANY || role == READER -> ex = false
        :: role == ANY || role == TRY_WRITER -> ex = true; tries = true
        :: role == ANY || role == TRY_READER -> ex = false; tries = true
        fi;
        entry_exclusive[me] = ex;
#ifndef NO_INTENT
        entry[me] = INTENT
#endif
    }
    MAY_DIE;
again:
    atomic {
        seen = wakes;
#ifndef NO_INTENT
        entry[me] = INTENT
#endif
    }
    MAY_DIE;
    atomic { /* take */
        if
        :: TO_BE_HAD(ex) ->
            if
            :: ex -> exclusive = true; value = me + 1; urgent = false;
#ifndef NO_KEEP
                writers = writers || keep /* L6 */
#endif
            :: else -> value++
            fi;
            note_taken();
            goto taken
        :: else -> if :: tries -> entry[me] = FREE; done[me] = true; goto end :: else fi
        fi
    }
    MAY_DIE;
    atomic { entry[me] = WAITING; keep = true };
    MAY_DIE;
    atomic { /* set_flags */
        if
        :: TO_BE_HAD(ex) -> goto again
        :: else
        fi;
        if
        :: ex -> writers = true
        :: ex -> writers = true; urgent = true
        :: !ex -> readers = true; timed = urgent
        fi
    }
    MAY_DIE;
#ifdef NO_COMPARE
    atomic { asleep[me] = true; patient[me] = timed; seen = 0 };
#else
    atomic { if :: wakes == seen -> asleep[me] = true; patient[me] = timed :: else fi; seen = 0 }; /* L5 */
#endif
    if
    :: !asleep[me] -> goto again
    :: atomic { asleep[me] && patient[me] -> asleep[me] = false; patient[me] = false }
    :: deaths < DEATHS -> goto died
    fi;
    entry[me] = INTENT;
    MAY_DIE;
    atomic { /* take_from_urgent */
        timed = false;
        if
        :: value == 0 && !recount && urgent ->
            value = 1; writers = false; urgent = false;
            note_taken();
            goto taken
        :: else -> goto again
        fi
    }

taken:
    MAY_DIE;
    entry[me] = HELD;
    MAY_DIE;
#ifndef NO_DOUBT
    entry[me] = INTENT;
    MAY_DIE;
#endif
    if
    :: ex ->
        atomic {
            assert(exclusive && value == me + 1); /* L1 */
            exclusive = false; value = 0; w = writers; r = readers;
#ifndef NO_CLEAR
            writers = false; readers = false; /* L4 */
#endif
            really_ex[me] = false; in_exclusive--; free_now = true
        }
    :: else ->
share:
        atomic {
            if
#ifdef NO_STOP_FOR_RECOUNT
            :: true ->
#else
            :: !recount -> /* L3 */
#endif
                assert(!exclusive && value > 0); /* L2 */
                value--; really_sh[me] = false; in_shared--;
                if
                :: value == 0 -> w = writers; r = readers; writers = false; readers = false;
                    free_now = true
                :: else
                fi;
                goto gone
            :: else
            fi
        }
        entry[me] = HELD;
        MAY_DIE;
wait_for_recount:
        seen = wakes;
        atomic { if :: !recount -> seen = 0; goto counted :: else -> readers = true fi };
        atomic { if :: wakes == seen -> asleep[me] = true :: else fi; seen = 0 };
        if
        :: !asleep[me] -> goto wait_for_recount
        :: deaths < DEATHS -> goto died
        fi;
counted:
        entry[me] = INTENT;
        MAY_DIE;
        goto share
    fi;
gone:
    MAY_DIE;
    if
    :: free_now && (w || r) ->
#ifndef NO_BUMP
        wakes++;
#endif
        MAY_DIE;
        atomic { if :: w -> wake_writer() :: else fi };
        MAY_DIE;
        atomic { if :: r -> wake_readers() :: else fi }
    :: else
    fi;
    MAY_DIE;
    atomic { entry[me] = FREE; done[me] = true };
    goto end;

died:
    atomic { deaths++; asleep[me] = false; patient[me] = false; dead[me] = true };
end:
    skip
}

/* The undertaker is dead; the next one begins anew. */
#if UDEATHS > 0
#define U_MAY_DIE if :: udeaths < UDEATHS -> atomic { udeaths++; goto next } :: true fi
#else
#define U_MAY_DIE skip
#endif

inline count_one(j)
{
    if
    :: j != d && !entry_exclusive[j] ->
#ifdef NO_SETTLE
        atomic { held = held + (entry[j] == HELD -> 1 : 0) }
#else
        if /* settle: wait until it is not on INTENT, or dead */
        :: atomic { entry[j] != INTENT -> held = held + (entry[j] == HELD -> 1 : 0) }
        :: atomic { entry[j] == INTENT && dead[j] -> entry[j] = WAITING }
        fi
#endif
    :: else
    fi
}

/* Shares in doubt of other dead ones were left out, now or by an undertaker who died counting:
   they are held no longer. */
inline let_go_if_left_out(j)
{
    if
    :: dead[j] && (entry[j] == WAITING || buried[j]) && really_sh[j] -> really_sh[j] = false; in_shared--
    :: else
    fi
}

/* Undo what the dead process d held. */
proctype Undertaker()
{
    byte d, held;
    mtype was;

next:
    atomic {
        held = 0;
        if
        :: dead[0] && !buried[0] -> d = 0
        :: dead[1] && !buried[1] -> d = 1
#if N > 2
        :: dead[2] && !buried[2] -> d = 2
        :: (done[0] || buried[0]) && (done[1] || buried[1]) && (done[2] || buried[2]) -> goto over
#else
        :: (done[0] || buried[0]) && (done[1] || buried[1]) -> goto over
#endif
        fi;
        was = entry[d]
    }
#ifndef NO_G3
    atomic { if :: was == HELD -> entry[d] = INTENT :: else fi }; /* G3 */
#endif
    U_MAY_DIE;
    if
    :: was == FREE -> goto bury
    :: was == WAITING ->
        atomic { assert(!(exclusive && value == d + 1)) }; goto rouse
    :: else
    fi;
    if
    :: entry_exclusive[d] ->
        atomic {
            if
            :: exclusive && value == d + 1 ->
                exclusive = false; value = 0; writers = false; readers = false; urgent = false;
                really_ex[d] = false; in_exclusive--
            :: else -> assert(was != HELD)
            fi
        }
    :: else ->
        atomic {
            if
            :: exclusive || value == 0 -> assert(was != HELD); goto rouse
#ifdef NO_TAKE_OVER
            :: else -> !recount; recount = true; value = RECOUNTER
#else
            :: else -> recount = true; value = RECOUNTER
#endif
            fi
        }
        U_MAY_DIE;
        count_one(0);
        U_MAY_DIE;
        count_one(1);
#if N > 2
        U_MAY_DIE;
        count_one(2);
#endif
        U_MAY_DIE;
        atomic {
#ifdef NO_RECOUNT
            held++;
#endif
            if :: really_sh[d] -> really_sh[d] = false; in_shared-- :: else fi;
            recount = false; value = held; writers = false; readers = false; urgent = false;
            let_go_if_left_out(0);
            let_go_if_left_out(1);
#if N > 2
            let_go_if_left_out(2);
#endif
            assert(value == in_shared) /* L2 */
        }
    fi;
rouse:
    U_MAY_DIE;
#ifndef NO_ROUSE
    atomic { writers = false; readers = false; urgent = false };
    U_MAY_DIE;
    wakes++;
    U_MAY_DIE;
    atomic { wake_all() };
    U_MAY_DIE;
#endif
bury:
    atomic { entry[d] = FREE; buried[d] = true };
    goto next;
over:
    assert(value == 0 && !exclusive && !recount && in_shared == 0 && in_exclusive == 0)
}

init
{
    atomic {
        run Process(0, ROLE0);
        run Process(1, ROLE1);
#if N > 2
        run Process(2, ROLE2);
#endif
        run Undertaker()
    }
}
