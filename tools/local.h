/*
 * local.h - the text protocol without a connection: a data directory opened in this process, asked
 * with the same lines and answered with the same bytes as a server would.
 *
 * The caller is the owner of the directory, so every line runs as an administrator of one tenant.
 */
#ifndef TOOLS_LOCAL_H
#define TOOLS_LOCAL_H

#include "base/buf.h"
#include "base/err.h"

struct local;

/* Makes the directory if need be.  Errors: ERR_OPERATION_FAILED with the reason, ERR_MEMORY. */
err_t local_open(struct local **local, const char *data_dir, const char *tenant) MUST_CHECK;
/* Run one line; the reply's bytes are appended to `out`. */
err_t local_ask(struct local *local, struct bytes line, struct buf *out) MUST_CHECK;
/* Errors: the directory was not closed in order; the next open recovers. */
err_t local_close(struct local *local) MUST_CHECK;

#endif
