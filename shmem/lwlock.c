/*
 * lwlock.c - light locks that survive the death of whoever holds, wants or frees them.
 *
 * Form of `state`:
 *   bits 0-23  VALUE      slot + 1 of the owner, if EXCLUSIVE; of the recounter, if RECOUNT; else
 *                         how many shared holds there are
 *   bit 24     EXCLUSIVE
 *   bit 25     RECOUNT    nobody may take the lock or let go of a share; see below
 *   bit 26     WRITERS    a writer waits, perhaps asleep: no new reader gets in
 *   bit 27     READERS    a reader perhaps sleeps
 *   bit 28     URGENT     a writer has lost often enough: it stays when the lock becomes free, and
 *                         no reader may take a free lock for URGENT_NS
 * `wakes` counts wakes; sleepers sleep on it, writers and readers in classes of their own.
 *
 * Taking writes INTENT in the own ledger, then changes `state` by one compare-and-swap, then writes
 * HELD; letting go writes INTENT, swaps, wakes, frees the entry.
 *
 * INVARIANTS
 *   L1  EXCLUSIVE: exactly the process in VALUE holds the lock, and its entry is on INTENT or HELD.
 *   L2  Neither EXCLUSIVE nor RECOUNT: VALUE is the number of shared entries on HELD, and of those
 *       on INTENT that have taken and not yet let go.
 *   L3  While RECOUNT is set nobody but the recounter changes VALUE or clears flags.
 *   L4  WRITERS on a lock implies that it is not free: whoever makes it free clears WRITERS and
 *       READERS in the same step, then bumps `wakes`, then wakes one writer and all readers.
 *   L5  A process sleeps only after it read `wakes`, then found the lock not to be had and set its
 *       flag in one step.  So no wake is lost: clearing the flag comes after setting it, the bump
 *       after that, and the kernel compares.
 *   L6  A writer that has slept takes the lock with WRITERS set: only one writer is woken at a
 *       time, so whoever was woken must wake the next.
 *
 * No reader gets in while WRITERS is set, so a writer that looks at a held lock is next once the
 * holders are gone, unless others are quicker than its wake-up; after LOSSES_MAX such losses it
 * sets URGENT, and readers stand back.  A writer never starves; should all urgent writers be dead
 * or stopped, a reader takes URGENT away after URGENT_NS.
 *
 * IF A PROCESS DIES, its ledger has an entry on …
 *   EXCLUSIVE, any state   the word says whether it was the owner (L1): if so the lock is freed
 *   SHARED on HELD         one is taken off VALUE
 *   SHARED on INTENT       not counted if the lock is free or EXCLUSIVE (L2); else RECOUNT is set,
 *                          everybody is waited for who stands on INTENT, the entries on HELD are
 *                          counted, and the count is stored
 *   WAITING                it holds nothing
 * and after each of these all sleepers are woken and the flags cleared: the living set them again.
 * So it does not matter whether it died before a wake it owed, or after it got the only one.
 * A recounter that dies leaves RECOUNT with its number; whoever lets go for the same dead process
 * again takes over.  Undoing is done by one process at a time for each dead one, and may be
 * repeated.
 */
#include "shmem/lwlock.h"

#include <limits.h>
#include <stddef.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "shmem/futex.h"
#include "shmem/ledger.h"
#include "shmem/proc.h"
#include "shmem/segment.h"

#define VALUE     0x00ffffffu
#define EXCLUSIVE 0x01000000u
#define RECOUNT   0x02000000u
#define WRITERS   0x04000000u
#define READERS   0x08000000u
#define URGENT    0x10000000u
#define ALL_BITS  0x1fffffffu

#define NO_SLOT VALUE /* a recounter without a slot */

#define CLASS_WRITER 1u
#define CLASS_READER 2u

#define SPIN_LEAST 8
#define SPIN_MOST  120
#define LOSSES_MAX 4
#define URGENT_NS  10000000

static const char *const rank_names[] = {
    "RANK_NONE",
#define LOCKRANK(name, most, what) #name,
#include "base/lists/lockranks.def"
#undef LOCKRANK
};
static const uint8_t rank_most[] = {
    1,
#define LOCKRANK(name, most, what) most,
#include "base/lists/lockranks.def"
#undef LOCKRANK
};

