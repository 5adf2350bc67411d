/*
 * opreply.c - replies of the MongoDB wire protocol.
 *
 *   OP_MSG:   header, flags, kind byte 0, document, [CRC-32C]
 *   OP_REPLY: header, flags, cursor id (8), starting from, number returned, document
 */
#include "base/wire/opreply.h"

#include "base/crc32c.h"
#include "base/doc/bsonvalue.h"

#define MSG_PREFIX    (OPMSG_HEADER_SIZE + 4 + 1)
#define REPLY_PREFIX  (OPMSG_HEADER_SIZE + 20)
#define AWAIT_CAPABLE 8 /* OP_REPLY's flag, always set by MongoDB */

static void
store32(uint8_t *at, uint32_t word)
{
    memcpy(at, &word, sizeof word);
}

err_t
opreply_begin(
    struct buf *out, const struct opmsg_request *request, int32_t reply_id, struct opreply *reply)
{
    struct opmsg_header header = { 0, reply_id, request->header.request_id,
        request->legacy ? OPMSG_OP_REPLY : OPMSG_OP_MSG };
    size_t prefix = request->legacy ? REPLY_PREFIX : MSG_PREFIX;
    uint8_t *at;

    TRY_RETURN(buf_reserve(out, prefix));
    at = out->data + out->size;
    memset(at, 0, prefix);
    memcpy(at, &header, sizeof header);
    if (request->legacy) {
        store32(at + OPMSG_HEADER_SIZE, AWAIT_CAPABLE);
        store32(at + OPMSG_HEADER_SIZE + 16, 1); /* one document */
    } else if (request->checksum) {
        store32(at + OPMSG_HEADER_SIZE, OPMSG_CHECKSUM_PRESENT);
    }
    *reply = (struct opreply){ out->size, out->size + prefix, request->legacy,
        !request->legacy && request->checksum };
    out->size += prefix;
    return OK;
}

err_t
opreply_end(struct buf *out, const struct opreply *reply)
{
    size_t body = out->size - reply->body;
    size_t size = out->size - reply->start + (reply->checksum ? 4 : 0);
    err_t err = OK;

    if (out->size < reply->body + BSONVALUE_DOCUMENT_SIZE_LEAST ||
        bsonvalue_load32(out->data + reply->body) != body || size > OPMSG_SIZE_MAX) {
        out->size = reply->start;
        return err_set(ERR_INTERNAL,
            "could not send a reply of %zu bytes: not one document that "
            "fits a message",
            size);
    }
    store32(out->data + reply->start, (uint32_t)size);
    if (reply->checksum) {
        uint32_t crc = crc32c(0, out->data + reply->start, size - 4);

        err = buf_append(out, &crc, sizeof crc);
    }
    if (err != OK)
        out->size = reply->start;
    return err;
}

err_t
opreply_document(
    struct buf *out, const struct opmsg_request *request, int32_t reply_id, struct bytes document)
{
    struct opreply reply;
    err_t err;

    TRY_RETURN(opreply_begin(out, request, reply_id, &reply));
    err = buf_append(out, document.data, document.size);
    if (err != OK) {
        out->size = reply.start;
        return err;
    }
    return opreply_end(out, &reply);
}
