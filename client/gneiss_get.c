/*
 * gneiss_get.c - one document by its _id.
 *
 * The shortest way down the house: no verb's frame, no allocation once the session's buffers have
 * grown, the document copied once, from the page into the session's buffer.
 */
#include <string.h>

#include "base/doc/keystring.h"
#include "client/embed.h"
#include "shmem/interrupt.h"
#include "storage/collection/collection.h"
#include "storage/txn/txn.h"

/* A text as BSON has it: length, bytes, NUL. */
static err_t
make_string(struct buf *text, const struct gneiss_id *id, struct bytes *payload)
{
    uint32_t size = (uint32_t)id->size + 1;

    if (id->size > COLLECTION_DOCUMENT_MAX)
        return err_set(ERR_TOO_LARGE, "an _id of %zu bytes is too large", id->size);
    buf_clear(text);
    TRY_RETURN(buf_append(text, &size, sizeof size));
    TRY_RETURN(buf_append(text, payload->data, payload->size));
    TRY_RETURN(buf_append_byte(text, '\0'));
    *payload = buf_bytes(text);
    return OK;
}

static err_t
make_key(struct gneiss_session *session, const struct gneiss_id *id)
{
    struct bytes payload = { id->data != NULL ? id->data : id->room, id->size };
    uint8_t type = id->type;
    struct bsonvalue value;

    if (type == 0) {
        TRY_RETURN(make_string(&session->text, id, &payload));
        type = BSONTYPE_STRING;
    }
    value = bsonvalue_make(type, payload);
    buf_clear(&session->key);
    return keystring_append(&session->key, &value, false);
}

static err_t
read_one(struct gneiss_collection *collection, bool *found)
{
    struct gneiss_session *session = collection->session;
    const struct verb_ns *ns = &collection->ns;
    const struct catalog_collection *there;
    struct op *op = &session->op;
    struct row_id root;
    struct txn *txn;
    err_t err;

    catalog_enter();
    err = txn_begin(op, TXN_READ_COMMITTED, true, &txn);
    if (err == OK) {
        err = catalog_find_again(
            op, ns->tenant, ns->database, ns->collection, &collection->memory, &there);
        if (err == OK && there != NULL)
            err = collection_get(op, txn_snapshot(txn), there, buf_bytes(&session->key),
                &session->document, &root, found);
        txn_abort(op, txn); /* it wrote nothing */
    }
    catalog_leave();
    return err;
}

int
gneiss_get(struct gneiss_collection *collection, const struct gneiss_id *id,
    struct gneiss_bson *document, bool *found)
{
    struct gneiss_session *session = collection->session;
    err_t err;

    *found = false;
    err = embed_enter(session, "get");
    if (err != OK)
        return embed_error(NULL, err);
    buf_clear(&session->document);
    TRY(interrupt_check(&session->op));
    TRY(make_key(session, id));
    TRY(read_one(collection, found));
    *document = embed_bson(buf_bytes(&session->document));
out:
    return embed_leave(session, err);
}
