/*
 * verify.h - may what a process left behind be trusted, after an internal fault?
 *
 * It may have written anywhere, and that cannot be proven or excluded.  Looked at is what it could
 * reach by its own pointers, and what others would stumble over: its slot, the lock words that its
 * ledger names, the pages that it had pinned, the tables that all share.
 */
#ifndef POSTMASTER_VERIFY_H
#define POSTMASTER_VERIFY_H

#include "base/err.h"
#include "shmem/ledger.h"

/* The buffers that a dead process had pinned. */
struct verify_pins {
    unsigned count;
    uint32_t buffer[LEDGER_MAX];
};

/* Before anything of the dead process in `slot` is let go of: slot, ledger, locks, and the pages
   that only it could change.  Errors: what is odd. */
err_t verify_held(unsigned slot, struct verify_pins *pins) MUST_CHECK;
/* Afterwards, when nobody waits for it any more: the pages, and the tables.  Errors: as above. */
err_t verify_left(unsigned slot, const struct verify_pins *pins) MUST_CHECK;

#endif
