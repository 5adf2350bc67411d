/*
 * checkpoint.c - checkpoints.
 *
 * The steps, and what the next start finds if all dies after one:
 *   1. redo point taken              the old checkpoint; a few more page images than needed
 *   2. numbers noted, parts flushed  the old checkpoint; replay finds pages that are newer
 *   3. record logged and flushed     the old checkpoint; the record says nothing to replay
 *   4. control file written          the new checkpoint
 *   5. old segments recycled         the new checkpoint; the rest is recycled by the next one
 *
 * INVARIANTS
 *   K1  One checkpoint at a time: RANK_CHECKPOINT is held from 1 to 5.
 *   K2  `begun` is raised before the redo point is taken, `finished` and `outcome` are set after
 *       step 4: who saw `begun` = n and then finished > n has all it did before on disk.
 *   K3  The control file never names a redo point before step 3 of that checkpoint is on disk.
 *
 * IF A PROCESS DIES in a checkpoint outside the critical section of the record, the lock is
 * released by the undertaker and the next request or round begins a new one.  Those who wait look
 * again after 100 ms, and ask again if nobody works on it.
 */
#include "wal/checkpoint.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/condition.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "wal/checkpoint_share.h"
#include "wal/wal_flush.h"
#include "wal/wal_format.h"
#include "wal/wal_insert.h"
#include "wal/wal_ring.h"
#include "wal/wal_room.h"

#define SECOND_NS 1000000000LL
#define NAP_NS    (100 * SECOND_NS / 1000)
#define RETRY_NS  (5 * SECOND_NS) /* after a failure */

struct points {
    struct lwlock lock; /* RANK_CHECKPOINT; K1 */
    struct condition done;
    _Atomic uint64_t begun;     /* guard: lock; read by all; K2 */
    _Atomic uint64_t finished;  /* guard: lock; read by all; K2: number of the last that ended */
    _Atomic uint32_t outcome;   /* guard: lock; read by all: err_t of the last that ended */
    _Atomic uint32_t wanted;    /* guard: atomic: 1: somebody asked; flags << 1 */
    _Atomic uint32_t fast;      /* guard: none, a flag: the running one must not be spread */
    _Atomic uint64_t completed; /* guard: lock; read by all */
    _Atomic uint64_t failed;    /* guard: lock; read by all */
    _Atomic lsn_t redo;         /* guard: lock; read by all: of the last complete one */
    _Atomic lsn_t end;          /* guard: lock; read by all: end of its record */
    _Atomic uint64_t cycle;     /* guard: lock: bytes of log between checkpoints, smoothed */
    _Atomic int64_t began_ms;   /* guard: lock; read by all: wall clock, of the last complete one */
    _Atomic int64_t took_ms;    /* guard: lock; read by all */
    _Atomic int64_t last_ns;    /* guard: lock; read by all: when the last one began */
    _Atomic int64_t
        failed_ns; /* guard: lock; read by all: when the last one failed; 0: it did not */
};
static struct points *shared;

static const struct config *settings;              /* const after init; RELOAD values may change */
static const struct checkpoint_part *const *parts; /* const after checkpoint_set_parts */
static size_t part_count;

/* Of the checkpoint that this process does.  guard: own process. */
static _Thread_local struct {
    bool running;
    int64_t began_ns;
    lsn_t redo;
    size_t part; /* which one is flushed */
} own;

size_t
checkpoint_share_size(const struct config *config)
{
    (void)config;
    return sizeof *shared;
}

void
checkpoint_share_init(void *zeroed, const struct config *config)
{
    shared = zeroed;
    settings = config;
    lwlock_init(&shared->lock, RANK_CHECKPOINT);
    condition_init(&shared->done);
}

void
checkpoint_share_open(lsn_t redo, lsn_t end)
{
    atomic_store(&shared->redo, redo);
    atomic_store(&shared->end, end);
    atomic_store(&shared->last_ns, clock_now_ns());
    atomic_store(&shared->cycle, 0);
}

void
checkpoint_set_parts(const struct checkpoint_part *const *table, size_t count)
{
    parts = table;
    part_count = count;
}

void
checkpoint_restore_parts(const uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    for (size_t i = 0; i < part_count; i++)
        if (parts[i]->restore != NULL)
            parts[i]->restore(numbers);
}

/* How much of the time and of the log that a checkpoint may take has gone by, in thousandths; the
 * larger. */
