/*
 * pool_write.h - bringing dirty pages to their files; for pool*.c only.
 */
#ifndef STORAGE_PAGE_POOL_WRITE_H
#define STORAGE_PAGE_POOL_WRITE_H

#include "storage/page/pool_buffer.h"

/* Write the buffer, which the caller has pinned, if it is dirty: the log first.  Without `wait`:
   only if nobody else is writing it or holds it exclusively; *written tells.  Errors: ERR_IO,
   ERR_DISK_FULL: it stays dirty. */
err_t pool_write_buffer(buffer_t number, bool wait, bool *written) MUST_CHECK;

/* The pool's part of a checkpoint. */
err_t pool_write_checkpoint(void) MUST_CHECK;

#endif
