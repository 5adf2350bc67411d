/*
 * graveyard.c - files of dropped things that somebody may still be reading.
 *
 * A table in shared memory of (file, version).  A row is taken by one compare-and-swap of its file
 * from 0 to the file with a mark, is complete when the mark is gone, and whoever empties it takes
 * it back by a compare-and-swap to the mark again: so no two remove one file, and the order of
 * things needs no lock.
 *
 * INVARIANTS
 *   G1  A file in the table is named by no committed row of the catalog.
 *   G2  It is removed only when every process has left the sections that it was in when the drop
 *       became visible.
 *
 * IF A PROCESS DIES with a row half taken, that row is lost until the next start: its file is then
 * an orphan, which engine_recover removes; so is every file that stands here at a crash.
 */
#include "storage/collection/graveyard.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/fault.h"
#include "base/log.h"
#include "storage/collection/catalog_share.h"
#include "storage/page/datafile.h"

#define ROWS   16384u
#define MARKED ((uint64_t)1 << 63) /* being filled or emptied */

struct grave {
    _Atomic uint64_t file;    /* 0: free; guard: atomic */
    _Atomic uint64_t version; /* guard: whoever marked it */
};

static struct {
    _Atomic uint64_t count; /* rows in use, about; guard: none, a counter */
    struct grave grave[ROWS];
} * shared;

size_t
graveyard_size(void)
{
    return sizeof *shared;
}

void
graveyard_init(void *zeroed)
{
    shared = zeroed;
}

void
graveyard_put(fileno_t file, uint64_t version)
{
    for (unsigned i = 0; i < ROWS; i++) {
        struct grave *grave = &shared->grave[(file + i) % ROWS];
        uint64_t none = 0;

        if (!atomic_compare_exchange_strong(&grave->file, &none, file | MARKED))
            continue;
        (void)fault_pass(FAULT_GRAVE_MARKED);
        atomic_store(&grave->version, version);
        atomic_store(&grave->file, file);
        atomic_fetch_add(&shared->count, 1);
        return;
    }
    log_warn("data file %" PRIu32 " of a dropped collection or index stays until the next start: "
             "too many wait for their readers",
        file);
}

void
graveyard_empty(void)
{
    if (graveyard_count() == 0)
        return;
    for (unsigned i = 0; i < ROWS; i++) {
        struct grave *grave = &shared->grave[i];
        uint64_t file = atomic_load(&grave->file);

        if (file == 0 || (file & MARKED) != 0 ||
            !catalog_share_passed(atomic_load(&grave->version)) || /* G2 */
            !atomic_compare_exchange_strong(&grave->file, &file, file | MARKED))
            continue;
        (void)fault_pass(FAULT_GRAVE_EMPTYING);
        if (datafile_remove((fileno_t)file) != OK) {
            log_warn("could not remove data file %" PRIu64 ": %s", file, err_message());
            atomic_store(&grave->file, file); /* tried again by the next round */
            continue;
        }
        atomic_fetch_sub(&shared->count, 1);
        atomic_store(&grave->file, 0);
    }
}

bool
graveyard_has(fileno_t file)
{
    for (unsigned i = 0; i < ROWS; i++) {
        if ((atomic_load(&shared->grave[i].file) & ~MARKED) == file)
            return true;
    }
    return false;
}

size_t
graveyard_count(void)
{
    return atomic_load_explicit(&shared->count, memory_order_relaxed);
}