/* What this process holds; the same as the ledger says, with what is asked often at hand. */
static _Thread_local struct held {
    struct lwlock *lock;
    uint16_t rank;
    uint8_t entry; /* in the ledger */
    uint8_t mode;
} held[LEDGER_MAX];
static _Thread_local unsigned held_count;
static _Thread_local int spin_limit = 40;

static void
pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void
lwlock_init(struct lwlock *lock, enum lockrank rank)
{
    invariant(rank > RANK_NONE && rank < RANK_COUNT);
    atomic_init(&lock->state, 0);
    atomic_init(&lock->wakes, 0);
    lock->rank = (uint16_t)rank;
}

static uint32_t
own_value(void)
{
    return proc_self->index + 1;
}

static enum ledger_kind
kind_of(enum lwlock_mode mode)
{
    return mode == LW_EXCLUSIVE ? LEDGER_LWLOCK_EXCLUSIVE : LEDGER_LWLOCK_SHARED;
}

/* May a process take a lock whose state is this? */
static bool
to_be_had(uint32_t state, enum lwlock_mode mode)
{
    if (mode == LW_EXCLUSIVE)
        return (state & (VALUE | RECOUNT)) == 0;
    return (state & (EXCLUSIVE | RECOUNT | WRITERS | URGENT)) == 0;
}

/*
 * The one step of taking; false: not to be had now.  Release, so that whoever recounts after it
 * sees the entry's INTENT; acquire, for what the lock guards.  `keep`: flags to set besides.
 */
static bool
take(struct lwlock *lock, enum lwlock_mode mode, uint32_t keep)
{
    uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);

    while (to_be_had(old, mode)) {
        uint32_t want = mode == LW_EXCLUSIVE
                            ? (old & (WRITERS | READERS)) | EXCLUSIVE | own_value() | keep /* L1 */
                            : old + 1;                                                     /* L2 */

        if (atomic_compare_exchange_weak_explicit(
                &lock->state, &old, want, memory_order_acq_rel, memory_order_relaxed))
            return true;
    }
    return false;
}

static void
note_held(struct lwlock *lock, enum lwlock_mode mode, unsigned entry)
{
    held[held_count++] = (struct held){ lock, lock->rank, (uint8_t)entry, (uint8_t)mode };
}

static void
check_rank(const struct lwlock *lock)
{
    unsigned same = 0;

    for (unsigned i = 0; i < held_count; i++) {
        invariant(held[i].lock != lock);       /* it would wait for itself */
        invariant(held[i].rank <= lock->rank); /* see base/lists/lockranks.def */
        same += held[i].rank == lock->rank;
    }
    invariant(same < rank_most[lock->rank]); /* so many of this rank are allowed */
}

/* Say that somebody of this mode may sleep; false: the lock is to be had now.  L5 */
static bool
set_flags(struct lwlock *lock, enum lwlock_mode mode, uint32_t flags, uint32_t *state)
{
    uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);

    do {
        if (to_be_had(old, mode))
            return false;
        *state = old | flags;
    } while (
        (old & flags) != flags && !atomic_compare_exchange_weak_explicit(&lock->state, &old,
                                      old | flags, memory_order_acq_rel, memory_order_relaxed));
    return true;
}

/* A reader has stood back long enough for writers that do not come. */
static bool
take_from_urgent(struct lwlock *lock)
{
    uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);

    while ((old & (VALUE | RECOUNT | URGENT)) == URGENT)
        if (atomic_compare_exchange_weak_explicit(&lock->state, &old, (old & READERS) | 1,
                memory_order_acq_rel, memory_order_relaxed))
            return true;
    return false;
}

/* A few dozen pauses; as many as have lately been of use. */
static bool
spin_for(struct lwlock *lock, enum lwlock_mode mode)
{
    for (int i = 0; i < spin_limit; i++) {
        uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

        if ((state & RECOUNT) != 0)
            return false; /* the recounter waits for this process to leave INTENT */
        if (to_be_had(state, mode) && take(lock, mode, 0)) {
            if (spin_limit < SPIN_MOST)
                spin_limit += 2;
            return true;
        }
        pause_briefly();
    }
    if (spin_limit > SPIN_LEAST)
        spin_limit--;
    return false;
}

