/*
 * wal_inspect.h - printing the log for people: `gneiss inspect wal`.
 */
#ifndef WAL_WAL_INSPECT_H
#define WAL_WAL_INSPECT_H

#include <stdio.h>

#include "wal/wal_record.h"

/* Print the records from `from` (0: the control file's redo point) up to `to` (0: the end), one a
   line: LSN, kind, xid, size, pages, what the handlers' `describe` says.  At the end a line says
   why it ended; damage is printed with what the reader knows of it.  The server may be running.
   Errors: ERR_CORRUPT: the log is damaged (after all was printed that can be read); ERR_IO,
   ERR_MEMORY. */
err_t wal_inspect(const char *data_dir, lsn_t from, lsn_t to,
    const struct wal_handler handlers[WAL_KIND_COUNT], FILE *out) MUST_CHECK;

#endif
