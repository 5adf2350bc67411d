/*
 * wal_room.c - segments made ahead.
 *
 * A promise is kept by counting: `made`, the end of the last segment that exists, stays ahead of
 * the log's position by all that was promised.  Each process has one promise at a time, written
 * in its own line of shared memory; nobody has to take back what a dead process was promised,
 * for the next owner of the slot writes over it.
 *
 * INVARIANTS
 *   M1  All segments from the log's position up to `made` exist, contiguous, complete.
 *   M2  position + what is promised + SLACK ≤ made whenever a promise is given.  A promise of up
 *       to the standard size is counted for every slot in use, whether given or not, so giving one
 *       reads no one else's line.
 *   M4  On a full disk there is room left for what ends that.  Who wants to grow is refused first,
 *       when all that is promised would not fit twice: so when all those promises have been used,
 *       deletes, commits, rollbacks and vacuum are still given theirs.  When they are refused,
 *       SLACK is left: a checkpoint lives on that, and its old segments are what all go on with.
 *   M3  Page images are not counted by callers: the standard size has room for WAL_RECORD_PAGES
 *       whole pages.  A caller that logs more of them on one promise may use more than it was
 *       promised; then wal_room_force waits for the disk rather than fail.
 *
 * LOCKS  RANK_WAL_RING: making and recycling, one at a time.
 *
 * IF A PROCESS DIES while it makes a segment: `made` is raised last; the segment is made again over
 * the half-made file, or found complete and taken.
 */
#include "wal/wal_room.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/latch.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "wal/control.h"
#include "wal/wal_page.h"
#include "wal/wal_ring.h"
#include "wal/wal_segment.h"

#define SLACK         ((uint64_t)256 << 10) /* for those who insert without a promise */
#define SHRINK_ROOM   ((uint64_t)1 << 20)   /* M4: for deletes, when nobody may grow any more */
#define RETRY_NS      100000000
#define STANDARD_DATA ((uint64_t)16 << 10)

struct line {
    _Alignas(64) _Atomic uint64_t promised; /* guard: own process; others read */
};

struct room {
    _Alignas(64) _Atomic lsn_t made; /* guard: lock; read by all; M1 */
    _Atomic uint32_t full;           /* guard: lock; read by all: the last try found no room */
    _Atomic uint32_t stopped;        /* guard: none, a flag */
    _Atomic int64_t tried_ns;        /* guard: lock; read by all */
    _Alignas(64) struct lwlock lock; /* RANK_WAL_RING */
    unsigned lines;                  /* const after init */
    _Alignas(64) struct line line[];
};

static struct room *shared;
static const struct config *settings; /* const after init; its RELOAD values may change */

/* One for each slot of a process; the reserve is the auxiliary processes'. */
static unsigned
lines_for(const struct config *config)
{
    return (unsigned)(config->server_max_connections + config->server_spare_backends_max) + 64;
}

size_t
wal_room_size(const struct config *config)
{
    return sizeof *shared + lines_for(config) * sizeof(struct line) + 64;
}

void
wal_room_init(void *zeroed, const struct config *config)
{
    shared = (void *)(((uintptr_t)zeroed + 63) & ~(uintptr_t)63);
    settings = config;
    shared->lines = lines_for(config);
    invariant(proc_count() <= shared->lines);
    lwlock_init(&shared->lock, RANK_WAL_RING);
}

void
wal_room_open(lsn_t made)
{
    invariant(made % WAL_SEGMENT_SIZE == 0);
    atomic_store(&shared->made, made);
    atomic_store(&shared->full, 0);
    atomic_store(&shared->stopped, 0);
}

void
wal_room_stop(void)
{
    atomic_store(&shared->stopped, 1);
}

bool
wal_room_is_full(void)
{
    return atomic_load_explicit(&shared->full, memory_order_relaxed) != 0;
}

/* Bytes that may be promised without being counted: a page of rows and what belongs to it. */
static uint64_t
standard_data(void)
{
    return STANDARD_DATA + wal_page_size;
}

/* What one process may use without having said more (M2, M3). */
static uint64_t
standard(void)
{
    return standard_data() + (uint64_t)WAL_RECORD_PAGES * (wal_page_size + 64);
}

