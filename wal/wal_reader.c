/*
 * wal_reader.c - reading the log from its files.
 *
 * The reader holds one segment, read as far as was needed; a record that goes over into the next
 * segment is put together apart.
 *
 * What a bad record means.  Behind it there may be valid records of the same chain (their
 * predecessor is not before the bad one).  That alone does not make it damage: after a power cut
 * the disk may hold a later part of what was being written and not an earlier one.  But every
 * record says how far the log was known to be on disk when it was made, and the file "flushed" says
 * so for the last sync.  Whatever is bad before that point was good once: DAMAGED, if valid records
 * behind it would be lost; else TORN, and the caller may compare wal_reader_flushed.
 *
 * INVARIANTS
 *   D1  A record is handed out only if its CRC, made with its own position and epoch, is right, its
 *       `previous` is the record before it, and its epoch is the present one or it is the WAL_EPOCH
 *       that ends the present one.
 *   D2  No byte of a file is trusted before its CRC was checked, but for sizes, which are bounded.
 *   D3  What the search behind a bad record costs is linear in the bytes that are searched,
 *       whatever they are: clients may have written what looks like heads of large records,
 *       every few bytes.
 */
#include "wal/wal_reader.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/panic.h"
#include "wal/wal_format.h"
#include "wal/wal_page.h"
#include "wal/wal_segment.h"

#define STEP       ((size_t)256 << 10) /* read at once */
#define SHORT      ((size_t)4096)      /* of which a CRC is computed as soon as put together */
#define WINDOW_MAX ((size_t)WAL_SEGMENT_SIZE + WAL_RECORD_MAX)

struct wal_reader {
    char folder[WAL_SEGMENT_PATH_MAX];
    uint32_t page_size;
    uint32_t epoch;     /* 0: not known yet */
    uint64_t system_id; /* 0: not known yet */
    lsn_t position;     /* where the next record begins */
    lsn_t previous;     /* start of the last one read; 0: none */
    uint64_t segment;   /* in `bytes`; UINT64_MAX: none */
    int fd;
    size_t loaded;   /* bytes of it that were read */
    bool whole;      /* there is nothing more in the file */
    uint8_t *bytes;  /* WAL_SEGMENT_SIZE */
    uint8_t *joined; /* WAL_RECORD_MAX */
};

struct wal_reader *
wal_reader_create(const char *path, uint32_t page_size, uint32_t epoch)
{
    struct wal_reader *reader = calloc(1, sizeof *reader);

    if (reader == NULL)
        goto fail;
    reader->bytes = aligned_alloc(64, WAL_SEGMENT_SIZE);
    reader->joined = aligned_alloc(64, WAL_RECORD_MAX);
    if (reader->bytes == NULL || reader->joined == NULL)
        goto fail;
    (void)snprintf(reader->folder, sizeof reader->folder, "%s", path);
    reader->page_size = page_size;
    reader->epoch = epoch;
    reader->segment = UINT64_MAX;
    reader->fd = -1;
    return reader;
fail:
    wal_reader_destroy(reader);
    (void)err_set(ERR_MEMORY, "could not read the log: out of memory");
    return NULL;
}

void
wal_reader_destroy(struct wal_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->segment != UINT64_MAX)
        file_close(reader->fd);
    free(reader->bytes);
    free(reader->joined);
    free(reader);
}

void
wal_reader_expect(struct wal_reader *reader, uint64_t system_id)
{
    reader->system_id = system_id;
}

void
wal_reader_seek(struct wal_reader *reader, lsn_t lsn)
{
    reader->position = lsn;
    reader->previous = 0;
    reader->loaded = 0;
    reader->whole = false;
}

lsn_t
wal_reader_position(const struct wal_reader *reader)
{
    return reader->position;
}

lsn_t
wal_reader_previous(const struct wal_reader *reader)
{
    return reader->previous;
}

uint32_t
wal_reader_epoch(const struct wal_reader *reader)
{
    return reader->epoch;
}

