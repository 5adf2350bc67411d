/*
 * txn.c - transactions: begin, the two ways to end, waiting, passing on, and burying.
 *
 * INVARIANTS
 *   T1  The order of a commit: bits and record, flush, number, clear the place, wake.  Nobody sees
 *       it before it is flushed (unless durability was not asked for), and nobody is told of it
 *       before it is seen.
 *   T2  From the record on, a commit is not taken back: what can fail comes before.
 *   T3  Files are removed after the end took effect; a failure there is logged, and the search for
 *       files that nobody owns finds them at the next start.
 *
 * IF A PROCESS DIES with a transaction, its place names the xid, and the clog tells how far it
 * came: bits set: the record is in the log; txn_end_dead flushes and numbers it.  Else it is rolled
 * back.
 */
#include "storage/txn/txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "shmem/condition.h"
#include "shmem/counters.h"
#include "storage/page/datafile.h"
#include "storage/txn/clog.h"
#include "storage/txn/csn.h"
#include "storage/txn/deadlock.h"
#include "storage/txn/txntable.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

#define CALLS_MAX     8
#define FILES_MAX     4096u /* at commit or at abort; a commit's are in its record */
#define REFRESH_EVERY 256u  /* commits between two computations of the horizon, at most */

struct files {
    fileno_t *file; /* malloced, kept for the next transaction */
    uint32_t count, capacity;
};

struct txn {
    struct snapshot snapshot;
    struct place *place;
    enum txn_isolation isolation;
    bool own_place;
    unsigned call_count;
    xid_t lost_to; /* it was waiting for this one when it was chosen to give way */
    struct files at_commit, at_abort;
    struct {
        void (*call)(void *context, bool committed);
        void *context;
    } call[CALLS_MAX];
    struct txn *next; /* in the list of those not in use */
};

/* What a WAL_COMMIT says besides its xid; the files' numbers follow. */
struct commit_record {
    int64_t time_ms; /* wall clock */
    uint32_t file_count;
    uint32_t zero;
};
_Static_assert(sizeof(struct commit_record) == 16, "a log record has no holes");

static _Thread_local struct txn *unused;

/* ---- shared memory, checkpoints ---- */

static size_t
round_up(size_t size)
{
    return (size + 63) / 64 * 64;
}

static size_t
region_size(const struct config *config)
{
    return round_up(txntable_size(config)) + csn_size(config);
}

static void
region_init(void *zeroed, const struct config *config)
{
    txntable_init(zeroed, config);
    csn_init((char *)zeroed + round_up(txntable_size(config)), config);
}

const struct region txn_region = { "transactions", region_size, region_init };

static void
note(uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    numbers[CONTROL_NEXT_XID] = csn_bound_noted();
}

static void
restore(const uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    csn_restore_bound(numbers[CONTROL_NEXT_XID]);
}

const struct checkpoint_part txn_part = { "transactions", note, restore, NULL };

void
txn_recovered(void)
{
    csn_recovered();
}

void
txn_skip(uint64_t lost)
{
    txntable_set_next_xid(txntable_next_xid() + lost / sizeof(struct commit_record));
}

void
txn_set_deadlock_timeout_ms(int64_t ms)
{
    txntable_set_deadlock_timeout_ms(ms);
}

/* ---- private memory ---- */

static err_t
allocate(struct txn **txn)
{
    if (unused == NULL) {
        unused = calloc(1, sizeof *unused);
        if (unused == NULL)
            return err_set(ERR_MEMORY, "could not begin a transaction: out of memory");
    }
    *txn = unused;
    unused = unused->next;
    return OK;
}

static void
release(struct txn *txn)
{
    txn->next = unused;
    unused = txn;
}

void
txn_forget_private(void)
{
    while (unused != NULL) {
        struct txn *txn = unused;

        unused = txn->next;
        free(txn->at_commit.file);
        free(txn->at_abort.file);
        free(txn);
    }
}

/* ---- begin ---- */

err_t
txn_begin(struct op *op, enum txn_isolation isolation, bool own_place, struct txn **txn)
{
    struct txn *new;
    err_t err;

    (void)op;
    if (isolation == TXN_SERIALIZABLE)
        return err_set(ERR_COMMAND_NOT_SUPPORTED, "serializable transactions are not offered yet");
    TRY_RETURN(allocate(&new));
    if (own_place) {
        new->place = txntable_own();
        invariant(atomic_load_explicit(&new->place->csn, memory_order_relaxed) == 0);
    } else {
        TRY(txntable_take(PLACE_TXN, 0, &new->place));
        counters_add(COUNTER_TXN_STARTED, 1);
    }
    new->isolation = isolation;
    new->own_place = own_place;
    new->call_count = 0;
    new->lost_to = 0;
    new->at_commit.count = new->at_abort.count = 0;
    new->snapshot.own = 0;
    new->snapshot.command = 1;
    txntable_snapshot(new->place, &new->snapshot);
    *txn = new;
    return OK;
out:
    release(new);
    return err;
}