/* Wait until it is taken.  The entry is on INTENT before and after, on WAITING asleep. */
static void __attribute__((noinline))
wait_for(struct lwlock *lock, enum lwlock_mode mode, unsigned entry)
{
    uint32_t flags = mode == LW_EXCLUSIVE ? WRITERS : READERS;
    uint32_t class = mode == LW_EXCLUSIVE ? CLASS_WRITER : CLASS_READER;
    unsigned losses = 0;

    if (spin_for(lock, mode))
        return;
    proc_wait_begin(WAIT_LWLOCK, segment_offset(lock));
    for (;;) {
        uint32_t seen = atomic_load_explicit(&lock->wakes, memory_order_acquire); /* L5 */
        uint32_t state;
        int64_t until = 0;

        ledger_again(entry);
        if (take(lock, mode, mode == LW_EXCLUSIVE ? WRITERS : 0)) /* L6 */
            break;
        ledger_wait(entry);
        if (mode == LW_EXCLUSIVE && losses++ == LOSSES_MAX)
            flags |= URGENT;
        if (!set_flags(lock, mode, flags, &state))
            continue;
        (void)fault_pass(FAULT_LOCK_ASLEEP);
        if (mode == LW_SHARED && (state & URGENT) != 0)
            until = clock_now_ns() + URGENT_NS;
        futex_wait(&lock->wakes, seen, class, until);
        if (until != 0 && clock_now_ns() >= until) {
            ledger_again(entry);
            if (take_from_urgent(lock))
                break;
            ledger_wait(entry);
        }
    }
    proc_wait_end();
}

void
lwlock_acquire(struct lwlock *lock, enum lwlock_mode mode)
{
    unsigned entry;

    check_rank(lock);
    entry = ledger_intend(kind_of(mode), segment_offset(lock));
    (void)fault_pass(FAULT_LOCK_INTENT);
    if (__builtin_expect(!take(lock, mode, 0), 0))
        wait_for(lock, mode, entry);
    (void)fault_pass(FAULT_LOCK_TAKEN);
    ledger_confirm(entry);
    note_held(lock, mode, entry);
}

bool
lwlock_try(struct lwlock *lock, enum lwlock_mode mode)
{
    unsigned entry = ledger_intend(kind_of(mode), segment_offset(lock));

    if (!take(lock, mode, 0)) {
        ledger_clear(entry);
        return false;
    }
    ledger_confirm(entry);
    note_held(lock, mode, entry);
    return true;
}

/* The lock became free when its state was `old`: wake whom that names.  L4 */
static void
wake_next(struct lwlock *lock, uint32_t old)
{
    (void)fault_pass(FAULT_LOCK_FREED);
    atomic_fetch_add_explicit(&lock->wakes, 1, memory_order_release);
    if ((old & WRITERS) != 0)
        futex_wake(&lock->wakes, 1, CLASS_WRITER);
    if ((old & READERS) != 0)
        futex_wake(&lock->wakes, INT_MAX, CLASS_READER);
}

static void
release_exclusive(struct lwlock *lock)
{
    uint32_t old = EXCLUSIVE | own_value();

    while (!atomic_compare_exchange_weak_explicit(
        &lock->state, &old, old & URGENT, memory_order_release, memory_order_relaxed))
        invariant((old & (EXCLUSIVE | VALUE)) == (EXCLUSIVE | own_value())); /* L1 */
    if (__builtin_expect((old & (WRITERS | READERS)) != 0, 0))
        wake_next(lock, old);
}

/* Sleep until nobody recounts any more. */
static void __attribute__((noinline)) wait_for_recount(struct lwlock *lock)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(&lock->wakes, memory_order_acquire);
        uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);

        if ((old & RECOUNT) == 0)
            return;
        if (atomic_compare_exchange_weak_explicit(
                &lock->state, &old, old | READERS, memory_order_acq_rel, memory_order_relaxed))
            futex_wait(&lock->wakes, seen, CLASS_READER, 0);
    }
}

static void
release_shared(struct lwlock *lock, unsigned entry)
{
    uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);
    uint32_t want;

    do {
        while (__builtin_expect((old & RECOUNT) != 0, 0)) { /* L3 */
            ledger_confirm(entry); /* the recounter counts it, and waits for who is on INTENT */
            wait_for_recount(lock);
            ledger_doubt(entry);
            old = atomic_load_explicit(&lock->state, memory_order_relaxed);
        }
        invariant((old & EXCLUSIVE) == 0 && (old & VALUE) != 0); /* L2 */
        want = old - 1;
        if ((want & VALUE) == 0)
            want &= URGENT; /* L4 */
    } while (!atomic_compare_exchange_weak_explicit(
        &lock->state, &old, want, memory_order_release, memory_order_relaxed));
    if ((want & VALUE) == 0 && (old & (WRITERS | READERS)) != 0)
        wake_next(lock, old);
}

