/*
 * verb_statement.c - the frame of every verb.
 *
 * INVARIANTS
 *   V1  A section of the catalog is entered before the collection is looked up and left after an
 *       own transaction has ended: whoever waits for sections to end (a new index, a dropped file)
 *       then finds the statement's writes committed or rolled back.
 *   V2  What a statement holds, it gives back in verb_statement_end, whatever happened.
 *   V5  A statement that gave way to another waits, holding nothing, until that one has ended:
 * begun at once it would take up the same rows and meet it again.
 */
#include "backend/command/verb_statement.h"

#include "base/clock.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"

#define TRIES_MAX    64
#define PAUSE_NS     ((int64_t)500 * 1000)
#define KEEP         ((size_t)256 << 10)
#define KEY_SIZE_MAX ((size_t)32 << 20)

static _Thread_local struct buf key_buf = { .limit = KEY_SIZE_MAX };
static _Thread_local struct buf old_buf = { .limit = 2 * BSONVALUE_INTERNAL_SIZE_MAX };
static _Thread_local struct buf new_buf = { .limit = 2 * BSONVALUE_INTERNAL_SIZE_MAX };

err_t
verb_statement_begin(
    struct op *op, const struct verb_ns *ns, struct txn *txn, struct verb_statement *statement)
{
    err_t err;

    statement->own = txn == NULL;
    statement->txn = txn;
    statement->collection = NULL;
    TRY_RETURN(interrupt_check(op));
    catalog_enter();
    if (txn == NULL)
        err = txn_begin(op, TXN_READ_COMMITTED, true, &statement->txn);
    else
        err = txn_next_statement(txn);
    if (err != OK) {
        catalog_leave();
        return err;
    }
    err = catalog_find(op, txn, ns->tenant, ns->database, ns->collection, &statement->collection);
    if (err != OK)
        return verb_statement_end(op, statement, err, false);
    return OK;
}

err_t
verb_statement_end(struct op *op, struct verb_statement *statement, err_t err, bool durable)
{
    xid_t winner = statement->own ? txn_lost_to(statement->txn) : 0;

    if (statement->own) {
        if (err == OK)
            err = txn_commit(op, statement->txn, durable);
        else
            txn_abort(op, statement->txn);
    }
    statement->txn = NULL;
    statement->collection = NULL;
    catalog_leave(); /* V1 */
    if (winner != 0) {
        err_t waited = txn_wait(op, NULL, winner); /* V5 */

        if (err != OK && waited != OK)
            return waited; /* after a commit the next one that begins will say it */
    }
    return err;
}

static err_t
make_collection(struct op *op, const struct verb_ns *ns, struct txn *txn)
{
    struct txn *own = NULL;
    err_t err;

    if (txn == NULL)
        TRY_RETURN(txn_begin(op, TXN_READ_COMMITTED, true, &own));
    err = catalog_create_collection(op, txn != NULL ? txn : own, ns->tenant, ns->database,
        ns->collection, (struct bytes){ NULL, 0 });
    if (own != NULL && err == OK)
        err = txn_commit(op, own, false); /* what is written into it brings this to disk as well */
    else if (own != NULL)
        txn_abort(op, own);
    return err == ERR_NAMESPACE_EXISTS && txn == NULL ? OK : err;
}

err_t
verb_statement_make_collection(struct op *op, const struct verb_ns *ns, struct verb_write write,
    struct verb_statement *statement)
{
    err_t err = OK;

    if (write.existing)
        err = err_set(ERR_NAMESPACE_NOT_FOUND, "ns not found: %s.%s", ns->database, ns->collection);
    TRY_RETURN(verb_statement_end(op, statement, err, false));
    TRY_RETURN(make_collection(op, ns, write.txn));
    TRY_RETURN(verb_statement_begin(op, ns, write.txn, statement));
    if (statement->collection == NULL) /* dropped again in between */
        return verb_statement_end(op, statement,
            err_set(ERR_NAMESPACE_NOT_FOUND, "%s.%s was dropped", ns->database, ns->collection),
            false);
    return OK;
}

bool
verb_statement_again(struct op *op, const struct verb_write *write, err_t err, unsigned *tries)
{
    if (write->txn != NULL || (err != ERR_DEADLOCK && err != ERR_WRITE_CONFLICT))
        return false;
    if (op->deadline_ns != 0 && clock_now_ns() >= op->deadline_ns)
        return false;
    if (err == ERR_DEADLOCK) /* it has waited already, and gives way to older ones only: they end */
        return true;
    if (++*tries > TRIES_MAX)
        return false;
    latch_clear();
    (void)latch_wait(clock_now_ns() + PAUSE_NS * (1 + *tries % 8));
    return true;
}

static struct buf *
cleared(struct buf *buf)
{
    buf_clear(buf);
    return buf;
}

struct buf *
verb_statement_key(void)
{
    return cleared(&key_buf);
}

struct buf *
verb_statement_old(void)
{
    return cleared(&old_buf);
}

struct buf *
verb_statement_new(void)
{
    return cleared(&new_buf);
}

void
verb_statement_shrink(void)
{
    if (key_buf.capacity + old_buf.capacity + new_buf.capacity <= KEEP)
        return;
    buf_clear(&key_buf);
    buf_clear(&old_buf);
    buf_clear(&new_buf);
    buf_shrink(&key_buf, KEEP);
    buf_shrink(&old_buf, KEEP);
    buf_shrink(&new_buf, KEEP);
}

void
verb_statement_forget(void)
{
    buf_fini(&key_buf);
    buf_fini(&old_buf);
    buf_fini(&new_buf);
}

err_t
verb_statement_wrap(struct op *op, const struct bsonvalue *value, struct bytes *document)
{
    size_t size = 4 + 2 + value->raw.size + 1;
    uint8_t *room = arena_alloc(op->arena, size);
    uint32_t length = (uint32_t)size;

    if (room == NULL)
        return ERR_MEMORY;
    memcpy(room, &length, sizeof length);
    room[4] = value->type;
    room[5] = 0;
    if (value->raw.size > 0)
        memcpy(room + 6, value->raw.data, value->raw.size);
    room[size - 1] = 0;
    *document = (struct bytes){ room, size };
    return OK;
}

bool
verb_statement_only_id(struct bytes filter, struct bsonvalue *id)
{
    struct bsonwalk walk;
    struct bsonvalue more;

    if (filter.size < BSONVALUE_DOCUMENT_SIZE_LEAST || bsonwalk_begin(&walk, filter) != OK ||
        !bsonwalk_next(&walk, id) || !bytes_is(id->key, "_id") || bsonwalk_next(&walk, &more) ||
        bsonwalk_end(&walk) != OK)
        return false;
    switch (id->type) {
    case BSONTYPE_DOUBLE:
    case BSONTYPE_STRING:
    case BSONTYPE_BINARY:
    case BSONTYPE_OBJECTID:
    case BSONTYPE_BOOL:
    case BSONTYPE_DATE:
    case BSONTYPE_INT32:
    case BSONTYPE_TIMESTAMP:
    case BSONTYPE_INT64:
    case BSONTYPE_DECIMAL128:
        return true;
    default: /* null also finds what is missing, documents may be operators */
        return false;
    }
}