err_t
txn_next_statement(struct txn *txn)
{
    if (txn->snapshot.command == UINT32_MAX)
        return err_set(ERR_TXN_TOO_LARGE, "too many statements in one transaction");
    txn->snapshot.command++;
    if (txn->isolation <= TXN_READ_COMMITTED)
        txntable_snapshot(txn->place, &txn->snapshot);
    return OK;
}

const struct snapshot *
txn_snapshot(const struct txn *txn)
{
    return &txn->snapshot;
}

err_t
txn_xid(struct txn *txn, xid_t *xid)
{
    if (txn->snapshot.own == 0)
        TRY_RETURN(csn_give_xid(txn->place, &txn->snapshot.own));
    *xid = txn->snapshot.own;
    return OK;
}

xid_t
txn_xid_if_any(const struct txn *txn)
{
    return txn->snapshot.own;
}

uint32_t
txn_command(const struct txn *txn)
{
    return txn->snapshot.command;
}

enum txn_isolation
txn_isolation(const struct txn *txn)
{
    return txn->isolation;
}

/* ---- what is to be done at the end ---- */

static err_t
add_file(struct files *files, fileno_t file)
{
    if (files->count == FILES_MAX)
        return err_set(ERR_TXN_TOO_LARGE,
            "too many collections and indexes are made or dropped in one transaction: %u files",
            FILES_MAX);
    if (files->count == files->capacity) {
        uint32_t capacity = files->capacity > 0 ? files->capacity * 2 : 8;
        fileno_t *more = realloc(files->file, capacity * sizeof *more);

        if (more == NULL)
            return err_set(ERR_MEMORY, "could not note a file to be removed: out of memory");
        files->file = more;
        files->capacity = capacity;
    }
    files->file[files->count++] = file;
    return OK;
}

err_t
txn_unlink_at_commit(struct txn *txn, fileno_t file)
{
    return add_file(&txn->at_commit, file);
}

err_t
txn_unlink_at_abort(struct txn *txn, fileno_t file)
{
    return add_file(&txn->at_abort, file);
}

err_t
txn_at_end(struct txn *txn, void (*call)(void *context, bool committed), void *context)
{
    if (txn->call_count == CALLS_MAX)
        return err_set(ERR_TXN_TOO_LARGE, "too many things to do at the end of a transaction");
    txn->call[txn->call_count].call = call;
    txn->call[txn->call_count++].context = context;
    return OK;
}

/* T3. */
static void
unlink_files(const fileno_t *file, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (datafile_unlink(file[i]) != OK)
            log_warn("could not remove data file %" PRIu32 ": %s", file[i], err_message());
    }
}

/* ---- errors met while an error is under way ---- */

/* A rollback is mostly the answer to an error: what fails in it must not take the place of that. */
struct saved_error {
    char message[512];
    char name[64];
    int code;
};

static void
save_error(struct saved_error *saved)
{
    (void)snprintf(saved->message, sizeof saved->message, "%s", err_message());
    (void)snprintf(saved->name, sizeof saved->name, "%s", err_last_name());
    saved->code = err_last_code();
}

static void
restore_error(const struct saved_error *saved)
{
    static _Thread_local char name[64];

    (void)snprintf(name, sizeof name, "%s", saved->name);
    err_note(ERR_OPERATION_FAILED, __FILE__, __LINE__, "%s", saved->message);
    err_set_mongo(saved->code, name);
}

/* ---- the end ---- */

/* The xid has ended and is cleared.  Clear the place, do what was to be done. */
static void
end(struct txn *txn, xid_t xid, bool committed)
{
    const struct files *files = committed ? &txn->at_commit : &txn->at_abort;

    if (!txn->own_place)
        counters_add(committed ? COUNTER_TXN_COMMITTED : COUNTER_TXN_ABORTED, 1);
    if (txn->own_place)
        atomic_store_explicit(&txn->place->csn, 0, memory_order_release);
    else
        txntable_give_back(txn->place);
    (void)fault_pass(FAULT_COMMIT_RELEASED);
    if (xid != 0)
        condition_wake(txntable_condition(xid));
    unlink_files(files->file, files->count);
    for (unsigned i = 0; i < txn->call_count; i++)
        txn->call[i].call(txn->call[i].context, committed);
    release(txn);
}

