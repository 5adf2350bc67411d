/*
 * text_scan.c - the documents of a collection in the order of their UUIDs.
 *
 * The index on _id is read in two places: where the binaries of UUIDs stand, and, in a collection
 * that has them, where the texts stand; both give UUIDs in order, and are merged.
 *
 * The exact number of elements stands at the front of a reply, so a long reply takes two passes
 * under one snapshot: the first encodes what fits into `rows` and counts the rest, the others go
 * on behind the last key.  Between passes no section of the catalog is held: a client that reads
 * slowly holds up no one who defines something.
 *
 * INVARIANTS
 *   S1  Every pass reads from the same snapshot: what was counted is what is sent.
 *   S2  Once a part of a reply may have been sent, an error closes the connection (run->broken).
 */
#include "backend/command/text_scan.h"

#include "backend/command/text_value.h"
#include "backend/command/verb_statement.h"
#include "base/doc/keystring.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"
#include "storage/collection/collection.h"

#define HOLD ((size_t)1 << 20) /* bytes of a reply that are held at most */

static const uint8_t least[16];
static const uint8_t most[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff };

/* Documents with keys of one kind. */
struct side {
    struct collection_scan *scan;
    struct bytes document;
    uint8_t uuid[16];
    bool has; /* `document` is one to be given */
};

/* Documents of [start, end], in the order of their UUIDs. */
struct walk {
    struct side side[2]; /* by enum text_value_key */
    unsigned sides;
};

/* What has been given so far; where the next pass goes on. */
struct progress {
    const uint8_t *start, *end;
    bool begun; /* go on behind `last` */
    uint8_t last[16];
    enum text_value_key last_key;
    uint64_t given;
};

/* The key in the index on _id, in the op's arena. */
static err_t
index_key(struct text_run *run, const uint8_t uuid[16], enum text_value_key kind, struct bytes *key)
{
    uint8_t room[TEXT_VALUE_ID_ROOM];
    struct bsonvalue id = text_value_id(uuid, kind, room);
    uint8_t *copy;

    buf_clear(&run->key);
    TRY_RETURN(keystring_append(&run->key, &id, false));
    copy = arena_copy(run->op->arena, run->key.data, run->key.size);
    if (copy == NULL)
        return ERR_MEMORY;
    *key = (struct bytes){ copy, run->key.size };
    return OK;
}

/* ---------------------------------------------------------------- walking */

static err_t
side_next(struct text_run *run, struct side *side, enum text_value_key kind)
{
    enum text_value_key key;
    struct row_id root;
    bool found;

    do {
        TRY_RETURN(interrupt_check(run->op));
        TRY_RETURN(collection_scan_next(run->op, side->scan, &side->document, &root, &found));
        side->has = found && text_value_key(side->document, side->uuid, &key) && key == kind;
    } while (found && !side->has);
    return OK;
}

static void
walk_end(struct walk *walk)
{
    for (unsigned i = 0; i < walk->sides; i++)
        if (walk->side[i].scan != NULL)
            collection_scan_end(walk->side[i].scan);
    walk->sides = 0;
}

/* The bounds of one side: behind what was given last.  The binary of a UUID comes before its
   text. */
static err_t
side_range(struct text_run *run, const struct progress *progress, enum text_value_key kind,
    struct index_range *range)
{
    const uint8_t *low = progress->begun ? progress->last : progress->start;

    *range = (struct index_range){ .has_low = true, .has_high = true };
    range->low_excluded =
        progress->begun && (kind == progress->last_key || kind == TEXT_VALUE_BINARY);
    TRY_RETURN(index_key(run, low, kind, &range->low));
    return index_key(run, progress->end, kind, &range->high);
}

