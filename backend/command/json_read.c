/*
 * json_read.c - reading documents in the JSON-lines language.
 *
 * The reply names the number of documents before the documents.  So they are written behind a
 * place for one digit, and moved only if there are more than nine.
 */
#include "backend/command/json_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/command/cursors.h"
#include "backend/command/json_document.h"
#include "backend/command/json_filter.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"

/* ---------------------------------------------------------------- what is asked */

static err_t
put_sort_pair(struct json_call *call, struct bsonbuild *build, const struct bsonvalue *item)
{
    struct bsonwalk walk;
    struct bsonvalue field, direction, more;

    TRY_RETURN(bsonwalk_begin(&walk, item->raw));
    if (item->type == BSONTYPE_ARRAY && bsonwalk_next(&walk, &field) &&
        field.type == BSONTYPE_STRING && bsonwalk_next(&walk, &direction) &&
        !bsonwalk_next(&walk, &more))
        direction.key = bsonvalue_string(&field);
    else if (item->type != BSONTYPE_DOCUMENT || !bsonwalk_next(&walk, &direction) ||
             bsonwalk_next(&walk, &more))
        return json_call_say(call, ERR_FAILED_TO_PARSE,
            "Query parse error: sort takes [field, 1 or -1] pairs or objects of one member");
    bsonbuild_value(build, direction.key, &direction);
    return OK;
}

/* An object as it is written, or an array for clients that cannot keep an order. */
static err_t
read_sort(struct json_call *call, struct bytes *sort)
{
    struct bsonbuild build;
    struct bsonwalk walk;
    struct bsonvalue value, item;

    *sort = (struct bytes){ NULL, 0 };
    if (!json_call_member(call, "sort", &value))
        return OK;
    if (value.type == BSONTYPE_DOCUMENT) {
        *sort = value.raw;
        return OK;
    }
    if (value.type != BSONTYPE_ARRAY)
        return json_call_say(
            call, ERR_FAILED_TO_PARSE, "Query parse error: sort must be a JSON object or an array");
    TRY_RETURN(bsonwalk_begin(&walk, value.raw));
    bsonbuild_begin_arena(&build, call->op->arena);
    while (bsonwalk_next(&walk, &item)) {
        err_t err = OK;

        if (item.type != BSONTYPE_ARRAY && item.type != BSONTYPE_DOCUMENT)
            err = json_call_say(call, ERR_FAILED_TO_PARSE,
                "Query parse error: sort takes [field, 1 or -1] pairs or objects of one member");
        else
            err = put_sort_pair(call, &build, &item);
        if (err != OK) {
            bsonbuild_cancel(&build);
            return err;
        }
    }
    return bsonbuild_end(&build, sort);
}

/* An array of names keeps these, and always _id and _metadata; an object is MongoDB's. */
static err_t
read_projection(struct json_call *call, struct bytes *projection)
{
    struct bsonbuild build;
    struct bsonwalk walk;
    struct bsonvalue value, item;

    *projection = (struct bytes){ NULL, 0 };
    if (!json_call_member(call, "projection", &value))
        return OK;
    if (value.type == BSONTYPE_DOCUMENT) {
        *projection = value.raw;
        return OK;
    }
    if (value.type != BSONTYPE_ARRAY)
        return json_call_say(call, ERR_FAILED_TO_PARSE,
            "Query parse error: projection must be a JSON object or an array of names");
    TRY_RETURN(bsonwalk_begin(&walk, value.raw));
    bsonbuild_begin_arena(&build, call->op->arena);
    bsonbuild_int32(&build, "_id", 1);
    bsonbuild_int32(&build, "_metadata", 1);
    while (bsonwalk_next(&walk, &item)) {
        struct bytes name;

        if (item.type != BSONTYPE_STRING) {
            bsonbuild_cancel(&build);
            return json_call_say(call, ERR_FAILED_TO_PARSE,
                "Query parse error: projection must be a JSON object or an array of names");
        }
        name = bsonvalue_string(&item);
        if (!bytes_is(name, "_id") && !bytes_is(name, "_metadata"))
            bsonbuild_int32(&build, name, 1);
    }
    return bsonbuild_end(&build, projection);
}

err_t
json_read_hint(struct json_call *call, struct bytes *hint)
{
    struct bsonbuild build;
    struct bsonvalue value;

    *hint = (struct bytes){ NULL, 0 };
    if (!json_call_member(call, "hint", &value))
        return OK;
    if (value.type != BSONTYPE_STRING && value.type != BSONTYPE_DOCUMENT)
        return json_call_say(call, ERR_FAILED_TO_PARSE,
            "Query parse error: hint must be an index's name or its fields");
    bsonbuild_begin_arena(&build, call->op->arena);
    bsonbuild_value(&build, "", &value);
    return bsonbuild_end(&build, hint);
}

