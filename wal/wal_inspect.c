/*
 * wal_inspect.c - printing the log for people.
 */
#include "wal/wal_inspect.h"

#include <inttypes.h>
#include <string.h>

#include "wal/control.h"
#include "wal/wal_format.h"
#include "wal/wal_reader.h"
#include "wal/wal_segment.h"

#define TEXT_MAX 65536

/* What the log itself knows to say of its own records. */
static err_t
describe_own(const struct wal_record *record, struct buf *text)
{
    if (record->kind == WAL_EPOCH && record->data.size >= sizeof(struct wal_format_epoch)) {
        struct wal_format_epoch epoch;

        memcpy(&epoch, record->data.data, sizeof epoch);
        return buf_printf(
            text, "epoch %" PRIu32 " ends, %" PRIu32 " begins", epoch.from, record->epoch);
    }
    if (record->kind == WAL_CHECKPOINT &&
        record->data.size >= sizeof(struct wal_format_checkpoint)) {
        struct wal_format_checkpoint point;

        memcpy(&point, record->data.data, sizeof point);
        TRY_RETURN(buf_printf(text, "redo %#jx numbers", (uintmax_t)point.redo));
        for (size_t i = 0; i < sizeof point.numbers / sizeof *point.numbers; i++)
            TRY_RETURN(buf_printf(text, " %ju", (uintmax_t)point.numbers[i]));
        return OK;
    }
    return buf_printf(text, "%zu bytes of data", record->data.size);
}

static void
print_pages(const struct wal_record *record, FILE *out)
{
    for (unsigned i = 0; i < record->page_count; i++) {
        const struct wal_page_view *view = &record->page[i];

        (void)fprintf(out, " %" PRIu32 "/%" PRIu32, view->id.file, view->id.block);
        if ((view->flags & WAL_PAGE_INIT) != 0)
            (void)fprintf(out, "(new)");
        if (view->image.size > 0)
            (void)fprintf(out, "(%s %zu bytes%s)", view->has_image ? "whole" : "check",
                view->image.size, view->compressed ? " packed" : "");
    }
}

static err_t
print_record(const struct wal_record *record, const struct wal_handler *handlers, struct buf *text,
    FILE *out)
{
    bool known = (unsigned)record->kind < WAL_KIND_COUNT;

    buf_clear(text);
    if (known && handlers != NULL && handlers[record->kind].describe != NULL)
        TRY_RETURN(handlers[record->kind].describe(record, text));
    else
        TRY_RETURN(describe_own(record, text));
    (void)fprintf(out, "%#jx %s xid %ju len %ju pages", (uintmax_t)record->start,
        wal_record_kind_name(record->kind), (uintmax_t)record->xid,
        (uintmax_t)(record->end - record->start));
    print_pages(record, out);
    (void)fprintf(out, ": %.*s\n", (int)text->size, text->size > 0 ? (const char *)text->data : "");
    return OK;
}

static const char *
why_it_ends(enum wal_read_result result)
{
    return result == WAL_READ_TORN ? "a record that was not written whole, and nothing behind it"
                                   : "nothing more was written";
}

err_t
wal_inspect(const char *data_dir, lsn_t from, lsn_t to,
    const struct wal_handler handlers[WAL_KIND_COUNT], FILE *out)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    struct buf text = buf_init(TEXT_MAX);
    struct wal_reader *reader = NULL;
    struct control control;
    struct wal_record record;
    enum wal_read_result result;
    err_t err;

    TRY(control_read(data_dir, &control));
    TRY(wal_segment_folder(data_dir, folder));
    reader = wal_reader_create(folder, control.page_size, 0);
    if (reader == NULL)
        TRY(ERR_MEMORY);
    wal_reader_expect(reader, control.system_id);
    wal_reader_seek(reader, from != 0 ? from : control.redo);
    for (;;) {
        if (to != 0 && wal_reader_position(reader) >= to)
            goto out;
        TRY(wal_reader_next(reader, &record, &result));
        if (result != WAL_READ_RECORD)
            break;
        TRY(print_record(&record, handlers, &text, out));
    }
    if (result == WAL_READ_DAMAGED) {
        (void)fprintf(
            out, "%#jx DAMAGED: %s\n", (uintmax_t)wal_reader_position(reader), err_message());
        TRY(ERR_CORRUPT);
    }
    (void)fprintf(
        out, "%#jx end: %s\n", (uintmax_t)wal_reader_position(reader), why_it_ends(result));
out:
    wal_reader_destroy(reader);
    buf_fini(&text);
    return err;
}