/* Put the fate on the clog's page, if that is possible: an xid that never gets one has failed, too.
   The files that it made are named, so that replay removes them where they were removed: their
   room may have been given to others since. */
static void
log_abort(xid_t xid, const struct files *made)
{
    size_t size = made != NULL ? made->count * sizeof(fileno_t) : 0;
    struct saved_error saved = { .code = 0 };
    buffer_t buffer;

    save_error(&saved);
    if (wal_insert_reserve_shrink(size) == OK && clog_pin(xid, &buffer) == OK)
        (void)clog_set(buffer, xid, XID_ABORTED, WAL_ABORT, size > 0 ? made->file : NULL, size);
    else
        restore_error(&saved);
}

void
txn_abort(struct op *op, struct txn *txn)
{
    xid_t xid = txn->snapshot.own;

    (void)op;
    if (xid != 0) {
        log_abort(xid, &txn->at_abort);
        (void)fault_pass(FAULT_ABORT_LOGGED);
        csn_abort(txn->place);
    }
    end(txn, xid, false);
}

/* Beat one of a commit: all that can fail.  The pages it will change are pinned. */
static err_t
prepare(xid_t xid, size_t size, buffer_t *clog, buffer_t *spill)
{
    err_t err;

    *clog = *spill = 0;
    TRY(wal_insert_reserve_shrink(size));
    TRY(csn_prepare(xid, spill));
    TRY(clog_pin(xid, clog));
    return OK;
out:
    if (*spill != 0)
        pool_unpin(*spill);
    return err;
}

/* The record: head and files in one piece of private memory. */
static err_t
make_record(const struct txn *txn, struct commit_record *head, const void **data, size_t *size)
{
    uint8_t *whole;

    *head = (struct commit_record){ clock_wall_ms(), txn->at_commit.count, 0 };
    *data = head;
    *size = sizeof *head;
    if (head->file_count == 0)
        return OK;
    *size += head->file_count * sizeof(fileno_t);
    whole = malloc(*size);
    if (whole == NULL)
        return err_set(ERR_MEMORY, "could not commit: out of memory");
    memcpy(whole, head, sizeof *head);
    memcpy(whole + sizeof *head, txn->at_commit.file, head->file_count * sizeof(fileno_t));
    *data = whole;
    return OK;
}

/* Bits and record, flush, number: T1. */
static err_t
commit_xid(struct txn *txn, xid_t xid, bool durable)
{
    struct commit_record head;
    const void *data = NULL;
    buffer_t clog, spill;
    size_t size;
    err_t err;
    lsn_t lsn;
    csn_t csn;

    TRY(make_record(txn, &head, &data, &size));
    TRY(prepare(xid, size, &clog, &spill));
    lsn = clog_set(clog, xid, XID_COMMITTED, WAL_COMMIT, data, size); /* T2 */
    (void)fault_pass(FAULT_COMMIT_LOGGED);
    if (durable)
        wal_flush(lsn);
    (void)fault_pass(FAULT_COMMIT_FLUSHED);
    csn = csn_commit(txn->place, spill);
    (void)fault_pass(FAULT_COMMIT_NUMBERED);
    if (csn % REFRESH_EVERY == 0)
        (void)snapshot_horizon(false);
out:
    if (data != &head)
        free((void *)(uintptr_t)data);
    return err;
}

err_t
txn_commit(struct op *op, struct txn *txn, bool durable)
{
    xid_t xid = txn->snapshot.own;
    err_t err;

    /* Files are named by the record, and a record needs an xid. */
    if (xid == 0 && txn->at_commit.count > 0)
        TRY(txn_xid(txn, &xid));
    if (xid != 0)
        TRY(commit_xid(txn, xid, durable));
    end(txn, xid, true);
    return OK;
out:
    txn_abort(op, txn);
    return err;
}

/* ---- waiting ---- */

static err_t
wait_turns(struct op *op, xid_t xid, bool may_close)
{
    struct condition *condition = txntable_condition(xid);
    int64_t pause_ns = txntable_deadlock_timeout_ns();
    int64_t search_ns = may_close ? 0 : clock_now_ns() + pause_ns;

    for (;;) {
        uint32_t seen = condition_prepare(condition);
        enum xid_fate fate;
        csn_t csn;

        TRY_RETURN(snapshot_fate(xid, &fate, &csn));
        if (fate != XID_RUNNING)
            return OK;
        /* The wait that closes a circle finds it at its first search; later ones are for safety. */
        if (clock_now_ns() >= search_ns) {
            deadlock_search();
            search_ns = clock_now_ns() + pause_ns;
            pause_ns *= 2;
        }
        if (deadlock_chose(xid)) {
            counters_add(COUNTER_DEADLOCKS, 1);
            return err_set(ERR_DEADLOCK,
                "deadlock: this transaction and others wait for each other; it may be retried");
        }
        TRY_RETURN(condition_wait(op, condition, seen, WAIT_XID, xid));
    }
}