/* Turn to a segment; *found: it exists. */
static err_t
turn_to(struct wal_reader *reader, uint64_t number, bool *found)
{
    *found = true;
    if (reader->segment == number)
        return OK;
    if (reader->segment != UINT64_MAX)
        file_close(reader->fd);
    reader->segment = UINT64_MAX;
    reader->loaded = 0;
    reader->whole = false;
    TRY_RETURN(wal_segment_open(reader->folder, number, false, &reader->fd, found));
    if (*found)
        reader->segment = number;
    return OK;
}

/* Have at least the first `end` bytes of the present segment, if there are so many. */
static err_t
load(struct wal_reader *reader, size_t end)
{
    while (reader->loaded < end && !reader->whole) {
        size_t want = WAL_SEGMENT_SIZE - reader->loaded;
        size_t got;

        want = want < STEP ? want : STEP;
        TRY_RETURN(file_read(reader->fd, "a segment of the log", reader->bytes + reader->loaded,
            want, reader->loaded, &got, FAULT_WAL_READ));
        reader->loaded += got;
        if (got < want || reader->loaded == WAL_SEGMENT_SIZE)
            reader->whole = true;
    }
    return OK;
}

/* Is the present segment's head as it should be? */
static err_t
check_head(struct wal_reader *reader, bool *good)
{
    struct wal_format_segment head;

    TRY_RETURN(load(reader, sizeof head));
    *good = false;
    if (reader->loaded < sizeof head)
        return OK;
    memcpy(&head, reader->bytes, sizeof head);
    *good = wal_segment_is_head(&head, reader->system_id, reader->page_size, reader->segment);
    if (*good)
        reader->system_id = head.system_id;
    return OK;
}

/* Copy `size` bytes of records from `lsn` on; *got: so many could be had. */
static err_t
join(struct wal_reader *reader, lsn_t lsn, uint8_t *to, size_t size, size_t *got)
{
    *got = 0;
    while (*got < size) {
        size_t at = wal_format_offset(lsn);
        size_t part = WAL_SEGMENT_SIZE - at;
        bool good;

        TRY_RETURN(turn_to(reader, wal_format_segment_of(lsn), &good));
        if (!good)
            return OK;
        if (at == 0) {
            TRY_RETURN(check_head(reader, &good));
            if (!good)
                return OK;
            at = WAL_FORMAT_HEAD;
            part -= WAL_FORMAT_HEAD;
            lsn += WAL_FORMAT_HEAD;
        }
        part = part < size - *got ? part : size - *got;
        TRY_RETURN(load(reader, at + part));
        if (reader->loaded < at + part)
            return OK;
        memcpy(to + *got, reader->bytes + at, part);
        *got += part;
        lsn += part;
    }
    return OK;
}

/* Are this record's sizes possible? */
static bool
plausible(const struct wal_format_record *head)
{
    uint32_t size = head->size_kind & WAL_FORMAT_SIZE_MASK;
    uint32_t kind = head->size_kind >> 24;
    uint32_t data = head->data_pages & WAL_FORMAT_SIZE_MASK;
    uint32_t pages = head->data_pages >> 24;

    return size >= sizeof *head && size <= WAL_RECORD_MAX && size % 8 == 0 && data <= size &&
           pages <= WAL_RECORD_PAGES && kind != WAL_NONE && head->epoch != 0;
}

