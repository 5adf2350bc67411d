/*
 * pool.pml - pins and eviction of storage/page/pool_buffer.c: INTENT, swap, HELD; the one pin that
 * may empty a buffer; the count of pins for a dead process; peeks.
 *
 * One buffer, in which page 1 is, and which is wanted for page 2.  PINNERS look for page 1, by
 * glance (pool_buffer_pin_valid) or under the partition's lock (pool_buffer_pin), an evictor takes
 * the buffer for page 2, and a peeker reads page 1 without a pin.  Each may die wherever it
 * is not in a critical section.
 *
 * Asserted: B2 (a pin holds the page fast), B3 (a valid peek saw its page), B4 and B5 (pins are
 * never fewer than holders, and none is left at the end), L1 of pool.c (a pinned page that is used
 * is VALID).
 *
 * holds: -DPINNERS=2 -DDEATHS=1
 * holds: -DPINNERS=1 -DDEATHS=2 -DPEEK
 * holds: -DPINNERS=3 -DDEATHS=0
 * long: -DPINNERS=2 -DDEATHS=2 -DPEEK
 * long: -DPINNERS=3 -DDEATHS=2
 * breaks: -DNO_TAG_CHECK -DDEATHS=0
 * breaks: -DNO_INVALID -DDEATHS=0
 * breaks: -DNO_ONE_PIN -DDEATHS=0
 * breaks: -DNO_PARTITION -DDEATHS=0
 * breaks: -DNO_INTENT
 * breaks: -DNO_SETTLE
 * breaks: -DNO_FROZEN
 * breaks: -DNO_STAND_ASIDE
 * breaks: -DNO_CENSUS
 * breaks: -DNO_IO_UNDO
 * breaks: -DNO_ODD -DPEEK -DPINNERS=1
 * breaks: -DNO_SECOND_LOOK -DPEEK -DPINNERS=1
 */
#ifndef PINNERS
#define PINNERS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define N (PINNERS + 1) /* the evictor comes last */
#define EVICTOR PINNERS

mtype = { FREE, WAITING, INTENT, HELD };

byte tag = 1;
byte bytes = 1;          /* whose they are */
byte pins;
bool valid = true, frozen;
byte version = 2;        /* modulo 256 */
byte io;                 /* slot + 1 */
byte partition;          /* slot + 1 of who has it exclusively */
byte partition_shares;
mtype entry[N] = FREE, entry_io[N] = FREE;
bool holds[N];           /* what is really pinned */
byte holders;
bool dead[N], buried[N];
byte unburied, ended;    /* how many are dead and not buried; are through, or buried */
bool shares[N];          /* the partition's lock, let go of for the dead by lwlock's own rules */
byte deaths;

#if DEATHS > 0
#define MAY_DIE if :: deaths < DEATHS -> goto died :: true fi
#else
#define MAY_DIE skip
#endif

#ifdef NO_INTENT
#define SAY_INTENT skip
#else
#define SAY_INTENT entry[me] = INTENT
#endif

/* Add our pin if it may be: `must` is a condition on the state; jumps to `not` otherwise. */
#define ADD_PIN(must, not)                                                       \
    do                                                                           \
    :: atomic { STAND_ASIDE -> entry[me] = WAITING };                            \
        !frozen;                                                                 \
        entry[me] = INTENT                                                       \
    :: atomic { !(STAND_ASIDE) ->                                                \
            if                                                                   \
            :: !(must) -> entry[me] = FREE; goto not                             \
            :: else -> pins++; holds[me] = true; holders++; break                \
            fi }                                                                 \
    od;                                                                          \
    MAY_DIE;                                                                     \
    entry[me] = HELD

#ifdef NO_STAND_ASIDE
#define STAND_ASIDE false
#else
#define STAND_ASIDE frozen
#endif

#define UNPIN                                                                    \
    entry[me] = INTENT;                                                          \
    MAY_DIE;                                                                     \
    do                                                                           \
    :: atomic { STAND_ASIDE -> entry[me] = HELD };                               \
        !frozen;                                                                 \
        entry[me] = INTENT                                                       \
    :: atomic { !(STAND_ASIDE) -> assert(pins > 0); pins--; holds[me] = false;   \
            holders--; break }                                                   \
    od;                                                                          \
    MAY_DIE;                                                                     \
    entry[me] = FREE

proctype Pinner(byte me)
{
    bool by_lock;

    if :: by_lock = true :: by_lock = false fi;
    if
    :: !by_lock ->
        if :: tag != 1 -> goto finish :: else fi; /* place_of */
        MAY_DIE;
        SAY_INTENT;
        MAY_DIE;
        ADD_PIN(valid, finish);
        MAY_DIE;
#ifndef NO_TAG_CHECK
        if :: tag != 1 -> goto unpin :: else fi; /* B2 */
#endif
        assert(valid)
    :: else ->
        atomic {
#ifndef NO_PARTITION
            partition == 0 ->
#endif
            partition_shares++; shares[me] = true
        };
        MAY_DIE;
        if :: tag != 1 -> goto unlock :: else fi;
        MAY_DIE;
        SAY_INTENT;
        MAY_DIE;
        ADD_PIN(true, unlock);
        MAY_DIE;
        atomic { partition_shares--; shares[me] = false }
    fi;
    MAY_DIE;
    assert(tag == 1); /* B2: from here to the end of the pin */
    MAY_DIE;
    atomic { assert(tag == 1 && bytes == 1 && pins >= 1) };
unpin:
    MAY_DIE;
    UNPIN;
    goto finish;
unlock:
    atomic { partition_shares--; shares[me] = false };
finish:
    atomic { entry[me] = FREE; ended++ };
    goto end;
died:
    atomic { deaths++; dead[me] = true; unburied++ };
end:
    skip
}

