/*
 * tempfile.h - temporary files without a name: nothing is left of them, however the process ends.
 *
 * Where the file system has no such files (O_TMPFILE), one is made with a name, which is removed at
 * once.  A process that dies between the two leaves an empty file; whoever owns the folder empties
 * it at its start.  No locks; the descriptor is the caller's.
 */
#ifndef BASE_TEMPFILE_H
#define BASE_TEMPFILE_H

#include <stdint.h>

#include "base/err.h"

/* In this folder, which exists; for reading and writing.  Errors: those of file_open. */
err_t tempfile_open(const char *folder, int *fd) MUST_CHECK;
/* Give it the name `folder`/`name`, so that another process can open it; `size` is that of the
   file.  One that stands there already is taken away.  Where a file whose name was removed cannot
   get another, it is copied, and *fd is the copy. Errors: ERR_DISK_FULL, ERR_IO: it has no name,
   *fd is as before. */
err_t tempfile_name(const char *folder, const char *name, uint64_t size, int *fd) MUST_CHECK;

#endif
