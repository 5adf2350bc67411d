/*
 * wal_reader.h - reading the log from its files, record by record.
 */
#ifndef WAL_WAL_READER_H
#define WAL_WAL_READER_H

#include "wal/wal_record.h"

struct wal_reader;

/* What is left to do when the log is damaged, as said in messages. */
#define WAL_READER_WAY_OUT                                                                      \
    "Restore the segments from a copy, or the data directory from a snapshot; or give up what " \
    "cannot be read by starting once with --set wal.accept_loss=true"

/* `path` is the folder of segments.  `epoch`: of the first record, 0: take it from the record.
   NULL: out of memory. */
struct wal_reader *wal_reader_create(const char *path, uint32_t page_size, uint32_t epoch);
void wal_reader_destroy(struct wal_reader *reader);

enum wal_read_result {
    WAL_READ_RECORD,
    WAL_READ_END,     /* zeroes, or the file ends: nothing more was written */
    WAL_READ_TORN,    /* a bad record, and nothing valid of this chain behind it */
    WAL_READ_DAMAGED, /* a bad record, and valid ones of this chain behind it; err_message tells */
};

/* Begin at `lsn`, which must be the start of a record. */
void wal_reader_seek(struct wal_reader *reader, lsn_t lsn);
/* The next record; valid until the next call.  Errors: ERR_IO (reading), ERR_MEMORY. */
err_t wal_reader_next(
    struct wal_reader *reader, struct wal_record *record, enum wal_read_result *result) MUST_CHECK;

/* Where it stands: end of the last record read. */
lsn_t wal_reader_position(const struct wal_reader *reader);

/* Take only segments of this system; else of any, but all of the same. */
void wal_reader_expect(struct wal_reader *reader, uint64_t system_id);
lsn_t wal_reader_previous(
    const struct wal_reader *reader); /* start of the last record read; 0: none */
uint32_t wal_reader_epoch(const struct wal_reader *reader); /* of the last record read */
/* Up to where the log was certainly on disk when it was last written; 0: not known. */
lsn_t wal_reader_flushed(const struct wal_reader *reader);

/* For fuzzing and tests: parse one record from bytes. */
err_t wal_reader_parse(struct bytes bytes, lsn_t start, uint32_t epoch, uint32_t page_size,
    struct wal_record *record) MUST_CHECK;

#endif
