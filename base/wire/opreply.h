/*
 * opreply.h - replies of the MongoDB wire protocol, written straight into the output buffer.
 *
 *     TRY(opreply_begin(out, &request, reply_id, &reply));
 *     …one BSON document appended to `out`…
 *     TRY(opreply_end(out, &reply));
 *
 * The reply has the form that the request asks for (OP_MSG, or OP_REPLY for OP_QUERY) and
 * echoes its id.  To give up set out->size = reply.start.  No locks.
 */
#ifndef BASE_WIRE_OPREPLY_H
#define BASE_WIRE_OPREPLY_H

#include "base/buf.h"
#include "base/wire/opmsg.h"

struct opreply {
    size_t start; /* of the message in `out` */
    size_t body;  /* where the document begins */
    bool legacy;
    bool checksum;
};

/* Errors: ERR_MEMORY (also the buf's limit); the buf is then as before. */
err_t opreply_begin(struct buf *out, const struct opmsg_request *request, int32_t reply_id,
    struct opreply *reply) MUST_CHECK;

/* Patch the lengths, add the checksum if the request had one.  Errors: ERR_MEMORY;
   ERR_INTERNAL when what was appended is not one document; the buf is then without the reply. */
err_t opreply_end(struct buf *out, const struct opreply *reply) MUST_CHECK;

/* A whole reply at once. */
err_t opreply_document(struct buf *out, const struct opmsg_request *request, int32_t reply_id,
    struct bytes document) MUST_CHECK;

#endif
