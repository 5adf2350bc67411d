/*
 * wal.pml - log reservation, copying, and group commit: wal/wal_ring.c, wal/wal_insert.c,
 * wal/wal_flush.c.
 *
 * Each of N processes inserts RECORDS records, one after the other, into a ring of CAPACITY places
 * (a record is one place long, and its first position is 1), and flushes each.  Conditions do not
 * look again after 100 ms here, unless a process may die: so a round that nobody would lead is an
 * invalid end state.  -DWHOLE: a record is inserted in one step.  -DDEATHS: a process dies as a
 * leader or as a successor; its lock is released.  Who dies while it inserts is in a critical
 * section: all ends, and what was acknowledged must be on disk.
 *
 * Asserted: R1 (what is written was copied), W1, W2 (the bytes are those of their record), that
 * nobody is told of what is not on disk, W4 and W5 (no end without all flushed).
 *
 * holds: -DN=3 -DWHOLE -DCAPACITY=4
 * long: -DN=3
 * holds: -DN=2 -DRECORDS=2
 * holds: -DN=2 -DRECORDS=2 -DDEATHS=1
 * long: -DN=3 -DRECORDS=2 -DCAPACITY=3
 * long: -DN=3 -DDEATHS=1
 * breaks: -DN=2 -DNO_TAKING
 * breaks: -DN=2 -DLEAVE_EARLY
 * breaks: -DN=2 -DCAPACITY=1 -DNO_ROOM
 * breaks: -DN=2 -DREADY_FIRST
 * breaks: -DN=2 -DNO_SYNC
 * breaks: -DN=2 -DTOLD_EARLY
 * breaks: -DN=2 -DNO_SUCCESSOR_LOOK
 * breaks: -DN=3 -DWHOLE -DCAPACITY=4 -DWAKE_FIRST
 * breaks: -DN=3 -DWHOLE -DCAPACITY=4 -DNO_OWED
 * breaks: -DN=3 -DWHOLE -DCAPACITY=4 -DNO_HAND_ON
 * breaks: -DN=3 -DWHOLE -DCAPACITY=4 -DNO_MARK_LOOK
 */
#ifndef N
#define N 2
#endif
#ifndef RECORDS
#define RECORDS 1
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#define ROUNDS     4
#define SUCCESSION ROUNDS
#define TAKING     0
#define NOTHING    255

byte position = 1, written = 1, flushed = 1;
byte durable = 1;        /* what the disk would give back */
byte inserting[N] = NOTHING;
byte ring[CAPACITY];
byte lock;               /* owner + 1 */
byte target = 1, round, successor;
byte changes[ROUNDS + 1];
byte told = 1;           /* the furthest that anybody was told of */
byte deaths;
bool crashed;

#define W1 assert(durable <= written && flushed <= written && written <= position)
#if DEATHS > 0
#define MAY_CRASH                                                                \
    if                                                                           \
    :: deaths < DEATHS -> atomic { deaths++; crashed = true; goto end }          \
    :: true                                                                      \
    fi
#else
#define MAY_CRASH skip
#endif
#if DEATHS > 0
#define MAY_DIE                                                                  \
    if                                                                           \
    :: deaths < DEATHS ->                                                        \
        atomic { deaths++; lock = (lock == me + 1 -> 0 : lock); goto dead }      \
    :: true                                                                      \
    fi
#else
#define MAY_DIE skip
#endif

inline ready_up_to(limit)
{
    i = 0;
    do
    :: i < N -> atomic { if :: inserting[i] < limit -> limit = inserting[i] :: else fi; i++ }
    :: else -> i = 0; break
    od
}

/* Everything before `limit` has been copied. */
inline ready()
{
#ifdef WHOLE
    limit = position;
#else
#ifdef READY_FIRST
    limit = NOTHING;
    ready_up_to(limit);
    atomic { if :: position < limit -> limit = position :: else fi }
#else
    limit = position;
    ready_up_to(limit) /* R1 */
#endif
#endif
}

inline write_up_to()
{
    do
    :: written < limit ->
        atomic { assert(ring[written % CAPACITY] == written); written++; W1 } /* R1, W2 */
    :: else -> break
    od
}