void
lwlock_release(struct lwlock *lock)
{
    unsigned at = held_count;
    unsigned entry;

    while (at > 0 && held[at - 1].lock != lock)
        at--;
    invariant(at > 0); /* not ours to release */
    entry = held[at - 1].entry;
    ledger_doubt(entry);
    if (held[at - 1].mode == LW_EXCLUSIVE)
        release_exclusive(lock);
    else
        release_shared(lock, entry);
    ledger_clear(entry);
    held[at - 1] = held[--held_count];
}

bool
lwlock_held(const struct lwlock *lock, enum lwlock_mode mode)
{
    for (unsigned i = 0; i < held_count; i++)
        if (held[i].lock == lock && (mode == LW_SHARED || held[i].mode == LW_EXCLUSIVE))
            return true;
    return false;
}

bool
lwlock_none_held(void)
{
    return held_count == 0;
}

void
lwlock_forget(void)
{
    held_count = 0;
}

int
lwlock_owner(const struct lwlock *lock)
{
    uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

    return (state & EXCLUSIVE) != 0 ? (int)(state & VALUE) - 1 : -1;
}

uint32_t
lwlock_shares(const struct lwlock *lock)
{
    uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

    return (state & (EXCLUSIVE | RECOUNT)) == 0 ? state & VALUE : 0;
}

bool
lwlock_free(const struct lwlock *lock)
{
    return (atomic_load(&lock->state) & (VALUE | EXCLUSIVE | RECOUNT)) == 0;
}

const char *
lwlock_rank_name(const struct lwlock *lock)
{
    return lock->rank < RANK_COUNT ? rank_names[lock->rank] : "damaged";
}

/* ---- Letting go for a dead process ---- */

/* Clear the flags and wake everybody: whoever still waits sets them again.  May always be done. */
static void
rouse(struct lwlock *lock)
{
    if (mutant(MUTANT_LEFT_ASLEEP))
        return;
    (void)atomic_fetch_and(&lock->state, ~(WRITERS | READERS | URGENT));
    (void)atomic_fetch_add(&lock->wakes, 1);
    futex_wake(&lock->wakes, INT_MAX, CLASS_WRITER | CLASS_READER);
}

static err_t
find_lock(uint64_t id, struct lwlock **lock)
{
    if (id > segment_size() - sizeof **lock || id % _Alignof(struct lwlock) != 0)
        return err_set(ERR_INTERNAL, "a dead process's ledger names no lock");
    *lock = segment_pointer(id);
    return OK;
}

/* A process that lets go of its own remains forgets them here too. */
static void
forget_held(unsigned slot, const struct lwlock *lock)
{
    if (proc_self == NULL || proc_self->index != slot)
        return;
    for (unsigned i = 0; i < held_count; i++)
        if (held[i].lock == lock) {
            held[i] = held[--held_count];
            return;
        }
}

/* What no lock word, of whatever owner, ever looks like. */
static err_t
verify_word(const struct lwlock *lock, uint32_t state)
{
    bool names_slot = (state & (EXCLUSIVE | RECOUNT)) != 0;
    uint32_t most = names_slot ? proc_count() : proc_count() * LEDGER_MAX;

    if (lock->rank == RANK_NONE || lock->rank >= RANK_COUNT)
        return err_set(ERR_INTERNAL, "a lock of rank %u is none", lock->rank);
    if ((state & ~ALL_BITS) != 0 || (state & (EXCLUSIVE | RECOUNT)) == (EXCLUSIVE | RECOUNT) ||
        ((state & EXCLUSIVE) != 0 && (state & VALUE) == 0) ||
        ((state & VALUE) > most && (state & VALUE) != NO_SLOT))
        return err_set(
            ERR_INTERNAL, "the word of a %s lock is damaged: %08x", lwlock_rank_name(lock), state);
    return OK;
}

