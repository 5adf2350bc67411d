/*
 * ledger.c - what a process holds, and how a third party lets go of it.
 *
 * Form: an entry is one word (ledger_word): kind 8 bits, state 8 bits, id 48 bits; 0 is free.  Only
 * the owner writes its entries while it lives; afterwards, the undertaker.
 *
 * INVARIANTS
 *   G1  Whatever a process holds, or may hold, of the listed kinds stands in an entry on INTENT or
 *       HELD.  HELD: it certainly holds it.  No entry or WAITING: it certainly does not.
 *   G2  A process on INTENT does not sleep; it leaves INTENT within microseconds of running.
 *   G3  Letting go for a dead process goes HELD to INTENT, let go, free: an undertaker that dies
 *       half-way leaves what the next one can finish.
 *
 * IF A PROCESS DIES with an entry on INTENT, the thing itself tells whether it was taken (an owner
 * in a lock word), or its holders are counted again (ledger_census).
 */
#include "shmem/ledger.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/panic.h"
#include "shmem/proc.h"

#define CENSUS_NS 5000000000 /* a living process that stands on INTENT longer was stopped */

_Thread_local _Atomic uint64_t *ledger_own;
_Thread_local uint64_t ledger_used;

static struct ledger_undo undo_of[LEDGER_KIND_COUNT]; /* const after the first fork */

static const char *const kind_names[LEDGER_KIND_COUNT] = { "free", "shared lock", "exclusive lock",
    "pin", "page I/O", "transaction place", "cursor", "temporary file" };

/* Locks, I/O in progress, pins; the rest, whose undoing may want locks. */
#define UNLOCK_COUNT 4u
static const enum ledger_kind release_order[] = { LEDGER_LWLOCK_EXCLUSIVE, LEDGER_LWLOCK_SHARED,
    LEDGER_IO, LEDGER_PIN, LEDGER_PLACE, LEDGER_CURSOR, LEDGER_TEMP_FILE };
_Static_assert(sizeof release_order / sizeof *release_order == LEDGER_KIND_COUNT - 1,
    "every kind is released");

static enum ledger_kind
kind_in(uint64_t word)
{
    return (enum ledger_kind)(word >> 56);
}

static enum ledger_state
state_in(uint64_t word)
{
    return (enum ledger_state)(word >> LEDGER_ID_BITS & 0xff);
}

static uint64_t
id_in(uint64_t word)
{
    return word & (((uint64_t)1 << LEDGER_ID_BITS) - 1);
}

void
ledger_use(_Atomic uint64_t *entries)
{
    ledger_own = entries;
    ledger_used = 0;
    for (unsigned i = 0; entries != NULL && i < LEDGER_MAX; i++)
        if (atomic_load_explicit(&entries[i], memory_order_relaxed) != 0)
            ledger_used |= (uint64_t)1 << i;
}

void
ledger_refuse(enum ledger_kind kind, uint64_t id)
{
    (void)kind;
    invariant(ledger_own != NULL); /* a process without a slot may hold nothing */
    invariant(id >> LEDGER_ID_BITS == 0);
    panic(__FILE__, __LINE__, "the ledger is full: a request holds too many things");
}

int
ledger_find(enum ledger_kind kind, uint64_t id)
{
    for (uint64_t rest = ledger_used; rest != 0; rest &= rest - 1) {
        int entry = __builtin_ctzll(rest);
        uint64_t word = atomic_load_explicit(&ledger_own[entry], memory_order_relaxed);

        if (kind_in(word) == kind && id_in(word) == id)
            return entry;
    }
    return -1;
}

unsigned
ledger_count(enum ledger_kind kind)
{
    unsigned count = 0;

    for (uint64_t rest = ledger_used; rest != 0; rest &= rest - 1)
        count += kind_in(atomic_load_explicit(
                     &ledger_own[__builtin_ctzll(rest)], memory_order_relaxed)) == kind;
    return count;
}

bool
ledger_empty(void)
{
    return ledger_used == 0;
}

void
ledger_set_undo(enum ledger_kind kind, struct ledger_undo undo)
{
    invariant(kind > LEDGER_FREE && kind < LEDGER_KIND_COUNT);
    undo_of[kind] = undo;
}

static err_t
release_entry(unsigned slot, _Atomic uint64_t *entry, uint64_t word)
{
    enum ledger_kind kind = kind_in(word);
    enum ledger_state state = state_in(word);

    if (state > LEDGER_HELD)
        return err_set(ERR_INTERNAL, "the ledger of slot %u is damaged", slot);
    if (state == LEDGER_WAITING && kind > LEDGER_LWLOCK_EXCLUSIVE) {
        atomic_store(entry, 0);
        return OK;
    }
    if (undo_of[kind].release == NULL)
        return err_set(ERR_INTERNAL, "could not release a %s of slot %u: nobody said how",
            kind_names[kind], slot);
    if (state == LEDGER_HELD)
        atomic_store(entry, ledger_word(kind, LEDGER_INTENT, id_in(word))); /* G3 */
    TRY_RETURN(undo_of[kind].release(slot, id_in(word), state));
    atomic_store(entry, 0);
    return OK;
}

static err_t
verify_entry(unsigned slot, uint64_t word)
{
    enum ledger_kind kind = kind_in(word);

    if (kind == LEDGER_FREE || kind >= LEDGER_KIND_COUNT || state_in(word) > LEDGER_HELD)
        return err_set(ERR_INTERNAL, "the ledger of slot %u is damaged", slot);
    if (undo_of[kind].verify == NULL)
        return OK;
    return undo_of[kind].verify(slot, id_in(word), state_in(word));
}