/* One page of a record; `row` and `data` move on.  False: the sizes do not fit. */
static bool
parse_page(const struct wal_format_page *row, struct bytes *data, struct bytes *images,
    uint32_t page_size, struct wal_page_view *view)
{
    uint32_t padded = wal_format_align(row->data_size);

    *view = (struct wal_page_view){
        .id = { row->file, row->block },
        .flags = row->flags & 0xffu,
        .compressed = (row->flags & WAL_FORMAT_COMPRESSED) != 0,
        .hole_start = row->hole_start,
        .data = { data->data, row->data_size },
    };
    if (padded > data->size)
        return false;
    data->data += padded;
    data->size -= padded;
    if (row->image_size == 0)
        return true;
    if (row->image_size < 2 || row->image_size > images->size)
        return false;
    memcpy(&view->hole_size, images->data, 2);
    view->image = (struct bytes){ images->data + 2, row->image_size - 2u };
    view->has_image = (row->flags & WAL_FORMAT_CHECK) == 0;
    images->data += row->image_size;
    images->size -= row->image_size;
    return view->hole_start + (uint32_t)view->hole_size <= page_size;
}

/* Take apart what stands behind a header whose CRC is right. */
static bool
parse_body(struct bytes body, uint32_t data_size, uint32_t page_size, struct wal_record *record)
{
    struct wal_format_page row[WAL_RECORD_PAGES];
    size_t rows = record->page_count * sizeof *row;
    struct bytes images;
    size_t skip;

    if (rows + wal_format_align(data_size) > body.size)
        return false;
    memcpy(row, body.data, rows);
    record->data = (struct bytes){ body.data + rows, data_size };
    skip = rows + wal_format_align(data_size);
    body = (struct bytes){ body.data + skip, body.size - skip };
    skip = 0;
    for (unsigned i = 0; i < record->page_count; i++)
        skip += wal_format_align(row[i].data_size);
    if (skip > body.size)
        return false;
    images = (struct bytes){ body.data + skip, body.size - skip };
    for (unsigned i = 0; i < record->page_count; i++)
        if (!parse_page(&row[i], &body, &images, page_size, &record->page[i]))
            return false;
    return true;
}

/* Parse without a message: most of what is tried is no record. */
static bool
parse(
    struct bytes bytes, lsn_t start, uint32_t epoch, uint32_t page_size, struct wal_record *record)
{
    struct wal_format_record head;
    uint32_t size;
    uint32_t crc;

    if (bytes.size < sizeof head)
        return false;
    memcpy(&head, bytes.data, sizeof head);
    size = head.size_kind & WAL_FORMAT_SIZE_MASK;
    if (!plausible(&head) || size > bytes.size || (epoch != 0 && head.epoch != epoch))
        return false;
    crc = crc32c(0, bytes.data + sizeof head, size - sizeof head);
    if (wal_format_seal(crc, &head, start) != head.crc)
        return false;
    record->start = start;
    record->end = wal_format_advance(start, size);
    record->previous = head.previous == 0 ? 0 : start - head.previous;
    record->epoch = head.epoch;
    record->kind = (enum wal_kind)(head.size_kind >> 24);
    record->xid = head.xid;
    record->page_count = head.data_pages >> 24;
    return parse_body((struct bytes){ bytes.data + sizeof head, size - sizeof head },
        head.data_pages & WAL_FORMAT_SIZE_MASK, page_size, record);
}

err_t
wal_reader_parse(
    struct bytes bytes, lsn_t start, uint32_t epoch, uint32_t page_size, struct wal_record *record)
{
    if (!parse(bytes, start, epoch, page_size, record))
        return err_set(ERR_CORRUPT, "could not read a log record at %#jx: its bytes do not fit",
            (uintmax_t)start);
    return OK;
}

/* The bytes of the record at `lsn`, contiguous, as far as they go; size 0: there are none. */
static err_t
fetch(struct wal_reader *reader, lsn_t lsn, struct bytes *bytes)
{
    struct wal_format_record head;
    size_t at = wal_format_offset(lsn);
    uint32_t size;
    size_t got;
    bool found;

    *bytes = (struct bytes){ NULL, 0 };
    TRY_RETURN(join(reader, lsn, (uint8_t *)&head, sizeof head, &got));
    if (got < sizeof head) {
        memcpy(reader->joined, &head, got);
        *bytes = (struct bytes){ reader->joined, got };
        return OK;
    }
    size = head.size_kind & WAL_FORMAT_SIZE_MASK;
    if (!plausible(&head))
        size = sizeof head;
    if (at + size > WAL_SEGMENT_SIZE) {
        TRY_RETURN(join(reader, lsn, reader->joined, size, &got));
        *bytes = (struct bytes){ reader->joined, got };
        return OK;
    }
    TRY_RETURN(turn_to(reader, wal_format_segment_of(lsn), &found));
    TRY_RETURN(load(reader, at + size));
    if (found && reader->loaded >= at + size)
        *bytes = (struct bytes){ reader->bytes + at, size };
    return OK;
}

