/*
 * wal.c - opening the log: recovery, and what comes before and after it.
 *
 * Recovery:
 *   1. write again what follows the last sync that is known of, and sync what the files hold:
 *      after a crash of the processes alone, parts of it may be in the kernel's cache only, and
 *      pages that depend on it are going to be written.  Why again: after a sync that failed the
 *      kernel takes for clean what the disk may not have, and another sync would not write it
 *   2. read and replay from the redo point until nothing valid follows
 *   3. the log is cut there: new inserts go over what is behind it.  The first is WAL_EPOCH: all
 *      records from here on carry the new epoch, so what is left of the old end can never be taken
 *      for a successor
 *   4. the control file: the new epoch, and that the server runs
 *
 * INVARIANTS
 *   V1  A record is replayed only after all of the log before its end is on disk.
 *   V2  Epochs only grow along the log.
 *
 * IF A PROCESS DIES in recovery, the next start does it again from the same redo point: replay
 * leaves pages alone that have what the record says.  After step 3 it reads over the WAL_EPOCH
 * record and takes the epoch after that.
 */
#include "wal/wal.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "wal/checkpoint.h"
#include "wal/checkpoint_share.h"
#include "wal/wal_flush.h"
#include "wal/wal_format.h"
#include "wal/wal_insert.h"
#include "wal/wal_page.h"
#include "wal/wal_reader.h"
#include "wal/wal_ring.h"
#include "wal/wal_room.h"
#include "wal/wal_segment.h"

static err_t (*peek_page)(struct page_id id, void *page, bool *found);

static size_t
align_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static size_t
region_size(const struct config *config)
{
    return align_up(wal_ring_size(config)) + align_up(wal_flush_size(config)) +
           align_up(wal_room_size(config)) + align_up(checkpoint_share_size(config));
}

static void
region_init(void *zeroed, const struct config *config)
{
    uint8_t *at = zeroed;

    wal_ring_init(at, config);
    at += align_up(wal_ring_size(config));
    wal_flush_init(at, config);
    at += align_up(wal_flush_size(config));
    wal_room_init(at, config);
    at += align_up(wal_room_size(config));
    checkpoint_share_init(at, config);
}

const struct region wal_region = { "log", region_size, region_init };

void
wal_set_page_peek(err_t (*peek)(struct page_id id, void *page, bool *found))
{
    peek_page = peek;
}

/* ---- a new log ---- */

/* The first head of a segment, written apart from the ring. */
static err_t
write_head(const char *folder, uint64_t system_id, uint64_t number)
{
    struct wal_format_segment head;
    int fd = -1;
    err_t err;

    wal_segment_head(&head, system_id, wal_page_size, number);
    TRY(wal_segment_open(folder, number, true, &fd, NULL));
    TRY(file_write(fd, "a segment of the log", &head, sizeof head, 0, FAULT_WAL_HEAD));
    TRY(file_sync(fd, "a segment of the log", FAULT_WAL_HEAD_SYNC));
out:
    file_close(fd);
    return err;
}

err_t
wal_create(const char *data_dir)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    struct control control;
    bool made;

    TRY_RETURN(control_read(data_dir, &control));
    TRY_RETURN(wal_segment_folder(data_dir, folder));
    TRY_RETURN(file_make_dir(folder, 0700, &made));
    TRY_RETURN(wal_segment_create(folder, 1));
    TRY_RETURN(write_head(folder, control.system_id, 1));
    control.redo = wal_format_first(1);
    return control_write(data_dir, &control);
}

/* ---- recovery ---- */

struct recovery {
    const struct wal_handler *handlers;
    struct control control;
    struct wal_segment_list list;
    struct wal_reader *reader;
    struct wal_recovery *result;
    char folder[WAL_SEGMENT_PATH_MAX];
    bool accept_loss;
};

/* Where the records end that follow each other from here on, as the files read now. */
static err_t
find_end(const struct recovery *recovery, lsn_t from, lsn_t *end)
{
    struct wal_reader *reader = wal_reader_create(recovery->folder, recovery->control.page_size, 0);
    enum wal_read_result what = WAL_READ_RECORD;
    struct wal_record record;
    err_t err = OK;

    if (reader == NULL)
        return ERR_MEMORY;
    wal_reader_expect(reader, recovery->control.system_id);
    wal_reader_seek(reader, from);
    while (err == OK && what == WAL_READ_RECORD)
        err = wal_reader_next(reader, &record, &what);
    *end = wal_reader_position(reader);
    wal_reader_destroy(reader);
    return err;
}