proctype Process(byte me)
{
    byte lsn, limit, i, own, seen, which, records;
    bool led;

next:
    atomic {
        led = false; limit = 0; lsn = 0; own = 0; seen = 0; which = 0;
        if
        :: crashed || records == RECORDS -> records = 0; goto end
        :: else -> records++
        fi
    };
    /* wal_insert, in a critical section */
#ifdef WHOLE
    atomic { own = position; position++; ring[own % CAPACITY] = own; lsn = own + 1 };
    goto again;
#endif
#ifndef NO_TAKING
    inserting[me] = TAKING; /* R1 */
#endif
    MAY_CRASH;
    atomic { own = position; position++ }; /* under the spin */
    MAY_CRASH;
    inserting[me] = own;
#ifdef LEAVE_EARLY
    inserting[me] = NOTHING;
#endif
    MAY_CRASH;
#ifndef NO_ROOM
    do /* wal_flush_await_room */
    :: written + CAPACITY >= own + 1 -> break
    :: atomic { written + CAPACITY < own + 1 && lock == 0 -> lock = me + 1 };
        ready();
        write_up_to();
        lock = 0
    :: crashed -> goto end
    od;
#endif
    ring[own % CAPACITY] = own;
    MAY_CRASH;
#ifndef LEAVE_EARLY
    inserting[me] = NOTHING; /* R1 */
#endif
    lsn = own + 1;

    /* wal_flush */
again:
    atomic {
        own = 0; seen = 0; which = 0;
        if
        :: flushed >= lsn -> goto flushed_it
        :: lock == 0 && flushed < lsn -> lock = me + 1; goto lead
        :: else
        fi
    };

    /* follow */
    atomic { own = round; led = true };
    atomic { which = (lsn <= target -> own % ROUNDS : (own + 1) % ROUNDS); limit = (lsn <= target) };
    atomic {
        if
        :: !limit && successor == 0 -> successor = me + 1; which = SUCCESSION
        :: !limit && successor == me + 1 -> which = SUCCESSION
        :: else
        fi;
        limit = 0
    };
    seen = changes[which];
    if :: flushed >= lsn || round != own -> goto again :: else -> own = 0 fi;
#ifndef NO_MARK_LOOK
    if :: which != SUCCESSION && lsn > target && successor == 0 -> goto again :: else fi;
#endif
#ifndef NO_SUCCESSOR_LOOK
    atomic { if :: lock == 0 -> lock = me + 1; goto lead :: else fi }; /* W4 */
#endif
    if
    :: changes[which] != seen
#if DEATHS > 0
    :: true /* it looks again after 100 ms */
#endif
    :: crashed -> goto end
    :: deaths < DEATHS -> atomic { deaths++; goto dead }
    fi;
    goto again;

lead:
    atomic { led = true; own = 0; seen = 0; which = 0 };
    MAY_DIE;
    successor = 0;
    MAY_DIE;
    atomic { round++; own = round };
    MAY_DIE;
    if
    :: flushed < lsn ->
        do /* gather */
        :: ready();
            if :: limit >= lsn -> break :: crashed -> goto end :: else fi;
            write_up_to()
        od;
        target = limit;
        MAY_DIE;
#if defined(WHOLE) && !defined(WAKE_FIRST)
        atomic { written = limit; durable = limit; flushed = limit; W1; limit = 0 };
        goto led_it;
#endif
        write_up_to();
        MAY_DIE;
        atomic {
            if
            :: flushed < limit ->
#ifdef TOLD_EARLY
                flushed = limit
#else
#ifndef NO_SYNC
                assert(written >= limit); durable = limit;
#endif
                skip
#endif
            :: else
            fi
        };
        MAY_DIE;
#ifdef TOLD_EARLY
        atomic { if :: durable < limit -> durable = limit :: else fi };
#else
        atomic { if :: flushed < limit -> flushed = limit; W1 :: else fi };
#endif
        MAY_DIE
    :: else
    fi;
led_it:
#ifndef WAKE_FIRST
    lock = 0; /* W4 */
    MAY_DIE;
#endif
    atomic { changes[own % ROUNDS]++ };
    MAY_DIE;
    atomic { changes[SUCCESSION]++ };
#ifdef WAKE_FIRST
    lock = 0;
#endif
    if
    :: lsn <= flushed && own != 0 -> goto flushed_it
    :: else -> goto again
    fi;

flushed_it:
    /* settle_succession: a successor that found itself covered owes those behind it a leader */
#ifndef NO_OWED
    atomic {
        if
        :: led && successor == me + 1 && lock == 0 -> lock = me + 1; led = false; goto lead
        :: else
        fi
    };
#ifndef NO_HAND_ON
    atomic {
        if
        :: led && successor == me + 1 -> successor = 0; led = false
        :: else -> goto tell
        fi
    };
    own = round;
    changes[(own + 1) % ROUNDS]++;
#endif
#endif
tell:
    atomic {
        assert(lsn <= durable); /* nobody is told before */
        if :: lsn > told -> told = lsn :: else fi
    };
    goto next;
dead:
    skip;
end:
    assert(told <= durable)
}

init
{
    atomic {
        run Process(0);
        run Process(1)
#if N > 2
        ;
        run Process(2)
#endif
    }
}
