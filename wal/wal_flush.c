/*
 * wal_flush.c - getting the log to the disk.
 *
 * Who wants something flushed and finds the file's lock free is the leader of a round: it
 * writes all that is ready, syncs once, and tells those who wait.  Who comes while a round runs is
 * either covered by it, and waits for its end, or by the next one.  The first of the latter is the
 * successor: it alone is woken to lead the next round, and the others sleep through until their own
 * is done.
 *
 *     round n        round n+1                  waits on
 *     [ leader ]     [ successor leads ]
 *      covered:  ..............................  covered[n % 4]
 *                     later ones: ............. covered[(n + 1) % 4], except
 *                     the first of them:        succession
 *
 * INVARIANTS
 *   W1  synced ≤ flushed ≤ written ≤ position, and none of them ever goes back.
 *   W2  The bytes in the file before `written` are final: they are written once, exactly; behind
 *       them, up to the end of their 4 KiB, there are zeros.
 *   W3  A failed write or sync ends the server; it is never tried again.
 *   W4  A round is over before its lock is free, the lock is free before the successor is woken,
 *       and a successor looks at the lock after it has made itself known: so there is no moment in
 *       which somebody waits for a round that nobody will lead.
 *   W5  Who waits for the next round's end has seen a successor after it was ready to be woken; a
 *       successor that leaves without leading takes its mark away, then wakes those who relied on
 *       it.
 *
 * LOCKS  RANK_WAL_WRITE: the file, and this process's descriptors.
 *
 * IF A PROCESS DIES as the leader, its lock is released by the undertaker; nothing is half done: to
 * write the same bytes again, or to sync again, changes nothing.  Those who waited for it look
 * again after 100 ms.  The same holds for a successor.
 */
#include "wal/wal_flush.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/crit.h"
#include "base/delay.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/condition.h"
#include "shmem/counters.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "wal/control.h"
#include "wal/wal_ring.h"
#include "wal/wal_room.h"
#include "wal/wal_segment.h"

#define SECTOR 4096u
#define STAGE  ((size_t)64 << 10) /* a write of at most this goes through `stage` */
#define ROUNDS 4u
#define SPINS  64
#define PATIENT \
    200 /* looks for inserters that are about to be ready, before a batch goes without them */

struct flush {
    _Alignas(64) _Atomic lsn_t written; /* guard: lock; read by all; W1 */
    _Atomic lsn_t flushed;              /* guard: lock; read by all; W1 */
    _Atomic lsn_t synced;               /* guard: lock; read by all; W1 */
    bool sync;                          /* const after init */
    _Alignas(64) struct lwlock lock;    /* RANK_WAL_WRITE */
    _Atomic lsn_t target;       /* guard: lock; read by all: what the running round covers */
    _Atomic uint32_t round;     /* guard: lock; read by all: rounds begun */
    _Atomic uint32_t successor; /* guard: none, a CAS from 0; slot + 1; cleared by leaders */
    struct condition covered[ROUNDS];
    struct condition succession;
};

static struct flush *shared;

/* Descriptors of this process.  guard: RANK_WAL_WRITE, which also keeps threads apart. */
static int log_fd = -1;
static uint64_t log_segment; /* which one log_fd is */
static int hint_fd = -1;
static bool hint_failed; /* told once */
static _Alignas(4096) uint8_t stage[STAGE + SECTOR];

size_t
wal_flush_size(const struct config *config)
{
    (void)config;
    return sizeof *shared + 64;
}

void
wal_flush_init(void *zeroed, const struct config *config)
{
    shared = (void *)(((uintptr_t)zeroed + 63) & ~(uintptr_t)63);
    shared->sync = config->wal_sync;
    lwlock_init(&shared->lock, RANK_WAL_WRITE);
    for (unsigned i = 0; i < ROUNDS; i++)
        condition_init(&shared->covered[i]);
    condition_init(&shared->succession);
}