static err_t
walk_begin(struct text_run *run, const struct verb_statement *statement,
    const struct progress *progress, struct walk *walk)
{
    const struct catalog_collection *collection = statement->collection;
    struct index_range range;
    err_t err = OK;

    *walk = (struct walk){ .sides = collection->string_keys ? 2 : 1 };
    if (memcmp(progress->start, progress->end, 16) > 0)
        return OK;
    for (unsigned i = 0; i < walk->sides; i++) {
        TRY(side_range(run, progress, (enum text_value_key)i, &range));
        TRY(collection_scan_index(run->op, collection, collection->index[0], &range, 1,
            txn_snapshot(statement->txn), &walk->side[i].scan));
        TRY(side_next(run, &walk->side[i], (enum text_value_key)i));
    }
out:
    if (err != OK)
        walk_end(walk);
    return err;
}

/* The side whose document is next; NULL: none is left. */
static struct side *
walk_next(struct walk *walk)
{
    struct side *first = NULL;

    for (unsigned i = 0; i < walk->sides; i++) {
        struct side *side = &walk->side[i];

        if (side->has && (first == NULL || memcmp(side->uuid, first->uuid, 16) < 0))
            first = side;
    }
    return first;
}

/* ---------------------------------------------------------------- counting */

/* Documents in one range of the index on _id: all, and those that are seen here. */
static err_t
count_range(struct text_run *run, const struct catalog_collection *collection,
    const struct snapshot *snapshot, const struct index_range *range, uint64_t *all, uint64_t *seen)
{
    struct collection_scan *scan = NULL;
    err_t err;

    TRY_RETURN(collection_scan_index(
        run->op, collection, collection->index[0], range, 1, snapshot, &scan));
    for (;;) {
        enum text_value_key key;
        struct bytes document;
        struct row_id root;
        uint8_t uuid[16];
        bool found;

        TRY(interrupt_check(run->op));
        TRY(collection_scan_next(run->op, scan, &document, &root, &found));
        if (!found)
            break;
        ++*all;
        *seen += text_value_key(document, uuid, &key);
    }
    err = OK;
out:
    collection_scan_end(scan);
    return err;
}

/* All documents, less those whose keys stand elsewhere than the binaries of UUIDs, which are few
   where this protocol is used. */
err_t
text_scan_visible(struct text_run *run, const struct catalog_collection *collection,
    const struct snapshot *snapshot, uint64_t *count)
{
    struct index_range below = { .has_high = true, .high_excluded = true };
    struct index_range above = { .has_low = true, .low_excluded = true };
    uint64_t rows, elsewhere = 0, seen = 0;

    TRY_RETURN(index_key(run, least, TEXT_VALUE_BINARY, &below.high));
    TRY_RETURN(index_key(run, most, TEXT_VALUE_BINARY, &above.low));
    TRY_RETURN(count_range(run, collection, snapshot, &below, &elsewhere, &seen));
    TRY_RETURN(count_range(run, collection, snapshot, &above, &elsewhere, &seen));
    TRY_RETURN(collection_count(run->op, collection, snapshot, &rows));
    *count = rows - elsewhere + seen;
    return OK;
}

err_t
text_scan_count(struct text_run *run, const struct textcmd *command)
{
    struct verb_statement statement;
    struct verb_ns ns;
    uint64_t count = 0;
    bool exists;
    err_t err = OK;

    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &exists));
    if (!exists)
        return OK;
    TRY_RETURN(verb_statement_begin(run->op, &ns, NULL, &statement));
    exists = statement.collection != NULL;
    if (exists)
        err = text_scan_visible(run, statement.collection, txn_snapshot(statement.txn), &count);
    TRY_RETURN(verb_statement_end(run->op, &statement, err, false));
    counters_add(COUNTER_QUERIES, 1);
    return exists ? textreply_integer(run->out, (int64_t)count) : text_run_missing(run, &ns);
}

/* ---------------------------------------------------------------- SCAN */

/* Encode one document into `rows`. */
static err_t
encode(struct text_run *run, const struct side *side)
{
    char key[TEXTUUID_SIZE + 1];
    struct textreply_bulk bulk;
    struct arena_mark mark = arena_mark(run->op->arena);
    err_t err;

    buf_clear(&run->document);
    TRY_RETURN(buf_append(&run->document, side->document.data, side->document.size));
    textuuid_print(side->uuid, key);
    key[TEXTUUID_SIZE] = ' ';
    TRY_RETURN(textreply_bulk_begin(&run->rows, side->document.size + sizeof key, &bulk));
    TRY_RETURN(buf_append(&run->rows, key, sizeof key));
    err = text_value_print(&run->rows, run->op->arena, run->document.data, run->document.size);
    arena_rewind(run->op->arena, mark);
    return err == OK ? textreply_bulk_end(&run->rows, &bulk) : err;
}