/* What is promised in all, counting the standard size for every slot that has been used. */
static uint64_t
promised(void)
{
    uint64_t each = standard();
    unsigned used = proc_high_water();
    uint64_t sum = SLACK;

    for (unsigned i = 0; i < used && i < shared->lines; i++) {
        uint64_t one = atomic_load_explicit(&shared->line[i].promised, memory_order_relaxed);

        sum += one > each ? one : each;
    }
    return sum;
}

/* How far behind the position the segments must reach for a promise to be given: M2, M4. */
static uint64_t
needed(enum wal_room_purpose purpose)
{
    switch (purpose) {
    case WAL_ROOM_CHECKPOINT:
        return SLACK / 4;
    case WAL_ROOM_SHRINK:
        return promised();
    case WAL_ROOM_GROW:
    default:
        return 2 * promised() + SHRINK_ROOM;
    }
}

static struct proc *
process_of(enum proc_kind kind)
{
    unsigned used = proc_high_water();

    for (unsigned i = 0; i < used; i++) {
        struct proc *proc = proc_at(i);

        if (atomic_load(&proc->state) != PROC_FREE && atomic_load(&proc->kind) == kind)
            return proc;
    }
    return NULL;
}

/* The disk is full: say so once, and let a checkpoint give old segments back. */
static void
tell_full(void)
{
    struct proc *checkpointer = process_of(PROC_CHECKPOINTER);

    if (checkpointer != NULL && checkpointer != proc_self)
        latch_set(checkpointer);
    if (atomic_exchange(&shared->full, 1) == 0)
        log_error("the log's disk is full: the log goes on in the segments that it has, and writes "
                  "are refused while these are used up (%s)",
            err_message());
}

/* Make the next segment.  Under the lock. */
static err_t
make_next(void)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    lsn_t made = atomic_load(&shared->made);
    err_t err;

    atomic_store(&shared->tried_ns, clock_now_ns());
    TRY(wal_segment_folder(control_data_dir(), folder));
    TRY(wal_segment_create(folder, wal_format_segment_of(made)));
    (void)fault_pass(FAULT_WAL_MADE);
    atomic_store_explicit(&shared->made, made + WAL_SEGMENT_SIZE, memory_order_release); /* M1 */
out:
    if (err == ERR_DISK_FULL)
        tell_full();
    if (err == OK && atomic_exchange(&shared->full, 0) != 0)
        log_info("the log's disk has room again");
    return err;
}

/* Was it tried and found full a moment ago? */
static bool
is_full_still(void)
{
    return wal_room_is_full() && clock_now_ns() - atomic_load(&shared->tried_ns) < RETRY_NS;
}

/* Make segments until `need` bytes fit behind the position.  Under the lock. */
static err_t
make_until(uint64_t need)
{
    while (wal_ring_position() + need > atomic_load(&shared->made)) {
        if (is_full_still())
            return err_set(ERR_DISK_FULL, "could not write: the log's disk is full");
        TRY_RETURN(make_next());
    }
    return OK;
}

/* The process whose work it is to make segments, if there is one. */
static struct proc *
wal_writer(void)
{
    return process_of(PROC_WAL_WRITER);
}

/* The next segment but one is not there yet: leave it to the WAL writer as long as there is room
   for all promises; make it here if there is no writer. */
static err_t
promise_slowly(enum wal_room_purpose purpose)
{
    struct proc *writer = wal_writer();
    uint64_t need = needed(purpose);
    err_t err;

    if (wal_ring_position() + need <= atomic_load_explicit(&shared->made, memory_order_acquire) &&
        writer != NULL) {
        if (atomic_load_explicit(&writer->latch, memory_order_relaxed) == 0)
            latch_set(writer);
        return OK;
    }
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    err = make_until(need + WAL_SEGMENT_SIZE);
    if (err == ERR_DISK_FULL)
        err = make_until(need);
    lwlock_release(&shared->lock);
    return err;
}

