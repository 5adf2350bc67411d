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

#include <stdbool.h>
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

unsigned ledger_intend(enum ledger_kind kind, uint64_t id);
void ledger_wait(unsigned entry);
void ledger_again(unsigned entry); /* WAITING to INTENT */
void ledger_confirm(unsigned entry);
void ledger_doubt(unsigned entry);
void ledger_clear(unsigned entry);

/* The own entry for this thing, or -1. */
int ledger_find(enum ledger_kind kind, uint64_t id);
unsigned ledger_count(enum ledger_kind kind); /* own entries of this kind */
bool ledger_empty(void);                      /* at the end of a request */

/* The seam: what letting go of a dead process's thing means, by kind; set once before any fork by
   whoever opens the engine (NULL: not in use).  `state` is INTENT or HELD.  Must be idempotent.
   Errors mean doubt: the caller then restarts everything from the log. */
struct ledger_undo {
    err_t (*release)(unsigned slot, uint64_t id, enum ledger_state state);
};
void ledger_set_undo(enum ledger_kind kind, struct ledger_undo undo);

/* Let go of all that the dead process in `slot` held, pins and locks last-taken first.
   For the undertaker, and for a process that ends in order with something still held. */
err_t ledger_release_dead(unsigned slot) MUST_CHECK;

#endif
