/*
 * cursors.c - queries whose results are fetched batch by batch.
 *
 * At the end of a batch the run is saved (run_save: a position, or where the rest of a sorted
 * result lies) and ended; the next batch restores it, wherever it is asked for.  A document that
 * did not fit into the batch is kept beside it.
 *
 * INVARIANTS
 *   K4  From open or take to park or close the process is inside a section of the catalog.
 *   K5  A saved state is taken up once: from then on what it names on disk is the run's, and the
 *       place has no state until the run is saved again.
 *
 * IF A PROCESS DIES while it fetches, the cursor is lost (cursors_table.c); while it is parked,
 * nothing is.
 */
#include "backend/command/cursors.h"

#include <stdio.h>

#include "backend/command/cursors_table.h"
#include "backend/command/verb_statement.h"
#include "base/clock.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/panic.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"

#define STATE_SIZE_MAX ((size_t)256 << 20)

const struct region cursors_region = { "cursors", cursors_table_size, cursors_table_init };

struct cursor {
    struct verb_statement statement; /* of open; `txn` NULL after take */
    const struct verb_ns *ns;
    const struct run_query *query; /* NULL after take: it stands in the place */
    struct run *run;
    uint32_t index;  /* the place, if it has one */
    bool placed;     /* it has */
    bool in_section; /* K4 */
    bool no_timeout;
    bool unread;       /* `last` is to be given again */
    bool ended;        /* the run has no more */
    struct bytes last; /* what was given last */
};

err_t
cursors_open(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, struct cursor **cursor)
{
    struct verb_statement statement;
    const struct filter *filter;
    struct cursor *fresh;
    err_t err = OK;

    *cursor = NULL;
    TRY_RETURN(verb_statement_begin(op, ns, txn, &statement));
    counters_add(COUNTER_QUERIES, 1);
    if (statement.collection == NULL) {
        if (query->filter.size > 0)
            err = filter_compile(op->arena, query->filter, &filter);
        return verb_statement_end(op, &statement, err, false);
    }
    fresh = arena_zalloc(op->arena, sizeof *fresh);
    if (fresh == NULL)
        return verb_statement_end(op, &statement, ERR_MEMORY, false);
    err = run_begin(op, statement.collection, query, txn_snapshot(statement.txn), &fresh->run);
    if (err != OK)
        return verb_statement_end(op, &statement, err, false);
    fresh->statement = statement;
    fresh->ns = ns;
    fresh->query = query;
    fresh->in_section = true;
    *cursor = fresh;
    return OK;
}

err_t
cursors_next(struct op *op, struct cursor *cursor, struct bytes *document, bool *found)
{
    struct row_id root;

    if (cursor->unread) {
        cursor->unread = false;
        *document = cursor->last;
        *found = true;
        return OK;
    }
    *found = false;
    if (cursor->ended)
        return OK;
    TRY_RETURN(interrupt_check(op));
    TRY_RETURN(run_next(op, cursor->run, &cursor->last, &root, found));
    cursor->ended = !*found;
    *document = cursor->last;
    return OK;
}

void
cursors_unread(struct cursor *cursor)
{
    invariant(!cursor->unread && cursor->last.size > 0);
    cursor->unread = true;
}

void
cursors_set_no_timeout(struct cursor *cursor)
{
    cursor->no_timeout = true;
}

/* Leave the statement; the run was paused or ended. */
static err_t
leave(struct op *op, struct cursor *cursor, err_t err)
{
    if (!cursor->in_section)
        return err;
    cursor->in_section = false;
    if (cursor->query != NULL)
        return verb_statement_end(op, &cursor->statement, err, false);
    catalog_leave();
    return err;
}

void
cursors_close(struct op *op, struct cursor *cursor)
{
    if (cursor == NULL)
        return;
    run_end(cursor->run);
    if (cursor->placed)
        cursors_table_free(cursor->index);
    if (leave(op, cursor, OK) != OK)
        return; /* a reader's commit has nothing that could be lost */
}

/* ---- parking ---- */

