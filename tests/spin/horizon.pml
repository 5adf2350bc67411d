/*
 * horizon.pml - the horizon is never above a snapshot in use: `wanted` of storage/txn/txntable.c.
 *
 * Two takers store a snapshot in their places and look at `wanted`; one of them passes it on to a
 * second place.  Commits raise next_csn; two computers, one at a time, raise `wanted`, read all
 * places, publish.
 *
 * Asserted: P2 and P3, for as long as a snapshot is in use, also while it moves (P5).
 *
 * holds:
 * long: -DCOMMITS=6 -DROUNDS=3
 * breaks: -DNO_SECOND_LOOK
 * breaks: -DNO_NEW_NUMBER
 * breaks: -DWANTED_LATE
 * breaks: -DNO_LOCK_TO_HOLD
 * breaks: -DLET_GO_FIRST
 */
#ifndef COMMITS
#define COMMITS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define PLACES 3

byte next_csn = 1, wanted = 1, horizon = 1;
byte place[PLACES];      /* 0: no snapshot */
byte in_use[2];          /* what the takers use; 0: nothing */
bool locked;

#define P3 assert((in_use[0] == 0 || horizon <= in_use[0]) && (in_use[1] == 0 || horizon <= in_use[1]))

proctype Taker(byte me)
{
    byte csn;

    csn = next_csn;
    do
    :: place[me] = csn; /* P2 */
#ifdef NO_SECOND_LOOK
        break
#else
        if
        :: wanted <= csn -> break
        :: else
        fi;
#ifdef NO_NEW_NUMBER
        break
#else
        csn = next_csn
#endif
#endif
    od;
    atomic { in_use[me] = csn; P3 };
    if
    :: me == 0 ->
        /* snapshot_hold */
#ifdef LET_GO_FIRST
        place[me] = 0;
#endif
#ifndef NO_LOCK_TO_HOLD
        atomic { !locked -> locked = true };
#endif
        place[2] = csn; /* P5 */
#ifndef NO_LOCK_TO_HOLD
        locked = false;
#endif
        place[me] = 0;
        skip;
        atomic { in_use[me] = 0; place[2] = 0 }
    :: else ->
        skip;
        atomic { in_use[me] = 0; place[me] = 0 }
    fi
}

proctype Commits()
{
    byte i;

    do
    :: i < COMMITS -> next_csn++; i++
    :: else -> break
    od
}

proctype Computer()
{
    byte i, least, csn;

    do
    :: i < ROUNDS ->
        atomic { !locked -> locked = true };
        least = next_csn;
#ifndef WANTED_LATE
        wanted = least; /* P2 */
#endif
        csn = place[2];
        atomic { if :: csn != 0 && csn < least -> least = csn :: else fi; csn = 0 };
        csn = place[0];
        atomic { if :: csn != 0 && csn < least -> least = csn :: else fi; csn = 0 };
        csn = place[1];
        atomic { if :: csn != 0 && csn < least -> least = csn :: else fi; csn = 0 };
#ifdef WANTED_LATE
        wanted = least;
#endif
        atomic { if :: least > horizon -> horizon = least :: else fi; P3; least = 0 };
        atomic { locked = false; i++ }
    :: else -> break
    od
}

init { atomic { run Taker(0); run Taker(1); run Commits(); run Computer(); run Computer() } }