/* D1: may this one follow the last one read? */
static bool
continues(const struct wal_reader *reader, const struct wal_record *record)
{
    uint32_t from;

    if (reader->previous != 0 && record->previous != reader->previous)
        return false;
    if (reader->epoch == 0 || record->epoch == reader->epoch)
        return true;
    if (record->kind != WAL_EPOCH || record->epoch < reader->epoch ||
        record->data.size < sizeof(struct wal_format_epoch))
        return false;
    memcpy(&from, record->data.data, sizeof from);
    return from == reader->epoch || reader->previous == 0;
}

/* ---- what a bad record means ---- */

struct finding {
    lsn_t bad;
    lsn_t first;               /* valid record behind it */
    lsn_t last;                /* end of the last valid one */
    uint64_t count;            /* of valid ones */
    uint64_t commits;          /* of these */
    xid_t xid_first, xid_last; /* of the transactions that these committed */
    lsn_t flushed;             /* the furthest that is known to have been on disk */
};

lsn_t
wal_reader_flushed(const struct wal_reader *reader)
{
    struct wal_format_hint hint;
    char path[WAL_SEGMENT_PATH_MAX + 16];
    size_t got = 0;
    bool found;
    int fd;

    (void)snprintf(path, sizeof path, "%s/flushed", reader->folder);
    if (file_open(path, O_RDONLY, 0, &fd, &found) != OK || !found)
        return 0;
    if (file_read(fd, path, &hint, sizeof hint, 0, &got, FAULT_WAL_READ) != OK)
        got = 0;
    file_close(fd);
    if (got < sizeof hint || hint.magic != WAL_FORMAT_HINT_MAGIC ||
        hint.crc != crc32c(0, &hint, offsetof(struct wal_format_hint, crc)) ||
        (reader->system_id != 0 && hint.system_id != reader->system_id))
        return 0;
    return hint.flushed;
}

/*
 * A segment, and behind it as much of the next as its last record may reach into, in one piece.
 * sums[i] is the CRC of the first 8·i bytes: with them the CRC of any piece is had without looking
 * at it.  D3.
 */
struct window {
    uint8_t *bytes; /* WINDOW_MAX */
    uint32_t *sums; /* WINDOW_MAX / 8 + 1 */
    size_t own;     /* so many of the segment were read */
    size_t size;    /* and with those of the next */
    bool summed;
};

static err_t
window_init(struct window *window)
{
    *window = (struct window){ .bytes = malloc(WINDOW_MAX),
        .sums = malloc((WINDOW_MAX / 8 + 1) * sizeof *window->sums) };
    if (window->bytes == NULL || window->sums == NULL)
        return err_set(ERR_MEMORY, "could not search the log: out of memory");
    return OK;
}

static void
window_fini(struct window *window)
{
    free(window->bytes);
    free(window->sums);
}

static err_t
window_open(struct window *window, struct wal_reader *reader, uint64_t segment, bool *found)
{
    size_t more = 0;

    window->summed = false;
    TRY_RETURN(turn_to(reader, segment, found));
    if (!*found)
        return OK;
    TRY_RETURN(load(reader, WAL_SEGMENT_SIZE));
    memcpy(window->bytes, reader->bytes, reader->loaded);
    window->own = reader->loaded;
    if (window->own == WAL_SEGMENT_SIZE)
        TRY_RETURN(join(reader, (segment + 1) * WAL_SEGMENT_SIZE, window->bytes + WAL_SEGMENT_SIZE,
            WAL_RECORD_MAX, &more));
    window->size = window->own + more;
    return OK;
}

