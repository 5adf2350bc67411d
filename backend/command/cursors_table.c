/*
 * cursors_table.c - the places of cursors in shared memory.
 *
 * STATES of a place
 *
 *            add                 park
 *     FREE ───────▶ TAKEN ◀═════════════▶ PARKED
 *       ▲             │         take        │
 *       └─────────────┴── free (of a taken one; who wants to free a parked one takes it first)
 *
 * FORM of an id: 43 random bits, then the place's number in 20, so that it is found at once and
 * cannot be guessed; the sign bit is 0.
 *
 * INVARIANTS
 *   K1  A place is TAKEN by the process whose ledger names it, PARKED by nobody, FREE in the chain.
 *   K2  A snapshot's hold belongs to the place from the moment that it stands in `hold`, and is let
 *       go of in the same critical section that takes it out.
 *   K3  A file of a place, or of the sort saved in it, belongs to this run of the server: its name
 *       has the run's number, and the place's.
 *   K6  A file of a place that is FREE or PARKED is told of by the entry; while it is TAKEN one may
 *       be there of which the entry knows nothing yet, or nothing any more.
 *
 * IF A PROCESS DIES with a place taken, the undertaker frees the place (release_dead): the cursor
 * is lost, its snapshot is let go of, its files are removed by name (K6).  Inside a critical
 * section everything is restarted, and all files go.
 */
#include "backend/command/cursors_table.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/query/run.h"
#include "base/crit.h"
#include "base/file.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "base/rand.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"

#define INDEX_BITS 20
#define INDEX_MASK (((uint64_t)1 << INDEX_BITS) - 1)
#define DIR_MAX    4000

enum state { FREE, TAKEN, PARKED };

struct place {
    _Atomic uint32_t state; /* guard: lock; a glance without it only saves time */
    uint32_t taker;         /* slot number; guard: lock */
    uint32_t next;          /* in the chain of free ones; guard: lock */
    bool killed;            /* guard: lock */
    int64_t used_ns;        /* when it was parked; guard: lock */
    struct cursors_table_entry entry;
};

static struct table {
    struct lwlock lock;
    uint32_t count;         /* const after init */
    uint32_t free;          /* first of the chain; guard: lock */
    uint32_t high_water;    /* no place at or above was ever used; guard: lock */
    uint32_t run;           /* number of this run of the server; const after init */
    _Atomic uint64_t open;  /* guard: lock; read by all */
    _Atomic uint32_t swept; /* files of earlier runs are gone */
    uint32_t pad[3];
    char dir[DIR_MAX]; /* for files; const after init */
    _Alignas(64) struct place place[];
} * shared;

size_t
cursors_table_size(const struct config *config)
{
    return sizeof *shared + (size_t)config->max_cursors * sizeof(struct place);
}

/* K2: with the place taken, or its taker dead. */
static void
let_go_of_snapshot(struct place *place)
{
    uint32_t hold = place->entry.hold;

    if (hold == CURSORS_TABLE_NONE)
        return;
    crit_begin();
    place->entry.hold = CURSORS_TABLE_NONE;
    snapshot_let_go(hold);
    crit_end();
}

static bool
path_of(uint32_t index, char path[PATH_MAX])
{
    int size =
        snprintf(path, PATH_MAX, "%s/cursor-%08x-%u", shared->dir, shared->run, (unsigned)index);

    return size > 0 && size < PATH_MAX;
}

void
cursors_table_sort_name(uint32_t index, char name[SORTER_NAME_SIZE])
{
    (void)snprintf(name, SORTER_NAME_SIZE, "sort-%08x-%u", shared->run, (unsigned)index);
}

/* Whatever the entry says: K6. */
static void
remove_by_name(uint32_t index)
{
    char name[SORTER_NAME_SIZE], path[PATH_MAX];

    cursors_table_sort_name(index, name);
    if (snprintf(path, sizeof path, "%s/%s", shared->dir, name) < (int)sizeof path)
        (void)unlink(path);
    if (path_of(index, path))
        (void)unlink(path);
}

static void
remove_file(struct place *place, uint32_t index)
{
    char path[PATH_MAX];

    if (place->entry.state_size > 0 && !place->entry.state_in_file)
        run_forget((struct bytes){ place->entry.state, place->entry.state_size });
    if ((place->entry.query_in_file || place->entry.state_in_file || place->entry.next_size > 0) &&
        path_of(index, path))
        (void)unlink(path); /* what stays is removed by the next run (K3) */
}