static err_t
encode_query(struct op *op, const struct run_query *query, struct bytes *encoded)
{
    const struct {
        const char *key;
        struct bytes document;
    } parts[] = { { "f", query->filter }, { "p", query->projection }, { "s", query->sort },
        { "h", query->hint } };
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, op->arena);
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].document.size > 0)
            bsonbuild_document(&build, parts[i].key, parts[i].document);
    bsonbuild_int64(&build, "k", query->skip);
    bsonbuild_int64(&build, "l", query->limit);
    return bsonbuild_end(&build, encoded);
}

static void
decode_query(struct bytes encoded, struct run_query *query)
{
    struct bsonwalk walk;
    struct bsonvalue field;

    *query = (struct run_query){ .skip = 0 };
    if (bsonwalk_begin(&walk, encoded) != OK)
        return;
    while (bsonwalk_next(&walk, &field)) {
        switch (field.key.data[0]) {
        case 'f':
            query->filter = field.raw;
            break;
        case 'p':
            query->projection = field.raw;
            break;
        case 's':
            query->sort = field.raw;
            break;
        case 'h':
            query->hint = field.raw;
            break;
        case 'k':
            query->skip = bsonvalue_int64(&field);
            break;
        default:
            query->limit = bsonvalue_int64(&field);
            break;
        }
    }
}

static err_t
name_of(const struct verb_ns *ns, char name[CURSORS_TABLE_NAME_MAX])
{
    int size = snprintf(
        name, CURSORS_TABLE_NAME_MAX, "%s/%s.%s", ns->tenant, ns->database, ns->collection);

    if (size < 0 || size >= CURSORS_TABLE_NAME_MAX)
        return err_set(ERR_INVALID_NAMESPACE, "the name of a collection is too long");
    return OK;
}

/* A place for a cursor that had none: whose it is, query and snapshot. */
static err_t
find_place(struct op *op, struct cursor *cursor, uint64_t owner)
{
    const struct snapshot *snapshot = txn_snapshot(cursor->statement.txn);
    struct cursors_table_entry *entry;
    struct bytes query;
    uint32_t hold;

    TRY_RETURN(encode_query(op, cursor->query, &query));
    TRY_RETURN(cursors_table_add(&cursor->index));
    cursor->placed = true;
    entry = cursors_table_at(cursor->index);
    entry->owner = owner;
    entry->collection = cursor->statement.collection->oid;
    entry->no_timeout = cursor->no_timeout;
    TRY_RETURN(name_of(cursor->ns, entry->name));
    if (query.size <= CURSORS_TABLE_QUERY_MAX) {
        memcpy(entry->query, query.data, query.size);
        entry->query_size = (uint32_t)query.size;
    } else {
        TRY_RETURN(cursors_table_write_query(cursor->index, query));
    }
    TRY_RETURN(snapshot_hold(snapshot, &hold));
    cursors_table_keep_snapshot(cursor->index, snapshot, hold);
    return OK;
}

/* Save the run into the place. */
static err_t
save(struct op *op, struct cursor *cursor)
{
    struct cursors_table_entry *entry = cursors_table_at(cursor->index);
    struct bytes next = { NULL, 0 }, outside = { NULL, 0 };
    struct buf state = buf_init(STATE_SIZE_MAX);
    char name[SORTER_NAME_SIZE];
    err_t err;

    if (cursor->unread) { /* copied: saving may end what it points into */
        next.data = arena_copy(op->arena, cursor->last.data, cursor->last.size);
        next.size = cursor->last.size;
        if (next.data == NULL)
            return ERR_MEMORY;
    }
    cursors_table_sort_name(cursor->index, name);
    TRY(run_save(cursor->run, name, &state));
    entry->state_in_file = false;
    entry->next_size = 0;
    if (state.size <= CURSORS_TABLE_STATE_MAX) {
        memcpy(entry->state, state.data, state.size);
        entry->state_size = (uint32_t)state.size;
    } else {
        outside = buf_bytes(&state);
    }
    if (outside.size > 0 || next.size > 0)
        TRY(cursors_table_write_tail(cursor->index, outside, next));
out:
    buf_fini(&state);
    return err;
}

static err_t
park(struct op *op, struct cursor *cursor, uint64_t owner)
{
    if (!cursor->placed)
        TRY_RETURN(find_place(op, cursor, owner));
    return save(op, cursor);
}

