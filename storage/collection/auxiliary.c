/*
 * auxiliary.c - the engine's own workers.
 *
 * Each round does a bounded piece of work and says when the next is due; a failed round is logged
 * and tried again, since what failed (a full disk, say) may pass.
 */
#include "storage/collection/auxiliary.h"

#include "base/clock.h"
#include "base/log.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/proc.h"
#include "storage/collection/vacuum.h"
#include "storage/page/pool.h"
#include "storage/txn/snapshot.h"
#include "wal/checkpoint.h"
#include "wal/wal_flush.h"

#define VACUUM_MEMORY   ((size_t)256 << 20)
#define WRITE_PER_ROUND 128

static const struct config *settings; /* both const after auxiliary_configure */
static void (*reload_settings)(void);
static void (*chore_of_others)(void);

void
auxiliary_configure(const struct config *config, void (*reload)(void))
{
    settings = config;
    reload_settings = reload;
}

void
auxiliary_set_chore(void (*chore)(void))
{
    chore_of_others = chore;
}

/* Sleep until the latch is set or it is time; false: this worker is to end. */
static bool
rest_until(int64_t until_ns)
{
    if (!interrupt_pending(INTERRUPT_TERMINATE))
        (void)latch_wait(until_ns);
    latch_clear();
    if (interrupt_take(INTERRUPT_RELOAD) && reload_settings != NULL)
        reload_settings();
    return !interrupt_pending(INTERRUPT_TERMINATE);
}

static int64_t
in_ms(int64_t ms)
{
    return clock_now_ns() + ms * 1000000;
}

void
auxiliary_checkpointer(void)
{
    while (rest_until(checkpoint_round()))
        ;
}

void
auxiliary_wal_writer(void)
{
    while (rest_until(in_ms(settings->wal_writer_delay_ms))) {
        (void)wal_flush_make_room();
        wal_flush_background();
        /* Else it stands still after the last of many commits, and readers ask for the fates of
           rows that have long been seen by all. */
        (void)snapshot_horizon(false);
    }
    wal_flush_background();
}

void
auxiliary_buffer_writer(void)
{
    while (rest_until(in_ms(settings->buffer_writer_delay_ms)))
        (void)pool_write_some(WRITE_PER_ROUND);
}

static void
warn(err_t err)
{
    if (err != OK && err != ERR_TERMINATED)
        log_warn("vacuum: %s", err_message());
}

/* Whatever storage.autovacuum says: a unique index that nobody finishes would refuse writes. */
static void
clear_unfinished(struct op *op)
{
    warn(vacuum_unfinished(op));
    arena_reset(op->arena);
}

void
auxiliary_autovacuum(void)
{
    struct op op = { .verb = "vacuum" };

    op.arena = arena_create("autovacuum", VACUUM_MEMORY);
    if (op.arena == NULL) {
        log_error("%s", err_message());
        return;
    }
    clear_unfinished(&op); /* the one before this may have died at it */
    while (rest_until(in_ms(settings->autovacuum_naptime_secs * 1000))) {
        clear_unfinished(&op);
        if (chore_of_others != NULL)
            chore_of_others();
        warn(settings->autovacuum ? vacuum_round(&op, settings->autovacuum_scale_percent) : OK);
        arena_reset(op.arena);
    }
    arena_destroy(op.arena);
}
