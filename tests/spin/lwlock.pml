/*
 * lwlock.pml - the light lock of shmem/lwlock.c, with death at any step, the undertaker and the recount.
 *
 *   spin -a lwlock.pml && gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m200000
 *
 * Asserted: exclusion (L1), the count (L2), and, at the end, that the lock is free and that nobody
 * sleeps (L4, L5, L6: an invalid end state would be a sleeper that nobody wakes).
 * Not modelled: URGENT (a matter of fairness), try, memory orders (argued in shmem/README.md).
 * Two processes are searched whole, with one death or (-DDEATHS=2) two; three (-DN=3) want
 * gcc -DBITSTATE.
 * -DNO_ROUSE or -DNO_RECOUNT leaves out a part of the cleanup: the check must then fail.
 */
#ifndef N
#define N 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

byte value;              /* owner + 1 or the number of shares */
bool exclusive, recount, writers, readers;
byte wakes;              /* counts modulo 256: no run here makes so many */
mtype = { FREE, WAITING, INTENT, HELD };
mtype entry[N] = FREE;   /* the ledger's one entry */
bool entry_exclusive[N];
bool dead[N], buried[N], done[N];
bool asleep[N];
byte in_exclusive, in_shared; /* what is really held, by the living and the dead */
bool really_ex[N], really_sh[N];
byte deaths;

#define TO_BE_HAD(ex) ((ex && value == 0 && !recount) || (!ex && !exclusive && !recount && !writers))

inline wake_sleepers(w, r, all)
{
    atomic {
        j = 0;
        do
        :: j < N ->
            if
            :: asleep[j] && entry_exclusive[j] && w -> asleep[j] = false; w = all
            :: asleep[j] && !entry_exclusive[j] && r -> asleep[j] = false
            :: else
            fi;
            j++
        :: else -> break
        od;
        j = 0
    }
}

/* The process stops here for ever, now or never. */
#define MAY_DIE if :: deaths < DEATHS -> goto died :: true fi

proctype Process(byte me)
{
    byte seen, j;
    bool ex, slept, w, r, free_now;

    if :: ex = true :: ex = false fi;
    entry_exclusive[me] = ex;
    entry[me] = INTENT;
    MAY_DIE;
again:
    seen = wakes;
    entry[me] = INTENT;
    MAY_DIE;
    atomic {
        if
        :: TO_BE_HAD(ex) ->
            if
            :: ex -> exclusive = true; value = me + 1; really_ex[me] = true; in_exclusive++;
                if :: slept -> writers = true :: else fi
            :: else -> value++; really_sh[me] = true; in_shared++
            fi;
            assert(in_exclusive == 0 || (in_exclusive == 1 && in_shared == 0)); /* L1 */
            goto taken
        :: else
        fi
    }
    MAY_DIE;
    entry[me] = WAITING;
    MAY_DIE;
    atomic {
        if
        :: TO_BE_HAD(ex) -> goto again
        :: else -> if :: ex -> writers = true :: else -> readers = true fi
        fi
    }
    MAY_DIE;
    slept = true;
    atomic { if :: wakes == seen -> asleep[me] = true :: else fi; seen = 0 }
    if
    :: !asleep[me] -> skip
    :: deaths < DEATHS -> goto died
    fi;
    goto again;

taken:
    MAY_DIE;
    entry[me] = HELD;
    MAY_DIE;
    entry[me] = INTENT;
    MAY_DIE;
    if
    :: ex ->
        atomic {
            assert(exclusive && value == me + 1);
            exclusive = false; value = 0; w = writers; r = readers; writers = false;
            readers = false; really_ex[me] = false; in_exclusive--; free_now = true
        }
    :: else ->
share:
        atomic {
            if
            :: !recount ->
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
        if :: !recount -> skip :: deaths < DEATHS -> goto died fi; /* wait_for_recount */
        entry[me] = INTENT;
        MAY_DIE;
        goto share
    fi;
gone:
    MAY_DIE;
    if
    :: free_now && (w || r) ->
        wakes++;
        MAY_DIE;
        if :: w -> w = true; free_now = false; wake_sleepers(w, free_now, false) :: else fi;
        MAY_DIE;
        if :: r -> w = false; wake_sleepers(w, r, false) :: else fi
    :: else
    fi;
    MAY_DIE;
    entry[me] = FREE;
    done[me] = true;
    goto end;

died:
    atomic { deaths++; asleep[me] = false; dead[me] = true };
end:
    skip
}

/* Undo what the dead process d held. */
proctype Undertaker()
{
    byte d, i, j, held;
    bool w, r;
    mtype was;

next:
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
    was = entry[d];
    if :: was == HELD -> entry[d] = INTENT :: else fi;
    if
    :: was == FREE -> goto bury
    :: was == WAITING -> goto rouse
    :: else
    fi;
    if
    :: entry_exclusive[d] ->
        atomic {
            if
            :: exclusive && value == d + 1 ->
                exclusive = false; value = 0; writers = false; readers = false;
                really_ex[d] = false; in_exclusive--
            :: else -> assert(was != HELD)
            fi
        }
    :: else ->
        atomic {
            if
            :: exclusive || value == 0 -> assert(was != HELD); goto rouse
            :: else -> recount = true; value = N + 1
            fi
        }
        i = 0;
        held = 0;
        do
        :: i < N ->
            if
            :: i != d && !entry_exclusive[i] ->
                /* settle: wait until it is not on INTENT, or dead */
                if
                :: atomic { entry[i] != INTENT -> held = held + (entry[i] == HELD -> 1 : 0) }
                :: atomic { entry[i] == INTENT && dead[i] -> entry[i] = WAITING }
                fi
            :: else
            fi;
            i++
        :: else -> break
        od;
        atomic {
#ifdef NO_RECOUNT
            held++;
#endif
            if :: really_sh[d] -> really_sh[d] = false; in_shared-- :: else fi;
            recount = false; value = held; writers = false; readers = false;
            /* Shares of other dead ones in doubt were left out: they are held no longer. */
            i = 0;
            do
            :: i < N ->
                if
                :: dead[i] && entry[i] == WAITING && really_sh[i] ->
                    really_sh[i] = false; in_shared--
                :: else
                fi;
                i++
            :: else -> break
            od;
            assert(value == in_shared) /* L2 */
        }
    fi;
rouse:
#ifndef NO_ROUSE
    atomic { writers = false; readers = false };
    wakes++;
    w = true;
    r = true;
    wake_sleepers(w, r, true);
#endif
bury:
    entry[d] = FREE;
    buried[d] = true;
    goto next;
over:
    assert(value == 0 && !exclusive && !recount && in_shared == 0 && in_exclusive == 0)
}

init
{
    atomic { run Process(0); run Process(1); 
#if N > 2
        run Process(2);
#endif
        run Undertaker() }
}