/* Step 1: what was written after the last sync that is known to have succeeded: "flushed" says so,
   or the checkpoint.  At least the block in which the log ends. */
static err_t
write_end_again(const struct recovery *recovery)
{
    lsn_t from = wal_reader_flushed(recovery->reader);
    lsn_t end;

    if (from < recovery->control.redo)
        from = recovery->control.redo;
    TRY_RETURN(find_end(recovery, from, &end));
    do {
        uint64_t number = wal_format_segment_of(from);
        lsn_t below = (number + 1) * WAL_SEGMENT_SIZE;

        below = below < end ? below : end;
        TRY_RETURN(wal_segment_write_again(recovery->folder, number, wal_format_offset(from),
            (uint32_t)(below - number * WAL_SEGMENT_SIZE)));
        from = below;
    } while (from < end);
    return OK;
}

/* Step 1. */
static err_t
sync_segments(struct recovery *recovery)
{
    uint64_t first = wal_format_segment_of(recovery->control.redo);

    for (size_t i = 0; i < recovery->list.count; i++) {
        bool found;
        int fd;
        err_t err;

        if (recovery->list.number[i] < first)
            continue;
        TRY_RETURN(wal_segment_open(recovery->folder, recovery->list.number[i], true, &fd, &found));
        if (!found)
            continue;
        err = file_sync(fd, "a segment of the log", FAULT_WAL_SYNC);
        file_close(fd);
        TRY_RETURN(err);
    }
    return OK;
}

/* Zero what may differ: position and checksum, the hole, and what the kind says. */
static void
mask_page(uint8_t *page, const struct wal_handler *handler)
{
    struct page_header *head = (void *)page;

    head->lsn = 0;
    head->crc = 0;
    if (head->lower >= sizeof *head && head->lower < head->upper && head->upper <= wal_page_size)
        memset(page + head->lower, 0, (size_t)(head->upper - head->lower));
    if (handler->mask != NULL)
        handler->mask(page);
}

/* wal.check: is page n as it was when the record was made? */
static err_t
compare_page(const struct wal_record *record, unsigned n, const struct wal_handler *handler,
    uint64_t *compared)
{
    static _Thread_local _Alignas(8) uint8_t wanted[PAGE_SIZE_MAX];
    static _Thread_local _Alignas(8) uint8_t replayed[PAGE_SIZE_MAX];
    const struct wal_page_view *view = &record->page[n];
    uint32_t at = 0;
    bool found;

    TRY_RETURN(wal_record_restore(record, n, wanted));
    TRY_RETURN(peek_page(view->id, replayed, &found));
    if (!found || ((struct page_header *)(void *)replayed)->lsn != record->end)
        return OK; /* the page is newer than the record, or gone */
    mask_page(wanted, handler);
    mask_page(replayed, handler);
    while (at < wal_page_size && wanted[at] == replayed[at])
        at++;
    if (at == wal_page_size) {
        (*compared)++;
        return OK;
    }
    return err_set(ERR_CORRUPT,
        "the replay of %s at %#jx differs from the page it was logged with: file %u, page %u, byte "
        "%u is %#x instead of %#x",
        wal_record_kind_name(record->kind), (uintmax_t)record->start, view->id.file, view->id.block,
        at, replayed[at], wanted[at]);
}

static err_t
replay(struct recovery *recovery, const struct wal_record *record)
{
    const struct wal_handler *handler = &recovery->handlers[record->kind];
    bool own =
        record->kind == WAL_CHECKPOINT || record->kind == WAL_EPOCH || record->kind == WAL_NOOP;

    (void)fault_pass(FAULT_RECOVERY_RECORD);
    wal_flush_set_done(record->end); /* V1: step 1 */
    if (handler->redo == NULL && own)
        return OK;
    if ((unsigned)record->kind >= WAL_KIND_COUNT || handler->redo == NULL)
        return err_set(ERR_CORRUPT,
            "could not replay the log record at %#jx: this program does "
            "not know records of kind %u",
            (uintmax_t)record->start, (unsigned)record->kind);
    TRY_RETURN(handler->redo(record));
    for (unsigned i = 0; peek_page != NULL && i < record->page_count; i++)
        if (!record->page[i].has_image && record->page[i].image.size > 0)
            TRY_RETURN(compare_page(record, i, handler, &recovery->result->compared));
    return OK;
}