lsn_t
wal_flush_done(void)
{
    return atomic_load_explicit(&shared->flushed, memory_order_acquire);
}

lsn_t
wal_flush_synced(void)
{
    return atomic_load_explicit(&shared->synced, memory_order_relaxed);
}

int
wal_flush_leader(void)
{
    return lwlock_owner(&shared->lock);
}

err_t
wal_flush_verify(void)
{
    /* In this order: each only grows. */
    lsn_t synced = atomic_load(&shared->synced);
    lsn_t flushed = atomic_load(&shared->flushed);
    lsn_t written = atomic_load(&shared->written);

    TRY_RETURN(lwlock_verify(&shared->lock));
    if ((shared->sync && synced > flushed) || flushed > written || written > wal_ring_position())
        return err_set(ERR_INTERNAL, "the log's positions are damaged"); /* W1 */
    return OK;
}

void
wal_flush_set_done(lsn_t position)
{
    atomic_store(&shared->written, position);
    atomic_store(&shared->flushed, position);
    if (shared->sync)
        atomic_store(&shared->synced, position);
}

void
wal_flush_close(void)
{
    file_close(log_fd);
    file_close(hint_fd);
    log_fd = hint_fd = -1;
    log_segment = 0;
}

/* A failed write or sync: say so, and end (W3). */
static void
must(err_t err)
{
    if (err == OK)
        return;
    log_fatal("%s; the server stops and recovers from its log", err_message());
    panic(__FILE__, __LINE__, "the log cannot be written");
}

/* The file of this segment, open.  Under the lock. */
static err_t
open_segment(uint64_t number)
{
    char folder[WAL_SEGMENT_PATH_MAX];

    if (log_fd >= 0 && log_segment == number)
        return OK;
    file_close(log_fd);
    log_fd = -1;
    TRY_RETURN(wal_segment_folder(control_data_dir(), folder));
    TRY_RETURN(wal_segment_open(folder, number, true, &log_fd, NULL));
    log_segment = number;
    return OK;
}

/* Note how far the log is on disk.  It is evidence for recovery, not a promise: a failure is told,
   and no more. */
static void
write_hint(lsn_t synced)
{
    struct wal_format_hint hint = {
        .magic = WAL_FORMAT_HINT_MAGIC, .system_id = wal_ring_system_id(), .flushed = synced
    };

    hint.crc = crc32c(0, &hint, offsetof(struct wal_format_hint, crc));
    if (hint_fd < 0 || crit_active())
        return; /* an error in a critical section would be a panic */
    if (file_write(hint_fd, "the log's file \"flushed\"", &hint, sizeof hint, 0, FAULT_WAL_HINT) ==
        OK)
        return;
    if (!hint_failed)
        log_warn("%s; damage of the log may be taken for its end", err_message());
    hint_failed = true;
}

static void
open_hint(void)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    char path[WAL_SEGMENT_PATH_MAX + 16];

    if (hint_fd >= 0 || crit_active() || wal_segment_folder(control_data_dir(), folder) != OK)
        return;
    (void)snprintf(path, sizeof path, "%s/flushed", folder);
    if (file_open(path, O_RDWR | O_CREAT, 0600, &hint_fd, NULL) != OK && !hint_failed) {
        log_warn("%s; damage of the log may be taken for its end", err_message());
        hint_failed = true;
    }
}

err_t
wal_flush_open(lsn_t position)
{
    wal_flush_close();
    wal_flush_set_done(position);
    hint_failed = false;
    open_hint();
    /* It may have been higher: what was not whole was cut off.  Recovery has synced what is before
       the position, whatever wal.sync says. */
    write_hint(position);
    return hint_fd >= 0 ? file_sync(hint_fd, "the log's file \"flushed\"", FAULT_WAL_HINT_SYNC)
                        : OK;
}

/* Write a few bytes that lie in one segment.  If they are the first in their last 4 KiB, fill these
   up with zeros: then nothing has to be read for the rest, and what an old segment left there is
   gone. */