static int64_t
elapsed_share(void)
{
    int64_t share = settings->checkpoint_completion;
    int64_t time_ns = settings->checkpoint_timeout * SECOND_NS / 100 * share;
    int64_t bytes = settings->max_wal_size / 100 * share;
    int64_t by_time = (clock_now_ns() - own.began_ns) / (time_ns / 1000 + 1);
    int64_t by_bytes = (int64_t)(wal_ring_position() - own.redo) / (bytes / 1000 + 1);

    return by_time > by_bytes ? by_time : by_bytes;
}

/* More log than there should be already: one is late, say because each before it was cut off by a
   crash. */
static bool
is_late(void)
{
    return wal_ring_position() - atomic_load(&shared->redo) > (uint64_t)settings->max_wal_size;
}

static bool
must_hurry(void)
{
    return atomic_load_explicit(&shared->fast, memory_order_relaxed) != 0 || is_late() ||
           interrupt_pending(INTERRUPT_SHUTDOWN) || interrupt_pending(INTERRUPT_TERMINATE) ||
           wal_room_is_full();
}

void
checkpoint_pace(uint64_t done, uint64_t all)
{
    int64_t share;

    if (!own.running || all == 0)
        return;
    share = (int64_t)((own.part * 1000 + done * 1000 / all) / (part_count > 0 ? part_count : 1));
    if (share > 999)
        return; /* the last page: nothing more to spread */
    while (!must_hurry() && elapsed_share() < share) {
        wal_flush_background();
        latch_clear();
        if (must_hurry())
            return;
        (void)latch_wait(clock_now_ns() + NAP_NS);
    }
}

static err_t
flush_parts(void)
{
    for (size_t i = 0; i < part_count; i++) {
        own.part = i;
        if (parts[i]->flush != NULL)
            TRY_RETURN(parts[i]->flush());
    }
    return OK;
}

struct news {
    lsn_t checkpoint, redo;
    const uint64_t *numbers;
};

static void
take_news(struct control *control, void *context)
{
    const struct news *news = context;

    control->checkpoint = news->checkpoint;
    control->redo = news->redo;
    memcpy(control->numbers, news->numbers, sizeof control->numbers);
}

/* Log it; yields the start of the record. */
static lsn_t
log_record_of(const struct wal_format_checkpoint *data, lsn_t *end)
{
    lsn_t start;

    crit_begin();
    wal_insert_begin();
    wal_insert_data(data, sizeof *data);
    *end = wal_insert(WAL_CHECKPOINT, 0);
    start = wal_insert_start();
    crit_end();
    wal_flush(*end);
    return start;
}

/* Steps 1 to 5. */
static err_t
run_steps(unsigned flags)
{
    struct wal_format_checkpoint data = { .wall_ms = clock_wall_ms(), .flags = flags };
    struct control control;
    struct news news;
    uint64_t cycle;
    lsn_t end;

    TRY_RETURN(wal_room_promise(sizeof data, WAL_ROOM_CHECKPOINT));
    if ((flags & CHECKPOINT_FINAL) != 0)
        wal_room_stop();
    control_get(&control);
    memcpy(data.numbers, control.numbers, sizeof data.numbers);
    own.redo = data.redo = wal_ring_move_redo();
    (void)fault_pass(FAULT_CHECKPOINT_REDO);
    for (size_t i = 0; i < part_count; i++)
        if (parts[i]->note != NULL)
            parts[i]->note(data.numbers);
    TRY_RETURN(flush_parts());
    (void)fault_pass(FAULT_CHECKPOINT_FLUSHED);
    news = (struct news){ log_record_of(&data, &end), data.redo, data.numbers };
    (void)fault_pass(FAULT_CHECKPOINT_LOGGED);
    TRY_RETURN(control_update(take_news, &news)); /* K3 */
    (void)fault_pass(FAULT_CHECKPOINT_CONTROL);
    cycle = data.redo - atomic_load(&shared->redo);
    cycle = (atomic_load(&shared->cycle) * 3 + cycle) / 4;
    atomic_store(&shared->cycle, cycle);
    atomic_store(&shared->redo, data.redo);
    atomic_store(&shared->end, end);
    if (wal_room_recycle(data.redo, cycle) != OK)
        log_warn("%s; old log segments remain until the next checkpoint", err_message());
    return OK;
}

