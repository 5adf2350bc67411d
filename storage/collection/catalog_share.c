/*
 * catalog_share.c - the catalog's part of shared memory: version, sections, numbers, claims.
 *
 * Each slot has one line of its own: the version at which its process entered its section (0: it is
 * in none), and the heap it has claimed.  A line counts only if its generation is the slot's, and
 * the slot's process is alive: so nothing need be taken back when one dies.
 *
 * INVARIANTS
 *   V1  The version is raised after the commit that changes a definition is visible.  Who loads a
 *       definition reads the version first: what it keeps under the new version is the new one.
 *   V2  A process writes its line before it looks at the version again (both sequentially
 *       consistent); whoever raises the version looks at the lines after.  So either the process
 *       enters at the new version, or its line is seen.
 *   V3  An oid is given out only below the bound that the log has.
 *
 * IF A PROCESS DIES between a commit and the raising of the version, others go on with the old
 * definition until the next raising (the undertaker's, by catalog_end_dead): for them the change
 * happens then.  Nobody was told that it had happened, so that is as good a moment as any: README.
 */
#include "storage/collection/catalog_share.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/panic.h"
#include "shmem/latch.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "wal/wal_insert.h"

#define OIDS_AT_ONCE   32u
#define LINES_RESERVED 64u /* for processes that are no backends; more than shmem/proc.c has */

struct line {
    _Alignas(64) _Atomic uint64_t section; /* guard: own process */
    _Atomic uint64_t generation;           /* of the slot when it was written; guard: own process */
    _Atomic uint64_t claim;                /* file of a heap; guard: own process, set under lock */
};
_Static_assert(sizeof(struct line) == 64, "one cache line a slot");

struct share {
    _Alignas(64) _Atomic uint64_t version;        /* guard: none, only raised */
    _Alignas(64) _Atomic uint64_t schema_version; /* guard: none, a counter */
    _Atomic uint64_t next_oid;                    /* guard: lock */
    _Atomic uint64_t oid_bound;                   /* in the log; guard: lock */
    struct lwlock lock;
    uint64_t life;              /* the first version; const after init */
    _Atomic uint64_t abandoned; /* guard: none, a flag */
    struct line line[];
};

/* What a WAL_NUMBERS record says. */
struct numbers {
    uint64_t oid_bound;
    uint64_t schema_version;
};
_Static_assert(sizeof(struct numbers) == 16, "on disk");

static struct share *shared;
static _Thread_local unsigned depth;      /* of nested sections */
static _Thread_local uint64_t entered_at; /* the version, while depth > 0 */
static _Thread_local struct line *own;    /* this process's, while depth > 0 */

/* Slots are not there yet when sizes are asked for. */
static size_t
lines_wanted(const struct config *config)
{
    return (size_t)(config->server_max_connections + config->server_spare_backends_max) +
           LINES_RESERVED;
}

size_t
catalog_share_size(const struct config *config)
{
    return sizeof(struct share) + lines_wanted(config) * sizeof(struct line);
}

void
catalog_share_init(void *zeroed, const struct config *config)
{
    shared = zeroed;
    invariant(proc_count() <= lines_wanted(config));
    lwlock_init(&shared->lock, RANK_CATALOG);
    /* Copies that a process has kept from another segment are older than this. */
    shared->life = (uint64_t)clock_wall_ms() * 1000000u;
    atomic_store(&shared->version, shared->life);
}

/* ---- sections ---- */

static struct line *
own_line(void)
{
    invariant(proc_self != NULL);
    if (depth == 0)
        own = &shared->line[proc_self->index];
    return own;
}

static void
take_line(struct line *line)
{
    uint64_t generation = atomic_load_explicit(&proc_self->generation, memory_order_relaxed);

    if (atomic_load_explicit(&line->generation, memory_order_relaxed) == generation)
        return;
    atomic_store(&line->section, 0);
    atomic_store(&line->claim, 0);
    atomic_store(&line->generation, generation);
}

void
catalog_share_enter(void)
{
    struct line *line;
    uint64_t version, again;

    if (depth > 0) {
        depth++;
        return;
    }
    line = own_line();
    depth = 1;
    take_line(line);
    version = atomic_load(&shared->version);
    for (;;) {
        atomic_store(&line->section, version); /* V2 */
        again = atomic_load(&shared->version);
        if (again == version)
            break;
        version = again;
    }
    entered_at = version;
}

void
catalog_share_leave(void)
{
    invariant(depth > 0);
    if (--depth == 0)
        atomic_store_explicit(&own->section, 0, memory_order_release);
}

bool
catalog_share_inside(void)
{
    return depth > 0;
}

uint64_t
catalog_share_section(void)
{
    invariant(depth > 0);
    return entered_at;
}

uint64_t
catalog_share_version(void)
{
    return atomic_load(&shared->version);
}

uint64_t
catalog_share_bump(void)
{
    return atomic_fetch_add(&shared->version, 1) + 1;
}

uint64_t
catalog_share_life(void)
{
    return shared->life;
}

