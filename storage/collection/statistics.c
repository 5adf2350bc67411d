/*
 * statistics.c - how many documents collections have, about.
 *
 * Eight rows for each hash of an oid.  A row is taken by one compare-and-swap of its oid; the two
 * numbers are counters that everyone adds to once a statement.  They are about right: rolled back
 * rows are counted until the next vacuum, and a process that dies takes its last statement's with
 * it.  A collection that finds no room has no statistics, and is counted when asked for.
 */
#include "storage/collection/statistics.h"

#include <stdatomic.h>

#include "base/hash.h"

#define SETS 2048u
#define WAYS 8u

struct row {
    _Atomic uint64_t oid;   /* 0: free; guard: atomic */
    _Atomic uint64_t known; /* 1: counted since the start; guard: atomic */
    _Atomic int64_t rows;   /* guard: none, a counter */
    _Atomic int64_t dead;   /* guard: none, a counter */
};
_Static_assert(sizeof(struct row) == 32, "two to a cache line");

static struct row *shared;

static _Thread_local struct {
    uint64_t oid;
    int64_t rows, dead;
} noted;

size_t
statistics_size(void)
{
    return (size_t)SETS * WAYS * sizeof(struct row);
}

void
statistics_init(void *zeroed)
{
    shared = zeroed;
}

/* Its row, or NULL: there is none (and with `make`, no room for one). */
static struct row *
row_of(uint64_t oid, bool make)
{
    struct row *set = &shared[hash_u64(oid) % SETS * WAYS];

    for (unsigned i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&set[i].oid, memory_order_acquire) == oid)
            return &set[i];
    }
    for (unsigned i = 0; make && i < WAYS; i++) {
        uint64_t seen = 0;

        /* Two may take one each at the same time: the first of them is the one from then on. */
        if (atomic_compare_exchange_strong(&set[i].oid, &seen, oid) || seen == oid)
            return &set[i];
    }
    return NULL;
}

void
statistics_flush(void)
{
    struct row *row;

    if (noted.oid == 0)
        return;
    row = row_of(noted.oid, true);
    if (row != NULL && noted.rows != 0)
        atomic_fetch_add_explicit(&row->rows, noted.rows, memory_order_relaxed);
    if (row != NULL && noted.dead != 0)
        atomic_fetch_add_explicit(&row->dead, noted.dead, memory_order_relaxed);
    noted.oid = 0;
    noted.rows = noted.dead = 0;
}

void
statistics_note(uint64_t oid, int64_t rows, int64_t dead)
{
    if (noted.oid != oid) {
        statistics_flush();
        noted.oid = oid;
    }
    noted.rows += rows;
    noted.dead += dead;
}

struct statistics
statistics_get(uint64_t oid)
{
    struct statistics result = { false, 0, 0 };
    const struct row *row = row_of(oid, false);

    if (row == NULL)
        return result;
    result.known = atomic_load(&row->known) != 0;
    result.rows = atomic_load(&row->rows);
    result.dead = atomic_load(&row->dead);
    if (result.known && result.rows < 0)
        result.rows = 0;
    if (result.dead < 0)
        result.dead = 0;
    return result;
}

void
statistics_set(uint64_t oid, uint64_t rows, uint64_t dead)
{
    struct row *row = row_of(oid, true);

    if (row == NULL)
        return;
    atomic_store(&row->rows, (int64_t)rows);
    atomic_store(&row->dead, (int64_t)dead);
    atomic_store(&row->known, 1);
}

void
statistics_forget(uint64_t oid)
{
    struct row *row = row_of(oid, false);

    if (row == NULL)
        return;
    atomic_store(&row->known, 0);
    atomic_store(&row->rows, 0);
    atomic_store(&row->dead, 0);
    atomic_store_explicit(&row->oid, 0, memory_order_release);
}