err_t
wal_room_promise(size_t size, enum wal_room_purpose purpose)
{
    uint64_t used = proc_high_water();
    lsn_t made = atomic_load_explicit(&shared->made, memory_order_acquire);
    err_t err;

    if (atomic_load_explicit(&shared->stopped, memory_order_relaxed) != 0)
        return err_set(ERR_SHUTDOWN, "could not write: the server is shutting down");
    if (size > WAL_ROOM_RESERVE_MAX)
        return err_set(ERR_TOO_LARGE, "could not write %zu bytes at once: the limit is %zu", size,
            WAL_ROOM_RESERVE_MAX);
    atomic_store_explicit(&shared->line[proc_self->index].promised, size, memory_order_relaxed);
    if (size <= standard_data() &&
        wal_ring_position() + 2 * (SLACK + used * standard()) + SHRINK_ROOM + WAL_SEGMENT_SIZE <=
            made)
        return OK; /* M2, M4, and a segment more */

    err = promise_slowly(purpose);
    if (err != OK)
        atomic_store_explicit(&shared->line[proc_self->index].promised, 0, memory_order_relaxed);
    return err;
}

void
wal_room_use(size_t size)
{
    _Atomic uint64_t *line = &shared->line[proc_self->index].promised;
    uint64_t left = atomic_load_explicit(line, memory_order_relaxed);

    atomic_store_explicit(line, left > size ? left - size : 0, memory_order_relaxed);
}

void
wal_room_force(lsn_t end)
{
    const struct timespec pause = { .tv_nsec = RETRY_NS / 10 };
    unsigned tries = 0;

    /* M3.  The caller is in a critical section, where a call that fails is a panic: so a full
       disk is left to the WAL writer, if there is one, which may fail and try again. */
    while (__builtin_expect(end > atomic_load_explicit(&shared->made, memory_order_acquire), 0)) {
        struct proc *writer = wal_writer();

        if (writer == NULL || writer == proc_self) {
            lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
            if (end > atomic_load(&shared->made) && make_next() != OK)
                panic(__FILE__, __LINE__, "no room for a log record that was not promised any");
            lwlock_release(&shared->lock);
            continue;
        }
        latch_set(writer);
        if (++tries % 500 == 0)
            log_error("a write that has begun waits for room on the log's disk");
        (void)nanosleep(&pause, NULL);
    }
}

bool
wal_room_make(void)
{
    uint64_t need = needed(WAL_ROOM_GROW) + WAL_SEGMENT_SIZE;
    bool enough =
        wal_ring_position() + need <= atomic_load_explicit(&shared->made, memory_order_acquire);
    err_t err;

    if (enough && (!wal_room_is_full() || is_full_still()))
        return true;
    if (!lwlock_try(&shared->lock, LW_EXCLUSIVE))
        return enough || !wal_room_is_full();
    /* With enough, thanks to old segments, one is made to know whether the disk has room again. */
    err = enough ? make_next() : make_until(need);
    lwlock_release(&shared->lock);
    return err == OK;
}

/* How many segments are worth keeping ahead of the one being written. */
static uint64_t
worth_keeping(uint64_t cycle)
{
    uint64_t most = (uint64_t)settings->max_wal_size / WAL_SEGMENT_SIZE;
    uint64_t least = 2 + needed(WAL_ROOM_GROW) / WAL_SEGMENT_SIZE;
    uint64_t keep = 2 + (cycle + cycle / 4) / WAL_SEGMENT_SIZE;

    keep = keep > most ? most : keep;
    return keep < least ? least : keep;
}

/* One old segment.  Under the lock. */
static err_t
reuse(const char *folder, uint64_t number, uint64_t keep)
{
    lsn_t made = atomic_load(&shared->made);

    (void)fault_pass(FAULT_WAL_RECYCLE);
    if (wal_format_segment_of(made) > wal_format_segment_of(wal_ring_position()) + keep)
        return wal_segment_remove(folder, number);
    TRY_RETURN(wal_segment_recycle(folder, number, wal_format_segment_of(made)));
    (void)fault_pass(FAULT_WAL_RECYCLED);
    atomic_store_explicit(&shared->made, made + WAL_SEGMENT_SIZE, memory_order_release); /* M1 */
    return OK;
}

err_t
wal_room_recycle(lsn_t redo, uint64_t cycle)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    struct wal_segment_list list = { NULL, 0 };
    uint64_t keep;
    err_t err;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    keep = worth_keeping(cycle);
    TRY(wal_segment_folder(control_data_dir(), folder));
    TRY(wal_segment_list(folder, false, &list));
    for (size_t i = 0; i < list.count && list.number[i] < wal_format_segment_of(redo); i++)
        TRY(reuse(folder, list.number[i], keep));
out:
    lwlock_release(&shared->lock);
    wal_segment_list_free(&list);
    return err;
}