/* Put an emptied place into the chain.  Under the lock. */
static void
chain(struct place *place, uint32_t index)
{
    crit_begin();
    place->state = FREE;
    place->killed = false;
    place->entry.id = 0;
    place->entry.owner = 0;
    place->entry.query_in_file = place->entry.state_in_file = false;
    place->entry.query_size = place->entry.state_size = place->entry.next_size = 0;
    place->next = shared->free;
    shared->free = index;
    (void)atomic_fetch_sub_explicit(&shared->open, 1, memory_order_relaxed);
    crit_end();
}

static void
empty(struct place *place, uint32_t index)
{
    let_go_of_snapshot(place);
    remove_file(place, index);
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    chain(place, index);
    lwlock_release(&shared->lock);
}

/* The undertaker's part: K1. */
static err_t
release_dead(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct place *place;
    bool mine;

    (void)state;
    if (id >= shared->count)
        return err_set(ERR_INTERNAL, "a dead process had cursor place %ju", (uintmax_t)id);
    place = &shared->place[id];
    lwlock_acquire(&shared->lock, LW_SHARED);
    mine = place->state == TAKEN && place->taker == slot && !mutant(MUTANT_LEFT_CURSOR);
    lwlock_release(&shared->lock);
    if (!mine)
        return OK;
    if (!mutant(MUTANT_LEFT_FILE))
        remove_by_name((uint32_t)id);
    empty(place, (uint32_t)id);
    return OK;
}

void
cursors_table_init(void *zeroed, const struct config *config)
{
    shared = zeroed;
    lwlock_init(&shared->lock, RANK_CURSORS);
    shared->count = (uint32_t)config->max_cursors;
    for (uint32_t i = 0; i < shared->count; i++) {
        shared->place[i].next = i + 1 < shared->count ? i + 1 : CURSORS_TABLE_NONE;
        shared->place[i].entry.hold = CURSORS_TABLE_NONE;
    }
    rand_secure(&shared->run, sizeof shared->run);
    (void)snprintf(shared->dir, sizeof shared->dir, "%s/tmp", config->server_data_dir);
    ledger_set_undo(LEDGER_CURSOR, (struct ledger_undo){ release_dead, NULL });
}

static int64_t
new_id(uint32_t index)
{
    uint64_t random;

    rand_secure(&random, sizeof random);
    random &= (uint64_t)INT64_MAX & ~INDEX_MASK;
    if (random == 0)
        random = INDEX_MASK + 1;
    return (int64_t)(random | index);
}

err_t
cursors_table_add(uint32_t *index)
{
    struct place *place = NULL;
    unsigned entry;

    TRY_RETURN(fault_check(FAULT_CURSOR_TAKE));
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    *index = shared->free;
    if (*index != CURSORS_TABLE_NONE) {
        place = &shared->place[*index];
        entry = ledger_intend(LEDGER_CURSOR, *index);
        crit_begin();
        shared->free = place->next;
        if (*index >= shared->high_water)
            shared->high_water = *index + 1;
        place->state = TAKEN;
        place->taker = proc_self->index;
        place->killed = false;
        place->entry.id = new_id(*index);
        place->entry.no_timeout = false;
        (void)atomic_fetch_add_explicit(&shared->open, 1, memory_order_relaxed);
        crit_end();
        ledger_confirm(entry);
    }
    lwlock_release(&shared->lock);
    (void)fault_pass(FAULT_CURSOR_TAKEN);
    if (place == NULL)
        return err_set(ERR_TOO_MANY, "too many open cursors: memory.max_cursors is %u",
            (unsigned)shared->count);
    return OK;
}

struct cursors_table_entry *
cursors_table_at(uint32_t index)
{
    invariant(index < shared->count);
    return &shared->place[index].entry;
}

/* The place of this id, or NULL.  Under the lock. */
static struct place *
find(int64_t id, uint32_t *index)
{
    *index = (uint32_t)((uint64_t)id & INDEX_MASK);
    if (id <= 0 || *index >= shared->count || shared->place[*index].state == FREE ||
        shared->place[*index].entry.id != id)
        return NULL;
    return &shared->place[*index];
}