static err_t
write_piece(lsn_t from, const uint8_t *bytes, size_t size)
{
    uint64_t at = wal_format_offset(from);
    uint64_t end = at + size;
    uint64_t whole = (end + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    bool fresh = (end & (SECTOR - 1)) != 0 && (end & ~(uint64_t)(SECTOR - 1)) >= at;
    uint64_t stage_from = at;

    if (!fresh)
        return file_write(log_fd, "the log", bytes, size, at, FAULT_WAL_WRITE);
    if (size > STAGE) {
        stage_from = end & ~(uint64_t)(SECTOR - 1);
        TRY_RETURN(
            file_write(log_fd, "the log", bytes, (size_t)(stage_from - at), at, FAULT_WAL_WRITE));
    }
    memcpy(stage, bytes + (stage_from - at), (size_t)(end - stage_from));
    memset(stage + (end - stage_from), 0, (size_t)(whole - end));
    return file_write(
        log_fd, "the log", stage, (size_t)(whole - stage_from), stage_from, FAULT_WAL_WRITE);
}

static err_t
sync_segment(lsn_t end)
{
    if (shared->sync) {
        counters_add(COUNTER_WAL_SYNCS, 1);
        TRY_RETURN(file_sync(log_fd, "the log", FAULT_WAL_SYNC));
        (void)fault_pass(FAULT_WAL_SYNCED);
        atomic_store_explicit(&shared->synced, end, memory_order_release);
    }
    atomic_store_explicit(&shared->flushed, end, memory_order_release);
    return OK;
}

/* Write everything up to `end`, which is ready.  Under the lock. */
static err_t
write_up_to(lsn_t end)
{
    lsn_t from = atomic_load(&shared->written);

    while (from < end) {
        size_t size;
        const uint8_t *bytes = wal_ring_at(from, &size);
        uint64_t segment = wal_format_segment_of(from);
        size_t left = WAL_SEGMENT_SIZE - wal_format_offset(from);

        size = size < left ? size : left;
        size = size < end - from ? size : (size_t)(end - from);
        TRY_RETURN(open_segment(segment));
        TRY_RETURN(write_piece(from, bytes, size));
        from += size;
        atomic_store_explicit(&shared->written, from, memory_order_release); /* W1 */
        if (size == left) {
            (void)fault_pass(FAULT_WAL_SWITCH);
            TRY_RETURN(sync_segment(from)); /* the next sync is for another file */
        }
    }
    return OK;
}

/* Let somebody else do something: first by spinning, then by sleeping. */
static void
linger(unsigned *times)
{
    const struct timespec pause = { .tv_nsec = 50000 };

    if (++*times < SPINS)
        __builtin_ia32_pause();
    else if (*times < 2 * SPINS)
        (void)sched_yield();
    else
        (void)nanosleep(&pause, NULL);
}

void
wal_flush_await_room(lsn_t end)
{
    uint64_t capacity = wal_ring_capacity();
    unsigned times = 0;

    if (__builtin_expect(
            atomic_load_explicit(&shared->written, memory_order_acquire) + capacity >= end, 1))
        return;
    proc_wait_begin(WAIT_WAL_SPACE, end);
    /* Never sleep on the lock here: its holder may be waiting for us to copy. */
    while (atomic_load_explicit(&shared->written, memory_order_acquire) + capacity < end) {
        if (lwlock_try(&shared->lock, LW_EXCLUSIVE)) {
            must(write_up_to(wal_ring_ready(wal_ring_position())));
            lwlock_release(&shared->lock);
        }
        if (atomic_load_explicit(&shared->written, memory_order_acquire) + capacity < end)
            linger(&times);
    }
    proc_wait_end();
}

/* How far the log can be written now: at least to `lsn`, with more if it is about to be ready. */
static lsn_t
gather(lsn_t lsn)
{
    lsn_t position = wal_ring_position();
    lsn_t ready;
    unsigned looks = 0;
    unsigned times = 0;

    invariant(lsn <= position);
    while ((ready = wal_ring_ready(position)) < position && looks++ < PATIENT)
        __builtin_ia32_pause();
    while (ready < lsn) {
        must(write_up_to(ready)); /* perhaps it waits for room */
        if (times == 2 * SPINS)   /* its process was stopped: to be seen */
            proc_wait_begin(WAIT_WAL_COPY, lsn);
        linger(&times);
        ready = wal_ring_ready(position);
    }
    if (times > 2 * SPINS)
        proc_wait_end();
    return ready;
}

/* One round.  The lock is held, and free afterwards. */
static void
lead(lsn_t lsn)
{
    uint32_t round = atomic_load(&shared->round) + 1;
    lsn_t end;

    atomic_store(&shared->successor, 0);
    atomic_store(&shared->round, round);
    if (atomic_load(&shared->flushed) < lsn) {
        open_hint();
        end = gather(lsn);
        atomic_store(&shared->target, end);
        must(write_up_to(end));
        (void)fault_pass(FAULT_WAL_WRITTEN);
        if (atomic_load(&shared->flushed) < end) {
            must(open_segment(wal_format_segment_of(end - 1)));
            must(sync_segment(end));
        }
        if (shared->sync)
            write_hint(end);
    }
    delay_here();
    lwlock_release(&shared->lock); /* W4 */
    condition_wake(&shared->covered[round % ROUNDS]);
    condition_wake(&shared->succession);
}

/* Wait for a round that somebody else leads, or return at once if there may be none. */
static void
follow(lsn_t lsn)
{
    uint32_t own = 1 + proc_self->index;
    uint32_t none = 0;
    uint32_t round = atomic_load(&shared->round);
    bool covered = lsn <= atomic_load(&shared->target);
    struct condition *condition = &shared->covered[(covered ? round : round + 1) % ROUNDS];
    uint32_t seen;

    if (!covered && atomic_compare_exchange_strong(&shared->successor, &none, own))
        none = own;
    if (!covered && none == own)
        condition = &shared->succession;
    delay_here();
    seen = condition_prepare(condition);
    if (wal_flush_done() >= lsn || atomic_load(&shared->round) != round)
        return;
    if (!covered && atomic_load(&shared->successor) == 0) /* W5 */
        return;
    if (lwlock_try(&shared->lock, LW_EXCLUSIVE)) { /* W4 */
        lead(lsn);
        return;
    }
    condition_wait_plain(condition, seen, WAIT_WAL_FLUSH, lsn);
}

/* A successor that found itself covered owes those behind it a leader. */
static void
settle_succession(void)
{
    uint32_t own = 1 + proc_self->index;

    if (atomic_load(&shared->successor) != own)
        return;
    if (lwlock_try(&shared->lock, LW_EXCLUSIVE))
        lead(wal_ring_ready(wal_ring_position()));
    else if (atomic_compare_exchange_strong(&shared->successor, &own, 0)) /* W5 */
        condition_wake(&shared->covered[(atomic_load(&shared->round) + 1) % ROUNDS]);
}

void
wal_flush(lsn_t lsn)
{
    bool led = false;

    while (wal_flush_done() < lsn) {
        if (lwlock_try(&shared->lock, LW_EXCLUSIVE))
            lead(lsn);
        else
            follow(lsn);
        led = true;
    }
    if (led)
        settle_succession();
}

void
wal_flush_background(void)
{
    lsn_t ready;

    if (!wal_ring_is_open())
        return;
    (void)wal_room_make();
    ready = wal_ring_ready(wal_ring_position());
    /* Never wait for another's round: its leader may be waiting for an inserter, and that one for
       the segment that the WAL writer is to make. */
    if (wal_flush_done() < ready && lwlock_try(&shared->lock, LW_EXCLUSIVE))
        lead(ready);
}

bool
wal_flush_make_room(void)
{
    return wal_room_make();
}