err_t
txn_wait(struct op *op, struct txn *waiter, xid_t xid)
{
    /* Who has no xid is waited for by nobody; that is what most of those are who queue for a row.
     */
    bool may_close = waiter != NULL && waiter->snapshot.own != 0;
    int64_t since_ns = op != NULL && op->waits_since_ns != 0 ? op->waits_since_ns : clock_now_ns();
    err_t err;

    invariant(waiter == NULL || waiter->snapshot.own != xid);
    if (op != NULL)
        op->waits_since_ns = since_ns;
    deadlock_waits_for(xid, since_ns);
    err = wait_turns(op, xid, may_close);
    deadlock_waits_for(0, 0);
    if (err == ERR_DEADLOCK && waiter != NULL)
        waiter->lost_to = xid;
    return err;
}

xid_t
txn_lost_to(const struct txn *txn)
{
    return txn->lost_to;
}

err_t
txn_wait_all(struct op *op, struct txn *waiter)
{
    xid_t own = waiter != NULL ? waiter->snapshot.own : 0, xid;
    struct place *place;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL) {
        /* One that is being given will change only what its process finds from now on. */
        xid = atomic_load(&place->xid);
        if (xid != 0 && (xid & TXNTABLE_ASSIGNING) == 0 && xid != own)
            TRY_RETURN(txn_wait(op, waiter, xid));
    }
    return OK;
}

/* ---- passing on ---- */

err_t
txn_park(struct txn *txn, uint32_t *place, uint64_t *ticket)
{
    if (txn->own_place || txn->at_commit.count + txn->at_abort.count + txn->call_count > 0)
        return err_set(ERR_ILLEGAL_OPERATION,
            "a transaction that makes or drops collections or indexes cannot be passed on");
    atomic_store(&txn->place->ended_below, txn->snapshot.all_ended_below);
    atomic_store(&txn->place->command, txn->snapshot.command);
    atomic_store(&txn->place->isolation, txn->isolation);
    *place = txntable_index(txn->place);
    *ticket = txntable_pass(txn->place);
    release(txn);
    return OK;
}

err_t
txn_unpark(struct op *op, uint32_t place, uint64_t ticket, struct txn **txn, bool *found)
{
    struct txn *new;

    (void)op;
    TRY_RETURN(allocate(&new));
    *found = txntable_take_up(place, ticket, PLACE_TXN);
    if (!*found) {
        release(new);
        return OK;
    }
    new->place = txntable_place(place);
    new->isolation = (enum txn_isolation)atomic_load(&new->place->isolation);
    new->own_place = false;
    new->call_count = 0;
    new->lost_to = 0;
    new->at_commit.count = new->at_abort.count = 0;
    new->snapshot = (struct snapshot){ .csn = atomic_load(&new->place->csn),
        .own = atomic_load(&new->place->xid),
        .command = atomic_load(&new->place->command),
        .all_ended_below = atomic_load(&new->place->ended_below) };
    *txn = new;
    return OK;
}

/* ---- burying ---- */

/* Its commit record is in the log: what is left is to flush, to number, to wake. */
static err_t
finish_commit(struct place *place, xid_t xid)
{
    buffer_t spill;

    TRY_RETURN(csn_prepare(xid, &spill));
    wal_flush(wal_insert_position());
    (void)csn_commit(place, spill);
    return OK;
}

static err_t
end_dead_place(struct place *place, unsigned slot)
{
    xid_t xid = atomic_load(&place->xid);
    enum xid_fate fate;

    /* An xid that was just being given stands nowhere else: it may be left out. */
    if ((xid & TXNTABLE_ASSIGNING) != 0 || xid >= csn_bound_given()) {
        atomic_store(&place->xid, 0);
        xid = 0;
    }
    if (xid != 0) {
        TRY_RETURN(clog_get(xid, &fate));
        if (fate == XID_COMMITTED && !mutant(MUTANT_LEFT_COMMIT)) {
            TRY_RETURN(finish_commit(place, xid));
        } else {
            if (fate == XID_RUNNING)
                log_abort(xid, NULL);
            csn_abort(place);
        }
    }
    txntable_bury(place, slot);
    if (xid != 0)
        condition_wake(txntable_condition(xid));
    return OK;
}