/* The last segment that the log is known to have reached, whether its file is there or not. */
static uint64_t
last_reached(const struct recovery *recovery)
{
    const struct wal_segment_list *list = &recovery->list;
    lsn_t known = recovery->result->end;
    uint64_t last;

    if (known < recovery->control.checkpoint)
        known = recovery->control.checkpoint;
    if (known < wal_reader_flushed(recovery->reader))
        known = wal_reader_flushed(recovery->reader);
    last = wal_format_segment_of(known);
    return list->count > 0 && list->number[list->count - 1] > last ? list->number[list->count - 1]
                                                                   : last;
}

/* The log cannot be read as far as it should: err_message says why.  With wal.accept_loss it goes
   on, in a segment behind all others: pages may already carry the LSNs of what is lost, and a new
   record that had one of these would not be replayed. */
static err_t
leave_behind(struct recovery *recovery)
{
    struct wal_recovery *result = recovery->result;
    lsn_t end = wal_format_first(last_reached(recovery) + 1);

    if (!recovery->accept_loss)
        return ERR_CORRUPT;
    log_error("wal.accept_loss: %s", err_message());
    result->lost = end - result->end;
    log_error(
        "wal.accept_loss: what the log held from %#jx on is given up.  Acknowledged writes are "
        "missing, others may be there in part: run \"gneiss check\", and start without "
        "wal.accept_loss from now on",
        (uintmax_t)result->end);
    result->end = end;
    return OK;
}

/* Step 2. */
static err_t
replay_all(struct recovery *recovery)
{
    struct wal_recovery *result = recovery->result;
    struct wal_record record;
    enum wal_read_result what;

    wal_reader_seek(recovery->reader, recovery->control.redo);
    for (;;) {
        TRY_RETURN(wal_reader_next(recovery->reader, &record, &what));
        if (what != WAL_READ_RECORD)
            break;
        if ((unsigned)record.kind >= WAL_KIND_COUNT)
            return err_set(ERR_CORRUPT,
                "could not replay the log record at %#jx: this program "
                "does not know records of kind %u",
                (uintmax_t)record.start, (unsigned)record.kind);
        TRY_RETURN(replay(recovery, &record));
        result->records++;
        result->bytes += record.end - record.start;
    }
    result->end = wal_reader_position(recovery->reader);
    if (what == WAL_READ_DAMAGED)
        return leave_behind(recovery);
    result->torn_tail = what == WAL_READ_TORN;
    return OK;
}

/* Is the end where it can be?  The file "flushed" never says too much, so an end before what it
   says is no torn one. */
static err_t
check_end(struct recovery *recovery)
{
    lsn_t end = recovery->result->end;
    lsn_t flushed = wal_reader_flushed(recovery->reader);

    if (recovery->control.checkpoint != 0 && end <= recovery->control.checkpoint)
        (void)err_set(ERR_CORRUPT,
            "the log ends at %#jx, before the checkpoint at %#jx that the control file names: "
            "segments are missing or damaged.  " WAL_READER_WAY_OUT,
            (uintmax_t)end, (uintmax_t)recovery->control.checkpoint);
    else if (end < flushed)
        (void)err_set(ERR_CORRUPT,
            "the log ends at %#jx, but had been on disk up to %#jx: acknowledged writes are "
            "missing; the disk or somebody else has changed its end.  " WAL_READER_WAY_OUT,
            (uintmax_t)end, (uintmax_t)flushed);
    else
        return OK;
    return leave_behind(recovery);
}

/* The segments from the one with the end on, without a gap: yields where they stop. */
static lsn_t
made_up_to(const struct recovery *recovery)
{
    uint64_t number = wal_format_segment_of(recovery->result->end);

    while (wal_segment_listed(&recovery->list, number))
        number++;
    return number * WAL_SEGMENT_SIZE;
}

/* Files beyond a gap hold nothing of this log, and would be in the way. */
static err_t
remove_strays(struct recovery *recovery, lsn_t made)
{
    for (size_t i = 0; i < recovery->list.count; i++)
        if (recovery->list.number[i] >= wal_format_segment_of(made))
            TRY_RETURN(wal_segment_remove(recovery->folder, recovery->list.number[i]));
    return OK;
}

/* The segment in which the log goes on must exist, with its head. */
static err_t
prepare_end(struct recovery *recovery, lsn_t *made)
{
    uint64_t number = wal_format_segment_of(recovery->result->end);

    *made = made_up_to(recovery);
    TRY_RETURN(remove_strays(recovery, *made));
    if (wal_format_segment_of(*made) == number) {
        TRY_RETURN(wal_segment_create(recovery->folder, number));
        *made += WAL_SEGMENT_SIZE;
    }
    return write_head(recovery->folder, recovery->control.system_id, number);
}