err_t
cursors_park(struct op *op, struct cursor *cursor, uint64_t owner, int64_t *id)
{
    err_t err = park(op, cursor, owner);

    *id = 0;
    if (err != OK) {
        cursors_close(op, cursor);
        return err;
    }
    *id = cursors_table_at(cursor->index)->id;
    run_end(cursor->run);
    err = leave(op, cursor, OK);
    cursors_table_park(cursor->index, clock_now_ns());
    return err;
}

/* ---- taking up again ---- */

static err_t
restore(struct op *op, struct cursor *cursor)
{
    struct cursors_table_entry *entry = cursors_table_at(cursor->index);
    struct bytes encoded = { entry->query, entry->query_size };
    struct bytes state = { entry->state, entry->state_size };
    struct bytes next = { NULL, 0 };
    struct run_query query;

    if (entry->query_in_file || entry->state_in_file || entry->next_size > 0)
        TRY_RETURN(cursors_table_read_file(cursor->index, op->arena, &encoded, &state, &next));
    decode_query(encoded, &query);
    TRY_RETURN(run_restore(
        op, cursor->statement.collection, &query, &entry->snapshot, state, &cursor->run));
    entry->state_size = 0; /* K5 */
    cursor->last = next;
    cursor->unread = next.size > 0;
    return OK;
}

static err_t
take_up(struct op *op, struct cursor *cursor)
{
    const struct cursors_table_entry *entry = cursors_table_at(cursor->index);

    catalog_enter();
    cursor->in_section = true;
    TRY_RETURN(catalog_find_oid(op, NULL, entry->collection, &cursor->statement.collection));
    if (cursor->statement.collection == NULL) {
        err_t err = err_set(ERR_CURSOR_NOT_FOUND, "collection dropped between getMore calls");

        err_set_mongo(175, "QueryPlanKilled");
        return err;
    }
    return restore(op, cursor);
}

static err_t
refuse(enum cursors_table_answer answer, int64_t id, const struct verb_ns *ns)
{
    err_t err;

    switch (answer) {
    case CURSORS_TABLE_BUSY:
        err = err_set(ERR_CURSOR_NOT_FOUND, "cursor id %jd is already in use", (intmax_t)id);
        err_set_mongo(12051, "CursorInUse");
        return err;
    case CURSORS_TABLE_OTHER_NAME:
        return err_set(ERR_UNAUTHORIZED,
            "Requested getMore on namespace '%s.%s', but cursor belongs to a different namespace",
            ns->database, ns->collection);
    case CURSORS_TABLE_OTHER_OWNER:
        return err_set(ERR_UNAUTHORIZED,
            "Cannot run getMore on cursor %jd, which was not created in this session",
            (intmax_t)id);
    default:
        return err_set(ERR_CURSOR_NOT_FOUND, "cursor id %jd not found", (intmax_t)id);
    }
}

err_t
cursors_take(
    struct op *op, int64_t id, const struct verb_ns *ns, uint64_t owner, struct cursor **cursor)
{
    struct cursor *taken = arena_zalloc(op->arena, sizeof *taken);
    char name[CURSORS_TABLE_NAME_MAX];
    enum cursors_table_answer answer;
    err_t err;

    *cursor = NULL;
    if (taken == NULL)
        return ERR_MEMORY;
    TRY_RETURN(name_of(ns, name));
    answer = cursors_table_take(id, name, owner, &taken->index);
    if (answer != CURSORS_TABLE_TAKEN)
        return refuse(answer, id, ns);
    taken->placed = true;
    err = take_up(op, taken);
    if (err != OK) {
        cursors_close(op, taken);
        return err;
    }
    *cursor = taken;
    return OK;
}

/* ---- ending ---- */

bool
cursors_kill(struct op *op, int64_t id, const struct verb_ns *ns)
{
    char name[CURSORS_TABLE_NAME_MAX];

    (void)op;
    if (ns != NULL && name_of(ns, name) != OK)
        return false;
    return cursors_table_kill(id, ns != NULL ? name : NULL);
}

void
cursors_expire(int64_t idle_ns)
{
    cursors_table_sweep(0, clock_now_ns() - idle_ns);
}

void
cursors_end_owner(uint64_t owner)
{
    if (owner != 0)
        cursors_table_sweep(owner, 0);
}

uint64_t
cursors_open_count(void)
{
    return cursors_table_count();
}

err_t
cursors_verify(void)
{
    return cursors_table_verify();
}