static err_t
verify_exclusive(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct lwlock *lock = NULL;
    uint32_t word;
    bool owner;

    TRY_RETURN(find_lock(id, &lock));
    word = atomic_load(&lock->state);
    TRY_RETURN(verify_word(lock, word));
    owner = (word & EXCLUSIVE) != 0 && (word & VALUE) == slot + 1;
    if (state != LEDGER_INTENT && owner != (state == LEDGER_HELD))
        return err_set(ERR_INTERNAL, "a %s lock and the ledger of slot %u tell different owners",
            lwlock_rank_name(lock), slot);
    return OK;
}

static err_t
verify_shared(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct lwlock *lock = NULL;
    uint32_t word;

    TRY_RETURN(find_lock(id, &lock));
    word = atomic_load(&lock->state);
    TRY_RETURN(verify_word(lock, word));
    if (state == LEDGER_HELD && ((word & EXCLUSIVE) != 0 || (word & VALUE) == 0))
        return err_set(ERR_INTERNAL, "slot %u shares a %s lock that nobody shares", slot,
            lwlock_rank_name(lock));
    return OK;
}

err_t
lwlock_verify(const struct lwlock *lock)
{
    return verify_word(lock, atomic_load(&lock->state));
}

static err_t
undo_exclusive(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct lwlock *lock = NULL;
    uint32_t old;

    if (mutant(MUTANT_LEFT_LOCK))
        return OK;
    TRY_RETURN(find_lock(id, &lock));
    old = atomic_load(&lock->state);
    if ((old & EXCLUSIVE) == 0 || (old & VALUE) != slot + 1) {
        if (state == LEDGER_HELD)
            return err_set(ERR_INTERNAL, "slot %u died holding a %s lock that is not its own", slot,
                lwlock_rank_name(lock));
    } else {
        if (state == LEDGER_WAITING)
            return err_set(ERR_INTERNAL, "slot %u died waiting for a %s lock that it owns", slot,
                lwlock_rank_name(lock));
        while (!atomic_compare_exchange_weak(&lock->state, &old, 0))
            ;
    }
    rouse(lock);
    forget_held(slot, lock);
    return OK;
}

/* May this process go on with the recount that `owner` began for the dead one in `slot`? */
static bool
may_take_over(uint32_t owner, uint32_t me, unsigned slot)
{
    return owner == me || owner == NO_SLOT || owner == slot + 1 || proc_is_dead(owner - 1);
}

/* Set RECOUNT; *counted = false: the lock is free or exclusive, there is nothing to count. */
static err_t
begin_recount(struct lwlock *lock, unsigned slot, bool *counted)
{
    const struct timespec while_another = { 0, 100000 };
    uint32_t me = proc_self != NULL ? own_value() : NO_SLOT;
    uint32_t old = atomic_load(&lock->state);

    for (;;) {
        *counted = (old & EXCLUSIVE) == 0 && (old & VALUE) != 0;
        if (!*counted)
            return OK;
        if ((old & RECOUNT) != 0 && !may_take_over(old & VALUE, me, slot)) {
            (void)nanosleep(&while_another, NULL);
            old = atomic_load(&lock->state);
            continue;
        }
        if (atomic_compare_exchange_weak(&lock->state, &old, (old & ~VALUE) | RECOUNT | me))
            return OK;
    }
}

static err_t
undo_shared(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct lwlock *lock = NULL;
    uint32_t old;
    unsigned count;
    bool counted = false;

    if (mutant(MUTANT_LEFT_SHARE))
        return OK;
    TRY_RETURN(find_lock(id, &lock));
    old = atomic_load(&lock->state);
    if (state == LEDGER_HELD && ((old & EXCLUSIVE) != 0 || (old & VALUE) == 0))
        return err_set(ERR_INTERNAL, "slot %u died sharing a %s lock that nobody shares", slot,
            lwlock_rank_name(lock));
    if (state != LEDGER_WAITING) {
        TRY_RETURN(begin_recount(lock, slot, &counted));
        if (counted) {
            TRY_RETURN(ledger_census(LEDGER_LWLOCK_SHARED, id, slot, &count));
            (void)atomic_exchange(&lock->state, count); /* L2 */
        }
    }
    rouse(lock);
    forget_held(slot, lock);
    return OK;
}

void
lwlock_set_undo(void)
{
    ledger_set_undo(
        LEDGER_LWLOCK_EXCLUSIVE, (struct ledger_undo){ undo_exclusive, verify_exclusive });
    ledger_set_undo(LEDGER_LWLOCK_SHARED, (struct ledger_undo){ undo_shared, verify_shared });
}