/* Under the exclusive lock. */
static void
take(struct place *place, uint32_t index)
{
    unsigned entry = ledger_intend(LEDGER_CURSOR, index);

    crit_begin();
    place->state = TAKEN;
    place->taker = proc_self->index;
    crit_end();
    ledger_confirm(entry);
}

static void
clear_ledger(uint32_t index)
{
    int entry = ledger_find(LEDGER_CURSOR, index);

    invariant(entry >= 0); /* K1 */
    ledger_clear((unsigned)entry);
}

enum cursors_table_answer
cursors_table_take(int64_t id, const char *name, uint64_t owner, uint32_t *index)
{
    enum cursors_table_answer answer = CURSORS_TABLE_TAKEN;
    struct place *place;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    place = find(id, index);
    if (place == NULL || place->killed)
        answer = CURSORS_TABLE_MISSING;
    else if (name != NULL && strcmp(place->entry.name, name) != 0)
        answer = CURSORS_TABLE_OTHER_NAME;
    else if (name != NULL && place->entry.owner != owner)
        answer = CURSORS_TABLE_OTHER_OWNER;
    else if (place->state == TAKEN)
        answer = CURSORS_TABLE_BUSY;
    else
        take(place, *index);
    lwlock_release(&shared->lock);
    return answer;
}

void
cursors_table_park(uint32_t index, int64_t now_ns)
{
    struct place *place = &shared->place[index];
    bool killed;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    killed = place->killed;
    if (!killed) {
        crit_begin();
        place->used_ns = now_ns;
        place->state = PARKED;
        clear_ledger(index);
        crit_end();
    }
    lwlock_release(&shared->lock);
    (void)fault_pass(FAULT_CURSOR_PARKED);
    if (killed)
        cursors_table_free(index);
}

void
cursors_table_free(uint32_t index)
{
    empty(&shared->place[index], index);
    clear_ledger(index);
}

bool
cursors_table_kill(int64_t id, const char *name)
{
    struct place *place;
    uint32_t index;
    bool found, mine;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    place = find(id, &index);
    found =
        place != NULL && !place->killed && (name == NULL || strcmp(place->entry.name, name) == 0);
    mine = found && place->state == PARKED;
    if (mine)
        take(place, index);
    else if (found)
        place->killed = true;
    lwlock_release(&shared->lock);
    if (mine)
        cursors_table_free(index);
    return found;
}

void
cursors_table_sweep(uint64_t owner, int64_t idle_since_ns)
{
    uint32_t end = shared->high_water;

    if (cursors_table_count() == 0)
        return;
    for (uint32_t i = 0; i < end; i++) {
        struct place *place = &shared->place[i];
        bool mine;

        if (atomic_load_explicit(&place->state, memory_order_relaxed) != PARKED)
            continue;
        lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
        mine = place->state == PARKED && (owner == 0 || place->entry.owner == owner) &&
               (owner != 0 || (!place->entry.no_timeout && place->used_ns <= idle_since_ns));
        if (mine)
            take(place, i);
        lwlock_release(&shared->lock);
        if (mine)
            cursors_table_free(i);
    }
}

/* Under the lock. */
static const char *
odd_table(void)
{
    uint32_t free = 0, chained = 0, at;

    for (uint32_t i = 0; i < shared->count; i++) {
        const struct place *place = &shared->place[i];

        if (place->state > PARKED || (place->state == TAKEN && place->taker >= proc_count()))
            return "a place of the cursor table is damaged";
        if (place->state != FREE && i >= shared->high_water)
            return "a cursor lies beyond the table's end";
        free += place->state == FREE;
    }
    for (at = shared->free; at < shared->count && chained <= free; at = shared->place[at].next) {
        if (shared->place[at].state != FREE)
            break;
        chained++;
    }
    if (at != CURSORS_TABLE_NONE || chained != free)
        return "the list of free cursors is damaged";
    return atomic_load(&shared->open) != shared->count - free ? "cursors are miscounted" : NULL;
}

err_t
cursors_table_verify(void)
{
    const char *odd;

    lwlock_acquire(&shared->lock, LW_SHARED);
    odd = odd_table();
    lwlock_release(&shared->lock);
    return odd == NULL ? OK : err_set(ERR_INTERNAL, "%s", odd);
}

