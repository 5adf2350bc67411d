/*
 * ledger.h - what a process holds of shared things, written in its slot so that a third
 * party can let go of it when the process has died.
 *
 * The three steps of taking (RELIABILITY rule: publish before or with the taking):
 *   i = ledger_intend(kind, id);   the entry says INTENT: perhaps held
 *   … take it by one atomic step …
 *   ledger_confirm(i);             HELD: certainly held
 * and of letting go:
 *   ledger_doubt(i);               INTENT again
 *   … let go by one atomic step …
 *   ledger_clear(i);               free
 * A process that waits for the thing must not stand on INTENT while it sleeps:
 * ledger_clear first (or ledger_wait(i), which says WAITING: certainly not held).
 */
#ifndef SHMEM_LEDGER_H
#define SHMEM_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LEDGER_MAX 64 /* entries a process; more is a panic: requests hold few things */

enum ledger_kind {
    LEDGER_FREE = 0,
    LEDGER_LWLOCK_SHARED,    /* id: segment offset of the lock */
    LEDGER_LWLOCK_EXCLUSIVE, /* id: segment offset of the lock */
    LEDGER_PIN,              /* id: buffer number */
    LEDGER_IO,               /* id: buffer number being read or written */
    LEDGER_PLACE,            /* id: place in the transaction table beyond the process's own */
    LEDGER_CURSOR,           /* id: place in the cursor table */
    LEDGER_TEMP_FILE,        /* id: number of a temporary file */
    LEDGER_KIND_COUNT
};

enum ledger_state { LEDGER_WAITING = 0, LEDGER_INTENT = 1, LEDGER_HELD = 2 };

/* How an entry looks: kind, state, id from the top.  0 is a free one. */
#define LEDGER_ID_BITS 48
static inline uint64_t
ledger_word(enum ledger_kind kind, enum ledger_state state, uint64_t id)
{
    return (uint64_t)kind << 56 | (uint64_t)state << LEDGER_ID_BITS | id;
}

/* The own slot's entries, NULL without a slot, and which of them are in use.  Set by ledger_use. */
extern _Thread_local _Atomic uint64_t *ledger_own;
extern _Thread_local uint64_t ledger_used;
_Static_assert(LEDGER_MAX == 64, "one bit for each entry in ledger_used");

/* From now on the own entries are these (NULL: none); what stands in them is in use.  By proc.c. */
void ledger_use(_Atomic uint64_t *entries);

void ledger_refuse(enum ledger_kind kind, uint64_t id) __attribute__((noreturn, cold));

/*
 * One plain store for each step; a process that is killed has done all its stores up to some
 * instruction, so program order is all that whoever reads a dead process's ledger needs.  Who
 * reads a living one's (lwlock.c, recounting) is ordered by the lock word.
 * A new entry stands above those in use where there is room: the order of taking.
 */
static inline unsigned
ledger_intend(enum ledger_kind kind, uint64_t id)
{
    uint64_t used = ledger_used;
    unsigned entry = used == 0 ? 0 : 64 - (unsigned)__builtin_clzll(used);

    if (__builtin_expect(used == UINT64_MAX || ledger_own == NULL || id >> LEDGER_ID_BITS != 0, 0))
        ledger_refuse(kind, id);
    if (entry == LEDGER_MAX)
        entry = (unsigned)__builtin_ctzll(~used);
    ledger_used = used | (uint64_t)1 << entry;
    atomic_store_explicit(
        &ledger_own[entry], ledger_word(kind, LEDGER_INTENT, id), memory_order_relaxed);
    return entry;
}

static inline void
ledger_state_set(unsigned entry, enum ledger_state state)
{
    uint64_t word = atomic_load_explicit(&ledger_own[entry], memory_order_relaxed);

    word = (word & ~((uint64_t)0xff << LEDGER_ID_BITS)) | (uint64_t)state << LEDGER_ID_BITS;
    atomic_store_explicit(&ledger_own[entry], word, memory_order_release);
}

static inline void
ledger_wait(unsigned entry) /* INTENT to WAITING: before sleeping */
{
    ledger_state_set(entry, LEDGER_WAITING);
}

static inline void
ledger_again(unsigned entry) /* WAITING to INTENT: before trying again */
{
    ledger_state_set(entry, LEDGER_INTENT);
}

static inline void
ledger_confirm(unsigned entry) /* INTENT to HELD: after the taking */
{
    ledger_state_set(entry, LEDGER_HELD);
}

static inline void
ledger_doubt(unsigned entry) /* HELD to INTENT: before letting go */
{
    ledger_state_set(entry, LEDGER_INTENT);
}

static inline void
ledger_clear(unsigned entry) /* after letting go, or instead of taking */
{
    atomic_store_explicit(&ledger_own[entry], 0, memory_order_release);
    ledger_used &= ~((uint64_t)1 << entry);
}

/* The own entry for this thing, or -1. */
int ledger_find(enum ledger_kind kind, uint64_t id);
unsigned ledger_count(enum ledger_kind kind); /* own entries of this kind */
bool ledger_empty(void);                      /* at the end of a request */

/* The seam: what letting go of a dead process's thing means, by kind; set once before any fork by
   whoever opens the engine (NULL: not in use).  `state` is INTENT or HELD (the kinds of light locks
   are told of WAITING too).  Must be idempotent: a second undertaker sees INTENT where the first
   began.  Errors mean doubt: the caller then restarts everything from the log. */
struct ledger_undo {
    err_t (*release)(unsigned slot, uint64_t id, enum ledger_state state);
    /* Is the thing as the dead process's entry says?  Changes nothing; an error says what is odd.
       NULL: nothing to be looked at. */
    err_t (*verify)(unsigned slot, uint64_t id, enum ledger_state state);
};
void ledger_set_undo(enum ledger_kind kind, struct ledger_undo undo);

/* Let go of all that the dead process in `slot` held: exclusive locks, shared locks, I/O, pins,
   then the rest; within a kind, last-taken first.  For the undertaker, and for a process that ends
   in order with something still held. */
err_t ledger_release_dead(unsigned slot) MUST_CHECK;
/* The first half of it: locks, I/O and pins, for whose sake others may be waiting.  Waits for no
   other dead process. */
err_t ledger_unlock_dead(unsigned slot) MUST_CHECK;

/* Before that, of a process that may have written anywhere: is every entry a possible one, and each
   thing as it says?  Changes nothing.  Errors: ERR_INTERNAL: what is odd. */
err_t ledger_verify_dead(unsigned slot) MUST_CHECK;
/* Does this entry of a slot say that a thing of this kind is, or may be, held?  *id: which. *state:
   HELD or INTENT; NULL: either will do. */
bool ledger_names(
    unsigned slot, unsigned entry, enum ledger_kind kind, uint64_t *id, enum ledger_state *state);

/* How many entries of all slots hold this thing, for whoever recounts it.  Waits (up to some
   seconds) until no living process other than `except` stands on INTENT for it; the caller has
   seen to it that no new one can get beyond INTENT.  Entries on INTENT of other dead processes are
   set to WAITING: not held, as the recount leaves them out.  Errors: ERR_INTERNAL: doubt. */
err_t ledger_census(enum ledger_kind kind, uint64_t id, unsigned except, unsigned *held) MUST_CHECK;

/* Entries in any state but WAITING, of all slots, of this kind: 0 when nothing is held anywhere. */
unsigned ledger_total(enum ledger_kind kind);

/* Print the own entries, a line each.  Async-signal-safe. */
void ledger_report(int fd);
const char *ledger_kind_name(enum ledger_kind kind);

#endif