/* *nothing: a limit of 0, which gives nothing (5.5). */
static err_t
read_query(struct json_call *call, struct run_query *query, bool *nothing)
{
    *query = (struct run_query){ .skip = json_call_number(call, "skip", 0) };
    query->limit = json_call_number(call, "limit", -1);
    *nothing = query->limit == 0;
    if (query->limit < 0)
        query->limit = 0;
    TRY_RETURN(json_filter_of(call, "filter", true, &query->filter));
    TRY_RETURN(read_projection(call, &query->projection));
    TRY_RETURN(read_sort(call, &query->sort));
    return json_read_hint(call, &query->hint);
}

/* ---------------------------------------------------------------- lists of documents */

struct list {
    struct json_call *call;
    size_t start;     /* of the reply's data */
    uint64_t count;   /* written */
    uint64_t at_most; /* 0: no bound */
};

typedef err_t each_fn(void *list, struct bytes document, bool *more);

static const char list_head[] = "{\"count\":0,\"documents\":[";
#define LIST_HEAD_SIZE (sizeof list_head - 1)

static err_t
list_begin(struct list *list, struct json_call *call)
{
    *list = (struct list){ call, call->out->size, 0, 0 };
    return buf_append_text(call->out, list_head);
}

static err_t
list_add(void *context, struct bytes document, bool *more)
{
    struct list *list = context;
    struct json_call *call = list->call;

    if (list->count > 0)
        TRY_RETURN(buf_append_byte(call->out, ','));
    list->count++;
    *more = list->at_most == 0 || list->count < list->at_most;
    return json_document_print(call->out, document, call->config->json_metadata);
}

/* `cursor`: members between the two, "" or ,"cursor_id":… */
static err_t
list_end(struct list *list, const char *cursor)
{
    struct buf *out = list->call->out;
    size_t body = list->start + LIST_HEAD_SIZE;
    const char *head = arena_printf(
        list->call->op->arena, "{\"count\":%" PRIu64 "%s,\"documents\":[", list->count, cursor);
    size_t size;

    if (head == NULL)
        return ERR_MEMORY;
    size = strlen(head);
    TRY_RETURN(buf_append_text(out, "]}"));
    if (size > LIST_HEAD_SIZE) {
        TRY_RETURN(buf_reserve(out, size - LIST_HEAD_SIZE));
        memmove(out->data + list->start + size, out->data + body, out->size - body);
        out->size += size - LIST_HEAD_SIZE;
    }
    memcpy(out->data + list->start, head, size);
    return OK;
}

/* Two look-ups by key, where the filter is a UUID's text. */
static err_t
find_all(struct list *list, const struct run_query *query, each_fn *each)
{
    struct json_call *call = list->call;
    struct run_query one = *query;
    struct bytes filter[2];
    unsigned count = 1;

    filter[0] = query->filter;
    if (query->skip == 0 && query->hint.size == 0)
        TRY_RETURN(json_filter_split(call, query->filter, filter, &count));
    for (unsigned i = 0; i < count; i++) {
        if (i > 0 && query->limit > 0 && list->count >= (uint64_t)query->limit)
            break;
        one.filter = filter[i];
        TRY_RETURN(verb_find(call->op, &call->ns, &one, NULL, each, list));
    }
    return OK;
}

/* ---------------------------------------------------------------- cursors */

/* A cursor's id, for clients a text without meaning: number, size of a batch, namespace. */
static err_t
cursor_member(struct json_call *call, int64_t id, int64_t batch_size, const char **member)
{
    struct buf *text = call->scratch;
    const char *name = arena_printf(call->op->arena, "%" PRId64 ".%" PRId64 ".%s.%s", id,
        batch_size, call->ns.database, call->ns.collection);

    if (name == NULL)
        return ERR_MEMORY;
    buf_clear(text);
    TRY_RETURN(buf_append_text(text, ",\"cursor_id\":"));
    TRY_RETURN(jsonprint_string(text, bytes_of(name)));
    *member = arena_string(call->op->arena, buf_bytes(text));
    return *member != NULL ? OK : ERR_MEMORY;
}

static err_t
not_found(struct json_call *call)
{
    return json_call_say(call, ERR_CURSOR_NOT_FOUND, "Query execution error: cursor not found");
}

/* Fills call->ns as well. */
static err_t
read_cursor_id(struct json_call *call, int64_t *id, int64_t *batch_size)
{
    const char *text, *dot;
    char *end;
    struct bsonvalue value;

    if (!json_call_member(call, "cursor_id", &value))
        return not_found(call);
    text = arena_string(call->op->arena, bsonvalue_string(&value));
    if (text == NULL)
        return ERR_MEMORY;
    *id = strtoll(text, &end, 10);
    if (*end != '.' || *id <= 0)
        return not_found(call);
    *batch_size = strtoll(end + 1, &end, 10);
    dot = *end == '.' ? strchr(end + 1, '.') : NULL;
    if (dot == NULL || *batch_size < 0)
        return not_found(call);
    call->ns.tenant = call->tenant;
    call->ns.database = arena_string(
        call->op->arena, (struct bytes){ (const uint8_t *)end + 1, (size_t)(dot - end - 1) });
    call->ns.collection = dot + 1;
    return call->ns.database != NULL ? OK : ERR_MEMORY;
}