/* The CRC of a piece; `at` and `size` are multiples of 8, and it lies in the window. */
static uint32_t
window_sum(struct window *window, size_t at, size_t size)
{
    if (size <= SHORT)
        return crc32c(0, window->bytes + at, size);
    if (!window->summed) {
        window->sums[0] = 0;
        for (size_t i = 0; i < window->size / 8; i++)
            window->sums[i + 1] = crc32c(window->sums[i], window->bytes + 8 * i, 8);
        window->summed = true;
    }
    return window->sums[(at + size) / 8] ^ crc32c_shift(window->sums[at / 8], size);
}

/* Is there a valid record of this chain at `at` in the window? */
static bool
is_record(struct window *window, size_t at, lsn_t lsn, const struct wal_reader *reader, lsn_t bad,
    struct wal_format_record *head)
{
    uint32_t size;

    memcpy(head, window->bytes + at, sizeof *head);
    size = head->size_kind & WAL_FORMAT_SIZE_MASK;
    if (!plausible(head) || head->epoch < reader->epoch || head->previous == 0 ||
        head->previous > lsn - bad || at + size > window->size)
        return false; /* the usual case, without more ado */
    return wal_format_seal(window_sum(window, at + sizeof *head, size - sizeof *head), head, lsn) ==
           head->crc;
}

/* If there is a valid record of this chain, note what it proves; *next: where to go on. */
static void
try_at(struct window *window, size_t at, lsn_t lsn, const struct wal_reader *reader,
    struct finding *finding, lsn_t *next)
{
    struct wal_format_record head;
    struct wal_record record;
    struct bytes rest = { window->bytes + at, window->size - at };

    *next = lsn + 8;
    if (!is_record(window, at, lsn, reader, finding->bad, &head) ||
        !parse(rest, lsn, 0, reader->page_size, &record))
        return;
    if (head.behind != WAL_FORMAT_BEHIND_NONE && lsn - head.behind > finding->flushed)
        finding->flushed = lsn - head.behind;
    if (finding->count++ == 0)
        finding->first = lsn;
    if (record.kind == WAL_COMMIT) {
        if (finding->commits++ == 0)
            finding->xid_first = finding->xid_last = record.xid;
        if (record.xid < finding->xid_first)
            finding->xid_first = record.xid;
        if (record.xid > finding->xid_last)
            finding->xid_last = record.xid;
    }
    finding->last = record.end;
    *next = record.end;
}

/* The first place from `at` on that does not hold zeros, or the end of the segment: no record
   begins with zeros, and most of a segment that was not reached is nothing else. */
static size_t
skip_zeros(const struct window *window, size_t at)
{
    static const uint8_t zeros[4096];

    while (at + sizeof zeros <= window->own && memcmp(window->bytes + at, zeros, sizeof zeros) == 0)
        at += sizeof zeros;
    while (at + 8 <= window->own && memcmp(window->bytes + at, zeros, 8) == 0)
        at += 8;
    return at;
}

/* Look for valid records from `lsn` to the end of its segment; *lsn: where to go on. */
static err_t
search_segment(
    struct wal_reader *reader, struct window *window, lsn_t *lsn, struct finding *finding)
{
    uint64_t segment = wal_format_segment_of(*lsn);
    bool found;

    TRY_RETURN(window_open(window, reader, segment, &found));
    while (found && wal_format_segment_of(*lsn) == segment) {
        size_t at = skip_zeros(window, wal_format_offset(*lsn));

        if (at >= window->own || at + sizeof(struct wal_format_record) > window->size)
            break;
        try_at(window, at, segment * WAL_SEGMENT_SIZE + at, reader, finding, lsn);
    }
    if (wal_format_segment_of(*lsn) == segment)
        *lsn = wal_format_first(segment + 1);
    return OK;
}