uint64_t
cursors_table_count(void)
{
    return atomic_load_explicit(&shared->open, memory_order_relaxed);
}

void
cursors_table_keep_snapshot(uint32_t index, const struct snapshot *snapshot, uint32_t hold)
{
    struct cursors_table_entry *entry = cursors_table_at(index);

    crit_begin(); /* K2 */
    entry->snapshot = *snapshot;
    entry->hold = hold;
    snapshot_pass(hold);
    crit_end();
}

/* Make the folder, and remove what an earlier run of the server left there (K3). */
static err_t
prepare_dir(void)
{
    char mine[32];
    bool made;
    DIR *dir;

    if (atomic_load_explicit(&shared->swept, memory_order_relaxed) != 0)
        return OK;
    TRY_RETURN(file_make_dir(shared->dir, 0700, &made));
    (void)snprintf(mine, sizeof mine, "cursor-%08x-", shared->run);
    dir = opendir(shared->dir);
    if (dir == NULL)
        return err_set_errno("could not read '%s'", shared->dir);
    for (const struct dirent *file = readdir(dir); file != NULL; file = readdir(dir))
        if (strncmp(file->d_name, "cursor-", 7) == 0 &&
            strncmp(file->d_name, mine, strlen(mine)) != 0)
            (void)unlinkat(dirfd(dir), file->d_name, 0);
    (void)closedir(dir);
    atomic_store_explicit(&shared->swept, 1, memory_order_relaxed);
    return OK;
}

static err_t
open_file(uint32_t index, int flags, char path[PATH_MAX], int *fd)
{
    if (!path_of(index, path))
        return err_set(ERR_IO, "the path of a cursor's file is too long");
    if ((flags & O_CREAT) != 0)
        TRY_RETURN(prepare_dir());
    return file_open(path, flags, 0600, fd, NULL);
}

err_t
cursors_table_write_query(uint32_t index, struct bytes query)
{
    struct cursors_table_entry *entry = cursors_table_at(index);
    char path[PATH_MAX];
    int fd;
    err_t err;

    TRY_RETURN(open_file(index, O_RDWR | O_CREAT | O_TRUNC, path, &fd));
    entry->query_in_file = true; /* from here on there is something to remove */
    entry->query_size = (uint32_t)query.size;
    err = file_write(fd, path, query.data, query.size, 0, FAULT_TEMP_WRITE);
    file_close(fd);
    return err;
}

err_t
cursors_table_write_tail(uint32_t index, struct bytes state, struct bytes next)
{
    struct cursors_table_entry *entry = cursors_table_at(index);
    uint64_t at = entry->query_in_file ? entry->query_size : 0;
    char path[PATH_MAX];
    int fd;
    err_t err;

    TRY_RETURN(open_file(index, O_RDWR | O_CREAT, path, &fd));
    entry->next_size = (uint32_t)next.size;
    if (state.size > 0) {
        entry->state_in_file = true;
        entry->state_size = (uint32_t)state.size;
        TRY(file_write(fd, path, state.data, state.size, at, FAULT_TEMP_WRITE));
    }
    err = OK;
    if (next.size > 0)
        err = file_write(fd, path, next.data, next.size, at + state.size, FAULT_TEMP_WRITE);
out:
    file_close(fd);
    return err;
}

err_t
cursors_table_read_file(uint32_t index, struct arena *arena, struct bytes *query,
    struct bytes *state, struct bytes *next)
{
    const struct cursors_table_entry *entry = cursors_table_at(index);
    size_t query_size = entry->query_in_file ? entry->query_size : 0;
    size_t state_size = entry->state_in_file ? entry->state_size : 0;
    size_t size = query_size + state_size + entry->next_size;
    uint8_t *room = arena_alloc(arena, size + 1);
    char path[PATH_MAX];
    int fd;
    err_t err;

    if (room == NULL)
        return ERR_MEMORY;
    TRY_RETURN(open_file(index, O_RDONLY, path, &fd));
    err = file_read(fd, path, room, size, 0, NULL, FAULT_TEMP_READ);
    file_close(fd);
    if (query_size > 0)
        *query = (struct bytes){ room, query_size };
    if (state_size > 0)
        *state = (struct bytes){ room + query_size, state_size };
    *next = (struct bytes){ room + query_size + state_size, entry->next_size };
    return err;
}