/* Encode what fits into `rows`, from where `progress` stands.  `rest` not NULL: and count what does
   not. */
static err_t
fill(struct text_run *run, const struct verb_statement *statement, struct progress *progress,
    uint64_t *rest)
{
    struct side *side;
    struct walk walk;
    err_t err;

    buf_clear(&run->rows);
    TRY_RETURN(walk_begin(run, statement, progress, &walk));
    while ((side = walk_next(&walk)) != NULL) {
        enum text_value_key kind = (enum text_value_key)(side - walk.side);

        if (run->rows.size < HOLD) {
            TRY(encode(run, side));
            memcpy(progress->last, side->uuid, 16);
            progress->last_key = kind;
            progress->begun = true;
            progress->given++;
        } else if (rest != NULL) {
            ++*rest;
        } else {
            break;
        }
        TRY(side_next(run, side, kind));
    }
    err = OK;
out:
    walk_end(&walk);
    return err;
}

/* One pass, in a statement of its own.  *exists: the collection is still there. */
static err_t
pass(struct text_run *run, const struct verb_ns *ns, struct txn *txn, struct progress *progress,
    uint64_t *rest, bool *exists)
{
    struct arena_mark mark = arena_mark(run->op->arena);
    struct verb_statement statement;
    err_t err = OK;

    TRY_RETURN(verb_statement_begin(run->op, ns, txn, &statement));
    *exists = statement.collection != NULL;
    if (*exists)
        err = fill(run, &statement, progress, rest);
    err = verb_statement_end(run->op, &statement, err, false);
    arena_rewind(run->op->arena, mark);
    return err;
}

/* *exists false: nothing was sent. */
static err_t
send_all(struct text_run *run, const struct verb_ns *ns, struct txn *txn, struct progress *progress,
    bool *exists)
{
    uint64_t rest = 0, count;

    TRY_RETURN(pass(run, ns, txn, progress, &rest, exists));
    if (!*exists)
        return OK;
    count = progress->given + rest;
    TRY_RETURN(textreply_array(run->out, count));
    TRY_RETURN(buf_append(run->out, run->rows.data, run->rows.size));
    if (rest == 0)
        return OK;
    run->broken = true; /* S2 */
    while (progress->given < count) {
        uint64_t before = progress->given;

        TRY_RETURN(run->drain(run->drain_context));
        TRY_RETURN(pass(run, ns, txn, progress, NULL, exists));
        if (!*exists || progress->given == before || progress->given > count)
            return err_set(ERR_OPERATION_FAILED, "the collection went away during a scan");
        TRY_RETURN(buf_append(run->out, run->rows.data, run->rows.size));
    }
    run->broken = false;
    return OK;
}

err_t
text_scan_scan(struct text_run *run, const struct textcmd *command)
{
    struct progress progress = { .start = least, .end = most };
    uint8_t start[16], end[16];
    struct verb_ns ns;
    struct txn *txn;
    bool good, exists;
    err_t err;

    if (command->arg_count == 3) {
        TRY_RETURN(text_run_uuid(run, command->arg[1], start, &good));
        if (!good)
            return OK;
        TRY_RETURN(text_run_uuid(run, command->arg[2], end, &good));
        if (!good)
            return OK;
        progress.start = start;
        progress.end = end;
    }
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    TRY_RETURN(txn_begin(run->op, TXN_SNAPSHOT, true, &txn)); /* S1 */
    err = send_all(run, &ns, txn, &progress, &exists);
    txn_abort(run->op, txn); /* it has only read */
    counters_add(COUNTER_QUERIES, 1);
    if (err != OK)
        return err;
    return exists ? OK : text_run_missing(run, &ns);
}