err_t
checkpoint_run(unsigned flags)
{
    int64_t began_ms = clock_wall_ms();
    uint64_t number;
    err_t err;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE); /* K1 */
    own.running = true;
    own.began_ns = clock_now_ns();
    own.part = 0;
    atomic_store(&shared->last_ns, own.began_ns);
    if ((flags & (CHECKPOINT_FAST | CHECKPOINT_FINAL)) != 0)
        atomic_store(&shared->fast, 1);
    number = atomic_load(&shared->begun) + 1;
    atomic_store(&shared->begun, number); /* K2 */
    err = run_steps(flags);
    if (err == OK) {
        atomic_fetch_add(&shared->completed, 1);
        atomic_store(&shared->began_ms, began_ms);
        atomic_store(&shared->took_ms, (clock_now_ns() - own.began_ns) / 1000000);
        atomic_store(&shared->failed_ns, 0);
    } else {
        atomic_fetch_add(&shared->failed, 1);
        atomic_store(&shared->failed_ns, clock_now_ns());
    }
    atomic_store(&shared->outcome, (uint32_t)err);
    atomic_store(&shared->finished, number);
    atomic_store(&shared->fast, 0);
    own.running = false;
    lwlock_release(&shared->lock);
    condition_wake(&shared->done);
    return err;
}

static struct proc *
checkpointer(void)
{
    unsigned used = proc_high_water();

    for (unsigned i = 0; i < used; i++) {
        struct proc *proc = proc_at(i);

        if (atomic_load(&proc->state) != PROC_FREE && atomic_load(&proc->kind) == PROC_CHECKPOINTER)
            return proc;
    }
    return NULL;
}

static void
ask(struct proc *proc, unsigned flags)
{
    atomic_fetch_or(&shared->wanted, 1u | flags << 1);
    if ((flags & CHECKPOINT_FAST) != 0)
        atomic_store(&shared->fast, 1);
    latch_set(proc);
}

err_t
checkpoint_request(struct op *op, unsigned flags, bool wait)
{
    struct proc *proc = checkpointer();
    uint64_t seen_begun;

    if (proc == NULL || proc == proc_self)
        return checkpoint_run(flags);
    seen_begun = atomic_load(&shared->begun);
    ask(proc, flags);
    while (wait) {
        uint32_t seen = condition_prepare(&shared->done);

        if (atomic_load(&shared->finished) > seen_begun) {
            err_t outcome = (err_t)atomic_load(&shared->outcome);

            return outcome == OK ? OK
                                 : err_set(outcome, "could not complete a checkpoint: see the "
                                                    "server's log");
        }
        /* Not begun yet, or whoever began it died: nobody works on it. */
        if ((atomic_load(&shared->begun) == seen_begun || lwlock_owner(&shared->lock) < 0) &&
            (proc = checkpointer()) != NULL)
            ask(proc, flags);
        TRY_RETURN(condition_wait(op, &shared->done, seen, WAIT_CHECKPOINT, 0));
    }
    return OK;
}

/* Is one due?  *flags: of which kind; *next_ns: else when to look again. */
static bool
is_due(unsigned *flags, int64_t *next_ns)
{
    int64_t now = clock_now_ns();
    int64_t failed = atomic_load(&shared->failed_ns);
    int64_t due = atomic_load(&shared->last_ns) + settings->checkpoint_timeout * SECOND_NS;
    uint32_t wanted = atomic_exchange(&shared->wanted, 0);
    uint64_t behind = wal_ring_position() - atomic_load(&shared->redo);

    *flags = wanted >> 1;
    *next_ns = now + SECOND_NS < due || due < now ? now + SECOND_NS : due;
    if (wanted != 0)
        return true;
    if (failed != 0 && now < failed + RETRY_NS)
        return false;
    /* The next one must be complete before max_wal_size is reached: half of it brings it on. */
    if (behind > (uint64_t)settings->max_wal_size / 2)
        return true;
    /* If it gives a segment back. */
    if (wal_room_is_full() && wal_format_segment_of(atomic_load(&shared->redo)) <
                                  wal_format_segment_of(wal_ring_position())) {
        *flags = CHECKPOINT_FAST;
        return true;
    }
    return now >= due && wal_ring_position() != atomic_load(&shared->end);
}

int64_t
checkpoint_round(void)
{
    int64_t next_ns = clock_now_ns() + SECOND_NS;
    unsigned flags;

    if (!wal_ring_is_open() || !is_due(&flags, &next_ns))
        return next_ns;
    if (checkpoint_run(flags) != OK)
        log_error("could not complete a checkpoint: %s; the last one stays valid", err_message());
    return clock_now_ns() + SECOND_NS;
}

int
checkpoint_runner(void)
{
    return lwlock_owner(&shared->lock);
}

void
checkpoint_status(struct checkpoint_status *status)
{
    *status = (struct checkpoint_status){
        .completed = atomic_load(&shared->completed),
        .failed = atomic_load(&shared->failed),
        .last_redo = atomic_load(&shared->redo),
        .last_began_ms = atomic_load(&shared->began_ms),
        .last_took_ms = atomic_load(&shared->took_ms),
    };
}