err_t
ledger_verify_dead(unsigned slot)
{
    for (unsigned i = 0; i < LEDGER_MAX; i++) {
        uint64_t word = atomic_load(&proc_at(slot)->ledger[i]);

        if (word != 0)
            TRY_RETURN(verify_entry(slot, word));
    }
    return OK;
}

bool
ledger_names(
    unsigned slot, unsigned entry, enum ledger_kind kind, uint64_t *id, enum ledger_state *state)
{
    uint64_t word = atomic_load(&proc_at(slot)->ledger[entry]);

    *id = id_in(word);
    if (state != NULL)
        *state = state_in(word);
    return kind_in(word) == kind && state_in(word) != LEDGER_WAITING;
}

static err_t
release_kind(unsigned slot, enum ledger_kind kind)
{
    struct proc *proc = proc_at(slot);

    for (unsigned i = LEDGER_MAX; i-- > 0;) {
        uint64_t word = atomic_load(&proc->ledger[i]);

        if (word == 0)
            continue;
        if (kind_in(word) == LEDGER_FREE || kind_in(word) >= LEDGER_KIND_COUNT)
            return err_set(ERR_INTERNAL, "the ledger of slot %u is damaged", slot);
        if (kind_in(word) == kind)
            TRY_RETURN(release_entry(slot, &proc->ledger[i], word));
    }
    return OK;
}

err_t
ledger_unlock_dead(unsigned slot)
{
    for (unsigned i = 0; i < UNLOCK_COUNT; i++)
        TRY_RETURN(release_kind(slot, release_order[i]));
    return OK;
}

err_t
ledger_release_dead(unsigned slot)
{
    err_t err = OK;

    TRY(ledger_unlock_dead(slot));
    for (unsigned i = UNLOCK_COUNT; i < sizeof release_order / sizeof *release_order; i++)
        TRY(release_kind(slot, release_order[i]));
out:
    if (ledger_own == proc_at(slot)->ledger)
        ledger_use(ledger_own); /* it was the own */
    return err;
}

/* Wait until this entry is not on INTENT for the thing; its word then. */
static err_t
settle(struct proc *proc, unsigned index, uint64_t intent, int64_t until_ns, uint64_t *settled)
{
    uint64_t word;

    while ((word = atomic_load(&proc->ledger[index])) == intent) {
        if (proc_is_dead(proc->index)) {
            /* Left out of the count.  Its own undo finds it WAITING. */
            (void)atomic_compare_exchange_strong(&proc->ledger[index], &word,
                ledger_word(kind_in(intent), LEDGER_WAITING, id_in(intent)));
            continue;
        }
        if (clock_now_ns() > until_ns)
            return err_set(ERR_INTERNAL,
                "could not count who holds a %s: process %d stands still while it takes it",
                kind_names[kind_in(intent)], (int)atomic_load(&proc->pid));
        (void)sched_yield();
    }
    *settled = word;
    return OK;
}

err_t
ledger_census(enum ledger_kind kind, uint64_t id, unsigned except, unsigned *held)
{
    const uint64_t intent = ledger_word(kind, LEDGER_INTENT, id);
    int64_t until_ns = clock_now_ns() + CENSUS_NS;
    unsigned end = proc_high_water();

    *held = 0;
    for (unsigned slot = 0; slot < end; slot++) {
        struct proc *proc = proc_at(slot);

        for (unsigned i = 0; i < LEDGER_MAX; i++) {
            uint64_t word = atomic_load(&proc->ledger[i]);

            if (word == intent && slot != except)
                TRY_RETURN(settle(proc, i, intent, until_ns, &word));
            *held += word == ledger_word(kind, LEDGER_HELD, id);
        }
    }
    return OK;
}

unsigned
ledger_total(enum ledger_kind kind)
{
    unsigned total = 0;
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++)
        for (unsigned i = 0; i < LEDGER_MAX; i++) {
            uint64_t word = atomic_load(&proc_at(slot)->ledger[i]);

            total += kind_in(word) == kind && state_in(word) != LEDGER_WAITING;
        }
    return total;
}

const char *
ledger_kind_name(enum ledger_kind kind)
{
    return kind < LEDGER_KIND_COUNT ? kind_names[kind] : "damaged";
}

/* Append a number or a text to a line, without stdio. */
static size_t
put_text(char *line, size_t at, const char *text)
{
    size_t size = strlen(text);

    memcpy(line + at, text, size);
    return at + size;
}

static size_t
put_number(char *line, size_t at, uint64_t number)
{
    char digits[20];
    size_t count = 0;

    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0)
        line[at++] = digits[--count];
    return at;
}

void
ledger_report(int fd)
{
    static const char *const state_names[] = { "waiting", "intent", "held" };

    for (uint64_t rest = ledger_used; rest != 0; rest &= rest - 1) {
        uint64_t word = atomic_load(&ledger_own[__builtin_ctzll(rest)]);
        char line[128];
        size_t at = put_text(line, 0, "  ledger: ");

        at = put_text(line, at, ledger_kind_name(kind_in(word)));
        at = put_text(line, at, " ");
        at = put_number(line, at, id_in(word));
        at = put_text(line, at, " ");
        at = put_text(line, at, state_in(word) <= LEDGER_HELD ? state_names[state_in(word)] : "?");
        line[at++] = '\n';
        if (write(fd, line, at) < 0)
            return;
    }
}