/* Whether what stands in the line is a living process's. */
static bool
line_counts(unsigned slot)
{
    const struct line *line = &shared->line[slot];

    return atomic_load(&line->generation) == atomic_load(&proc_at(slot)->generation) &&
           !proc_is_dead(slot);
}

bool
catalog_share_is_older(unsigned slot, uint64_t version)
{
    uint64_t section = atomic_load(&shared->line[slot].section);

    return section != 0 && section < version && line_counts(slot);
}

bool
catalog_share_passed(uint64_t version)
{
    unsigned slots = proc_high_water();

    for (unsigned i = 0; i < slots; i++)
        if (catalog_share_is_older(i, version))
            return false;
    return true;
}

/* ---- numbers ---- */

/* The log's room is reserved. */
static void
log_numbers(uint64_t oid_bound, uint64_t schema_version, xid_t xid)
{
    struct numbers numbers = { oid_bound, schema_version };

    crit_begin();
    wal_insert_begin();
    wal_insert_data(&numbers, sizeof numbers);
    (void)wal_insert(WAL_NUMBERS, xid);
    crit_end();
}

err_t
catalog_share_oid(uint64_t *oid)
{
    uint64_t next;

    TRY_RETURN(wal_insert_reserve(sizeof(struct numbers)));
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    next = atomic_load(&shared->next_oid);
    if (next >= atomic_load(&shared->oid_bound)) {
        log_numbers(next + OIDS_AT_ONCE, atomic_load(&shared->schema_version), 0); /* V3 */
        atomic_store(&shared->oid_bound, next + OIDS_AT_ONCE);
    }
    atomic_store(&shared->next_oid, next + 1);
    lwlock_release(&shared->lock);
    *oid = next;
    return OK;
}

void
catalog_share_numbers(uint64_t *next_oid, uint64_t *schema_version)
{
    *next_oid = atomic_load(&shared->oid_bound);
    *schema_version = atomic_load(&shared->schema_version);
}

static void
raise(_Atomic uint64_t *number, uint64_t least)
{
    uint64_t seen = atomic_load(number);

    while (seen < least && !atomic_compare_exchange_weak(number, &seen, least))
        ;
}

void
catalog_share_restore(uint64_t next_oid, uint64_t schema_version)
{
    raise(&shared->next_oid, next_oid);
    raise(&shared->oid_bound, next_oid);
    raise(&shared->schema_version, schema_version);
}

uint64_t
catalog_share_schema_version(void)
{
    return atomic_load(&shared->schema_version);
}

err_t
catalog_share_schema_change(xid_t xid)
{
    TRY_RETURN(wal_insert_reserve_shrink(sizeof(struct numbers)));
    log_numbers(
        atomic_load(&shared->oid_bound), atomic_fetch_add(&shared->schema_version, 1) + 1, xid);
    return OK;
}

err_t
catalog_share_redo(const struct wal_record *record)
{
    struct numbers numbers;

    if (record->data.size != sizeof numbers)
        return err_set(
            ERR_CORRUPT, "a record of the catalog's numbers has %zu bytes", record->data.size);
    memcpy(&numbers, record->data.data, sizeof numbers);
    catalog_share_restore(numbers.oid_bound, numbers.schema_version);
    return OK;
}

err_t
catalog_share_describe(const struct wal_record *record, struct buf *text)
{
    struct numbers numbers = { 0, 0 };

    if (record->data.size == sizeof numbers)
        memcpy(&numbers, record->data.data, sizeof numbers);
    return buf_printf(text, "oids below %" PRIu64 " schema version %" PRIu64, numbers.oid_bound,
        numbers.schema_version);
}

/* ---- claims ---- */

bool
catalog_share_claim(fileno_t heap)
{
    struct line *line = own_line();
    unsigned slots = proc_high_water();
    bool free = true;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    take_line(line);
    for (unsigned i = 0; i < slots && free; i++)
        free = atomic_load(&shared->line[i].claim) != heap || !line_counts(i);
    if (free)
        atomic_store(&line->claim, heap);
    lwlock_release(&shared->lock);
    return free;
}

void
catalog_share_claim_end(void)
{
    atomic_store(&own_line()->claim, 0);
}

static void
wake_autovacuum(void)
{
    unsigned slots = proc_high_water();

    for (unsigned i = 0; i < slots; i++) {
        struct proc *proc = proc_at(i);

        if (atomic_load(&proc->state) != PROC_FREE && atomic_load(&proc->kind) == PROC_AUTOVACUUM)
            latch_set(proc);
    }
}

void
catalog_share_abandon(void)
{
    atomic_store(&shared->abandoned, 1);
    wake_autovacuum();
}

void
catalog_share_claim_dead(unsigned slot)
{
    const struct line *line = &shared->line[slot];

    if (atomic_load(&line->generation) == atomic_load(&proc_at(slot)->generation) &&
        atomic_load(&line->claim) != 0)
        catalog_share_abandon();
}

bool
catalog_share_abandoned(void)
{
    return atomic_load_explicit(&shared->abandoned, memory_order_relaxed) != 0 &&
           atomic_exchange(&shared->abandoned, 0) != 0;
}