/* take_buffer, pool_buffer_leave, pool_buffer_enter, fill_buffer, pool_unpin */
proctype Evictor()
{
    byte me = EVICTOR;

    SAY_INTENT;
    MAY_DIE;
    atomic { /* pool_buffer_pin_idle */
        if
        :: pins != 0 || frozen -> entry[me] = FREE; goto finish
        :: else -> pins++; holds[me] = true; holders++
        fi
    };
    MAY_DIE;
    entry[me] = HELD;
    MAY_DIE;
#ifndef NO_PARTITION
    atomic { partition == 0 && partition_shares == 0 -> partition = me + 1 };
    MAY_DIE;
#endif
    /* A critical section begins: no death. */
    atomic {
        if
#ifdef NO_ONE_PIN
        :: true ->
#else
        :: pins == 1 && !frozen ->
#endif
#ifndef NO_INVALID
            valid = false
#endif
        :: else -> partition = 0; goto unpin
        fi
    };
#ifndef NO_ODD
    version = version | 1; /* B3 */
#endif
    tag = 0;
    /* It ends. */
    partition = 0;
    MAY_DIE;
    tag = 2;
    MAY_DIE;
    /* fill_buffer */
    entry_io[me] = INTENT;
    MAY_DIE;
    atomic { assert(io == 0); io = me + 1 };
    entry_io[me] = HELD;
    MAY_DIE;
    bytes = 0;
    MAY_DIE;
    bytes = 2;
    MAY_DIE;
#ifndef NO_ODD
    version = version + 1;
#endif
    MAY_DIE;
    valid = true;
    MAY_DIE;
    entry_io[me] = INTENT;
    MAY_DIE;
    io = 0;
    MAY_DIE;
    entry_io[me] = FREE;
unpin:
    MAY_DIE;
    UNPIN;
finish:
    atomic { entry[me] = FREE; ended++ };
    goto end;
died:
    atomic { deaths++; dead[me] = true; unburied++ };
end:
    skip
}

#ifdef PEEK
proctype Peeker()
{
    byte before, saw;

    before = version;
    if :: before % 2 == 1 || tag != 1 -> goto end :: else fi; /* B3 */
    saw = bytes;
#ifdef NO_SECOND_LOOK
    assert(saw == 1);
#else
    if :: version == before -> assert(saw == 1) :: else fi;
#endif
end:
    skip
}
#endif

inline count_one(j)
{
    if
    :: j != d ->
#ifdef NO_SETTLE
        atomic { counted = counted + (entry[j] == HELD -> 1 : 0) }
#else
        if
        :: atomic { entry[j] != INTENT -> counted = counted + (entry[j] == HELD -> 1 : 0) }
        :: atomic { entry[j] == INTENT && dead[j] -> entry[j] = WAITING }
        fi
#endif
    :: else
    fi
}

/* What really was pinned by d, or left out of the count, is so no longer. */
inline forget(j)
{
    if
    :: holds[j] && (j == d || (dead[j] && entry[j] == WAITING)) -> holds[j] = false; holders--
    :: else
    fi
}

proctype Undertaker()
{
    byte d, counted;

next:
    atomic {
        counted = 0;
        d = 0;
        if
        :: unburied > 0 ->
            do
            :: dead[d] && !buried[d] -> break
            :: else -> d++
            od
        :: ended == N -> goto over
        fi
    };
    atomic { /* light locks come first, by their own rules */
        if :: shares[d] -> shares[d] = false; partition_shares-- :: else fi;
        if :: partition == d + 1 -> partition = 0 :: else fi
    };
#ifndef NO_IO_UNDO
    atomic { if :: entry_io[d] != FREE && io == d + 1 -> io = 0 :: else fi };
#endif
    entry_io[d] = FREE;
    if
    :: entry[d] == FREE || entry[d] == WAITING -> goto bury
    :: else
    fi;
#ifdef NO_CENSUS
    atomic { pins--; forget(d) };
#else
#ifndef NO_FROZEN
    atomic { assert(!frozen); frozen = true };
#endif
    count_one(0);
    count_one(1);
#if PINNERS > 1
    count_one(2);
#endif
#if PINNERS > 2
    count_one(3);
#endif
    atomic {
        forget(0);
        forget(1);
#if PINNERS > 1
        forget(2);
#endif
#if PINNERS > 2
        forget(3);
#endif
        pins = counted; frozen = false;
        assert(pins == holders) /* B4 */
    };
#endif
bury:
    atomic { entry[d] = FREE; buried[d] = true; unburied--; ended++ };
    goto next;
over:
    assert(pins == 0 && holders == 0 && !frozen && io == 0 && partition == 0)
}

init
{
    atomic {
        run Pinner(0);
#if PINNERS > 1
        run Pinner(1);
#endif
#if PINNERS > 2
        run Pinner(2);
#endif
        run Evictor();
#ifdef PEEK
        run Peeker();
#endif
        run Undertaker()
    }
}