static void
take_epoch(struct control *control, void *context)
{
    control->epoch = *(const uint32_t *)context;
    control->state = CONTROL_RUNNING;
}

/* Steps 3 and 4. */
static err_t
begin_epoch(struct recovery *recovery)
{
    uint32_t old = wal_reader_epoch(recovery->reader);
    uint32_t epoch = (old > recovery->control.epoch ? old : recovery->control.epoch) + 1; /* V2 */
    struct wal_format_epoch data = { .from = old, .wall_ms = clock_wall_ms() };
    lsn_t end = recovery->result->end;
    lsn_t previous = recovery->result->lost > 0 ? 0 : wal_reader_previous(recovery->reader);
    lsn_t made;

    TRY_RETURN(prepare_end(recovery, &made));
    wal_room_open(made);
    wal_ring_open(end, previous, recovery->control.redo, epoch, recovery->control.system_id);
    TRY_RETURN(wal_flush_open(end));
    TRY_RETURN(wal_room_promise(sizeof data, WAL_ROOM_CHECKPOINT));
    crit_begin();
    wal_insert_begin();
    wal_insert_data(&data, sizeof data);
    end = wal_insert(WAL_EPOCH, 0);
    crit_end();
    wal_flush(end);
    (void)fault_pass(FAULT_RECOVERY_EPOCH);
    TRY_RETURN(control_update(take_epoch, &epoch));
    checkpoint_share_open(recovery->control.redo, end);
    wal_flush_close(); /* children open their own: an error of the disk is told to each description
                          once */
    return OK;
}

static void
set_recovering(struct control *control, void *context)
{
    (void)context;
    control->state = CONTROL_RECOVERING;
}

static err_t
recover(struct recovery *recovery, const char *data_dir, err_t (*between)(void))
{
    const struct control *control = &recovery->control;

    TRY_RETURN(wal_segment_folder(data_dir, recovery->folder));
    TRY_RETURN(wal_segment_list(recovery->folder, true, &recovery->list));
    recovery->reader = wal_reader_create(recovery->folder, control->page_size, 0);
    if (recovery->reader == NULL)
        return ERR_MEMORY;
    wal_reader_expect(recovery->reader, control->system_id);
    recovery->result->redo = control->redo;
    recovery->result->clean =
        control->state == CONTROL_STOPPED || control->state == CONTROL_CREATED;
    if (!recovery->result->clean)
        TRY_RETURN(control_update(set_recovering, NULL));
    if (!mutant(MUTANT_END_BELIEVED))
        TRY_RETURN(write_end_again(recovery));
    TRY_RETURN(sync_segments(recovery));
    wal_flush_set_done(control->redo);
    checkpoint_restore_parts(control->numbers);
    TRY_RETURN(replay_all(recovery));
    TRY_RETURN(check_end(recovery));
    (void)fault_pass(FAULT_RECOVERY_REPLAYED);
    if (between != NULL)
        TRY_RETURN(between());
    return begin_epoch(recovery);
}

err_t
wal_open(const struct config *config, const char *data_dir,
    const struct wal_handler handlers[WAL_KIND_COUNT], err_t (*between)(void),
    struct wal_recovery *result)
{
    struct recovery recovery = {
        .handlers = handlers, .result = result, .accept_loss = config->wal_accept_loss
    };
    int64_t began = clock_now_ns();
    err_t err;

    memset(result, 0, sizeof *result);
    wal_ring_close();
    if (config->wal_accept_loss)
        log_warn("wal.accept_loss is on: damage of the log will be passed over, not refused");
    TRY(control_read(data_dir, &recovery.control));
    control_share(&recovery.control, data_dir);
    TRY(recover(&recovery, data_dir, between));
    result->elapsed_ns = clock_now_ns() - began;
out:
    wal_reader_destroy(recovery.reader);
    wal_segment_list_free(&recovery.list);
    return err;
}

static void
set_stopped(struct control *control, void *context)
{
    (void)context;
    control->state = CONTROL_STOPPED;
}

err_t
wal_close(void)
{
    wal_flush(wal_ring_position());
    TRY_RETURN(control_update(set_stopped, NULL));
    wal_ring_close();
    wal_flush_close();
    return OK;
}
