/*
 * mongo_read.h - what other commands share with find.
 */
#ifndef BACKEND_COMMAND_MONGO_READ_H
#define BACKEND_COMMAND_MONGO_READ_H

#include "backend/command/mongo_fields.h"

/* Run a query and put {cursor: {firstBatch, id, ns}} into the reply.  `batch`: documents at most;
   `single`: no cursor is kept. */
err_t mongo_read_query(struct mongo_request *request, const struct run_query *query, int64_t batch,
    bool single, bool no_timeout, struct bsonbuild *reply) MUST_CHECK;

/* A count as int32 where it fits, as MongoDB does. */
void mongo_read_put_count(struct bsonbuild *reply, const char *key, uint64_t count);

#endif