/* Search the bad record's segment, the next one, and all later ones that the log has reached. */
static err_t
search(struct wal_reader *reader, struct finding *finding)
{
    uint64_t own = wal_format_segment_of(finding->bad);
    struct wal_segment_list list = { NULL, 0 };
    lsn_t lsn = finding->bad + 8;
    struct window window;
    err_t err;

    TRY(window_init(&window));
    TRY(wal_segment_list(reader->folder, false, &list));
    for (size_t i = 0; i < list.count; i++) {
        bool reached = true;
        bool found;

        if (list.number[i] < own)
            continue;
        if (wal_format_segment_of(lsn) < list.number[i])
            lsn = wal_format_first(list.number[i]);
        if (wal_format_segment_of(lsn) > list.number[i])
            continue;
        TRY(turn_to(reader, list.number[i], &found));
        if (list.number[i] > own + 1)
            TRY(check_head(reader, &reached));
        if (found && reached)
            TRY(search_segment(reader, &window, &lsn, finding));
    }
    err = OK;
out:
    window_fini(&window);
    wal_segment_list_free(&list);
    return err;
}

static void
tell_damage(const struct finding *finding)
{
    (void)err_set(ERR_CORRUPT,
        "the log is damaged: from LSN %#jx (segment %016jx, byte %u) to %#jx it cannot be read, "
        "but it was on disk once (up to %#jx), and %ju valid records follow, up to %#jx; %ju of "
        "them "
        "commit transactions (%ju to %ju).  They and what is between would be lost.  "
        "\"gneiss inspect wal\" shows what can be read.  " WAL_READER_WAY_OUT,
        (uintmax_t)finding->bad, (uintmax_t)wal_format_segment_of(finding->bad),
        wal_format_offset(finding->bad), (uintmax_t)finding->first, (uintmax_t)finding->flushed,
        (uintmax_t)finding->count, (uintmax_t)finding->last, (uintmax_t)finding->commits,
        (uintmax_t)finding->xid_first, (uintmax_t)finding->xid_last);
}

static err_t
judge(struct wal_reader *reader, enum wal_read_result *result)
{
    struct finding finding = { .bad = reader->position };

    finding.flushed = wal_reader_flushed(reader);
    TRY_RETURN(search(reader, &finding));
    *result = WAL_READ_TORN;
    if (finding.count > 0 && finding.flushed > finding.bad) {
        tell_damage(&finding);
        *result = WAL_READ_DAMAGED;
    }
    return OK;
}

/* Nothing but zeros where a record would begin? */
static bool
is_blank(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        if (bytes.data[i] != 0)
            return false;
    return true;
}

err_t
wal_reader_next(struct wal_reader *reader, struct wal_record *record, enum wal_read_result *result)
{
    struct bytes bytes;
    bool good;
    bool blank;

    TRY_RETURN(turn_to(reader, wal_format_segment_of(reader->position), &good));
    if (good)
        TRY_RETURN(check_head(reader, &good));
    bytes = (struct bytes){ NULL, 0 };
    if (good)
        TRY_RETURN(fetch(reader, reader->position, &bytes));
    if (good && bytes.size > 0 && parse(bytes, reader->position, 0, reader->page_size, record) &&
        continues(reader, record)) {
        reader->epoch = record->epoch;
        reader->previous = record->start;
        reader->position = record->end;
        *result = WAL_READ_RECORD;
        return OK;
    }
    /* A segment that the log has not reached looks like one whose head is damaged. */
    blank = !good || is_blank(bytes);
    TRY_RETURN(judge(reader, result));
    if (blank && *result == WAL_READ_TORN)
        *result = WAL_READ_END;
    reader->loaded = 0; /* in a log that is being written there may be more the next time */
    reader->whole = false;
    return OK;
}