err_t
txn_end_dead(unsigned slot)
{
    struct place *place;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL) {
        if (atomic_load(&place->owner) == slot + 1 && !mutant(MUTANT_LEFT_XID))
            TRY_RETURN(end_dead_place(place, slot));
    }
    return OK;
}

static err_t
release_dead_place(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct place *place = txntable_place((uint32_t)id);

    (void)state; /* the place's owner tells whether it was taken */
    return atomic_load(&place->owner) == slot + 1 ? end_dead_place(place, slot) : OK;
}

const struct ledger_undo txn_place_undo = { release_dead_place, NULL };

int
txn_runner(xid_t xid)
{
    const struct place *place = xid != 0 ? txntable_find(xid) : NULL;

    return place != NULL ? (int)atomic_load(&place->owner) - 1 : -1;
}

err_t
txn_verify(void)
{
    return txntable_verify();
}

unsigned
txn_running(void)
{
    struct place *place;
    unsigned running = 0;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL)
        running += atomic_load(&place->xid) != 0;
    return running;
}

unsigned
txn_snapshots(void)
{
    struct place *place;
    unsigned snapshots = 0;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL)
        snapshots += atomic_load(&place->csn) != 0;
    return snapshots;
}

/* ---- redo ---- */

static err_t
redo_commit(const struct wal_record *record)
{
    struct commit_record head;
    fileno_t file;

    if (record->data.size < sizeof head)
        return err_set(ERR_CORRUPT, "a commit record of %zu bytes is too short", record->data.size);
    memcpy(&head, record->data.data, sizeof head);
    if (record->data.size != sizeof head + head.file_count * sizeof file)
        return err_set(ERR_CORRUPT, "a commit record of %zu bytes cannot name %" PRIu32 " files",
            record->data.size, head.file_count);
    TRY_RETURN(clog_redo(record, XID_COMMITTED));
    for (uint32_t i = 0; i < head.file_count; i++) {
        memcpy(&file, record->data.data + sizeof head + i * sizeof file, sizeof file);
        TRY_RETURN(datafile_unlink(file));
    }
    return OK;
}

static err_t
describe_commit(const struct wal_record *record, struct buf *text)
{
    struct commit_record head;
    fileno_t file;

    if (record->data.size < sizeof head)
        return buf_append_text(text, "too short");
    memcpy(&head, record->data.data, sizeof head);
    TRY_RETURN(buf_printf(text, "time_ms %" PRId64, head.time_ms));
    for (size_t at = sizeof head; at + sizeof file <= record->data.size; at += sizeof file) {
        memcpy(&file, record->data.data + at, sizeof file);
        TRY_RETURN(buf_printf(text, " remove %" PRIu32, file));
    }
    return OK;
}

const struct wal_handler txn_handler_commit = { redo_commit, describe_commit, NULL };

static err_t
redo_abort(const struct wal_record *record)
{
    fileno_t file;

    if (record->data.size % sizeof file != 0)
        return err_set(
            ERR_CORRUPT, "a rollback's record cannot name files in %zu bytes", record->data.size);
    TRY_RETURN(clog_redo(record, XID_ABORTED));
    for (size_t at = 0; at < record->data.size; at += sizeof file) {
        memcpy(&file, record->data.data + at, sizeof file);
        TRY_RETURN(datafile_unlink(file));
    }
    return OK;
}

static err_t
describe_abort(const struct wal_record *record, struct buf *text)
{
    fileno_t file;

    TRY_RETURN(buf_append_text(text, "rolled back"));
    for (size_t at = 0; at + sizeof file <= record->data.size; at += sizeof file) {
        memcpy(&file, record->data.data + at, sizeof file);
        TRY_RETURN(buf_printf(text, " remove %" PRIu32, file));
    }
    return OK;
}

const struct wal_handler txn_handler_abort = { redo_abort, describe_abort, NULL };

static err_t
redo_bound(const struct wal_record *record)
{
    xid_t bound;

    if (record->data.size != sizeof bound)
        return err_set(ERR_CORRUPT, "a record of the next transaction number has %zu bytes",
            record->data.size);
    memcpy(&bound, record->data.data, sizeof bound);
    csn_restore_bound(bound);
    return OK;
}

static err_t
describe_bound(const struct wal_record *record, struct buf *text)
{
    xid_t bound = 0;

    if (record->data.size == sizeof bound)
        memcpy(&bound, record->data.data, sizeof bound);
    return buf_printf(text, "below %" PRIu64, bound);
}

const struct wal_handler txn_handler_xid_bound = { redo_bound, describe_bound, NULL };
