/*
 * nodeid.h - which node this is: <data>/_cluster/node.json.
 *
 * No locks.  Written once, at the first start.
 */
#ifndef BACKEND_AUTH_NODEID_H
#define BACKEND_AUTH_NODEID_H

#include "base/config.h"
#include "base/ids.h"

struct nodeid {
    char node_id[IDS_TEXT_SIZE], cluster_id[IDS_TEXT_SIZE];
};

/* Read the identity, or make one.  Errors: ERR_CONFIG: it cannot be read, or cluster.cluster_id is
   another; ERR_IO, ERR_DISK_FULL. */
err_t nodeid_prepare(const struct config *config) MUST_CHECK;
/* Read it.  Errors: ERR_CONFIG: there is none. */
err_t nodeid_read(const struct config *config, struct nodeid *id) MUST_CHECK;

#endif