static err_t
fill_batch(struct list *list, struct cursor *cursor, bool *exhausted)
{
    struct json_call *call = list->call;
    struct bytes document;
    bool found = true, more;

    while (found && list->count < list->at_most) {
        TRY_RETURN(cursors_next(call->op, cursor, &document, &found));
        if (found)
            TRY_RETURN(list_add(list, document, &more));
    }
    if (found) {
        TRY_RETURN(cursors_next(call->op, cursor, &document, &found));
        if (found)
            cursors_unread(cursor);
    }
    *exhausted = !found;
    return OK;
}

/* Write one batch; keep the cursor, or close it when there is no more. */
static err_t
put_batch(struct json_call *call, struct cursor *cursor, int64_t batch_size)
{
    const char *member = ",\"cursor_id\":null";
    struct list list;
    bool exhausted = true;
    int64_t id;
    err_t err;

    TRY(list_begin(&list, call));
    list.at_most = (uint64_t)batch_size;
    if (cursor != NULL)
        TRY(fill_batch(&list, cursor, &exhausted));
    if (!exhausted) {
        struct cursor *parked = cursor;

        cursor = NULL;
        TRY(cursors_park(call->op, parked, call->owner, &id));
        call->keeps_cursor = true;
        TRY(cursor_member(call, id, batch_size, &member));
    }
    TRY(list_end(&list, member));
out:
    cursors_close(call->op, cursor);
    return err;
}

static err_t
open_cursor(struct json_call *call, const struct run_query *query, int64_t batch_size)
{
    struct cursor *cursor;

    TRY_RETURN(cursors_open(call->op, &call->ns, query, NULL, &cursor));
    return put_batch(call, cursor, batch_size);
}

/* ---------------------------------------------------------------- the verbs */

err_t
json_read_find(struct json_call *call)
{
    int64_t batch_size = json_call_number(call, "batch_size", -1);
    struct run_query query;
    struct list list;
    bool there, nothing;

    TRY_RETURN(read_query(call, &query, &nothing));
    TRY_RETURN(json_call_resolve(call, JSON_CALL_READ, &there));
    there = there && !nothing;
    if (there && batch_size >= 0)
        return open_cursor(call, &query, batch_size);
    TRY_RETURN(list_begin(&list, call));
    if (there)
        TRY_RETURN(find_all(&list, &query, list_add));
    return list_end(&list, batch_size >= 0 ? ",\"cursor_id\":null" : "");
}

static err_t
print_one(void *context, struct bytes document, bool *more)
{
    struct list *list = context;

    *more = false;
    list->count = 1;
    return json_document_print(list->call->out, document, list->call->config->json_metadata);
}

err_t
json_read_find_one(struct json_call *call)
{
    struct list list = { call, 0, 0, 1 };
    struct run_query query;
    bool there, nothing;

    TRY_RETURN(read_query(call, &query, &nothing));
    query.limit = 1;
    TRY_RETURN(json_call_resolve(call, JSON_CALL_READ, &there));
    TRY_RETURN(buf_append_text(call->out, "{\"document\":"));
    if (there)
        TRY_RETURN(find_all(&list, &query, print_one));
    if (list.count == 0)
        TRY_RETURN(buf_append_text(call->out, "null"));
    return buf_append_byte(call->out, '}');
}

err_t
json_read_count(struct json_call *call)
{
    struct run_query query;
    uint64_t count = 0;
    bool there, nothing;

    TRY_RETURN(read_query(call, &query, &nothing));
    TRY_RETURN(json_call_resolve(call, JSON_CALL_READ, &there));
    if (there && !nothing)
        TRY_RETURN(verb_count(call->op, &call->ns, &query, NULL, &count));
    return buf_printf(call->out, "{\"count\":%" PRIu64 "}", count);
}

err_t
json_read_get_more(struct json_call *call)
{
    struct cursor *cursor;
    int64_t id, batch_size;
    err_t err;

    TRY_RETURN(read_cursor_id(call, &id, &batch_size));
    err = cursors_take(call->op, id, &call->ns, call->owner, &cursor);
    if (err == ERR_UNAUTHORIZED || err == ERR_CURSOR_NOT_FOUND)
        return not_found(call);
    TRY_RETURN(err);
    return put_batch(call, cursor, json_call_number(call, "batch_size", batch_size));
}

err_t
json_read_kill_cursor(struct json_call *call)
{
    int64_t id, batch_size;

    TRY_RETURN(read_cursor_id(call, &id, &batch_size));
    if (!cursors_kill(call->op, id, &call->ns))
        return not_found(call);
    return buf_append_text(call->out, "{\"killed\":true}");
}
