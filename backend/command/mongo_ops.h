/*
 * mongo_ops.h - what each process does at the moment: currentOp, killOp, $currentOp.
 */
#ifndef BACKEND_COMMAND_MONGO_OPS_H
#define BACKEND_COMMAND_MONGO_OPS_H

#include "backend/command/mongo.h"

/* Is this pipeline one that begins with $currentOp? */
bool mongo_ops_is_pipeline(struct bytes pipeline);
/* Run it: {$currentOp: …}, then any number of {$match: …}. */
err_t mongo_ops_pipeline(
    struct mongo_request *request, struct bytes pipeline, struct bsonbuild *reply) MUST_CHECK;

#endif
