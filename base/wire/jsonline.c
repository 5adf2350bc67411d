/*
 * jsonline.c - requests of the JSON-lines protocol.
 *
 * INVARIANTS
 *   J1  A request that is yielded has every required member of its verb, and every member that
 *       base/lists/jsonverbs.def names has the JSON kind given there or, if optional, is null.
 *   J2  Where the text of a line is needed only to say what is wrong, it is looked at again
 *       then (jsonparse_locate); the good path parses once.
 */
#include "base/wire/jsonline.h"

#include <inttypes.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

enum kind { STRING, BOOL, SEQUENCE, MAP, USIZE, ANY };

struct field {
    const char *name;
    uint8_t kind;
    bool required;
};

#define FIELDS_MAX 16

struct verb {
    const char *type;
    struct field field[FIELDS_MAX]; /* ends with a NULL name */
};

#define NEED(name, kind)  \
    {                     \
#name, kind, true \
    }
#define MAY(name, kind)    \
    {                      \
#name, kind, false \
    }
#define DB            NEED(database, STRING)
#define COLL          NEED(collection, STRING)
#define TXN           MAY(txn_id, STRING)
#define TIME          MAY(max_time_ms, USIZE)
#define WRITE_OPTIONS TIME, MAY(durable, BOOL)
#define FIND_AND_OPTIONS                                                                   \
    MAY(return_document, STRING), MAY(upsert, BOOL), MAY(sort, ANY), MAY(projection, ANY), \
        MAY(array_filters, SEQUENCE)

static const struct verb verb_row[JSONLINE_VERB_COUNT] = {
#define JSONVERB(id, type, ...) { type, { __VA_ARGS__, { NULL, 0, false } } },
#include "base/lists/jsonverbs.def"
#undef JSONVERB
};

static bool
is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct bytes
trim(struct bytes text)
{
    while (text.size > 0 && is_blank(text.data[0]))
        text = (struct bytes){ text.data + 1, text.size - 1 };
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}

enum textline_result
jsonline_next(
    struct textline *framer, struct bytes input, bool at_end, struct bytes *line, size_t *consumed)
{
    size_t skipped = 0;
    enum textline_result result;

    do {
        size_t step;

        result = textline_next(framer, input, at_end, line, &step);
        skipped += step;
        input = (struct bytes){ input.data + step, input.size - step };
        *line = trim(*line);
    } while (result == TEXTLINE_LINE && line->size == 0);
    *consumed = skipped;
    return result;
}

err_t
jsonline_too_long(struct buf *scratch, size_t limit)
{
    buf_clear(scratch);
    return buf_printf(scratch, "Parse error: request too long (max %zu bytes)", limit);
}

const char *
jsonline_type(enum jsonline_verb verb)
{
    return verb_row[verb].type;
}

bool
jsonline_verb(struct bytes type, enum jsonline_verb *verb)
{
    for (unsigned i = 0; i < JSONLINE_VERB_COUNT; i++)
        if (bytes_is(type, verb_row[i].type)) {
            *verb = (enum jsonline_verb)i;
            return true;
        }
    return false;
}

/* ---------------------------------------------------------------- what is wrong */

/* A decoding in progress. */
struct decoder {
    struct buf *scratch;
    struct bytes line;
    struct bytes request; /* the whole line as BSON, in `scratch` */
    bool refused;
};

/* Begin a refusal in a fresh buf: the values it speaks of are still in scratch. */
static struct buf
refusal_begin(struct decoder *d)
{
    d->refused = true;
    return buf_init(d->scratch->limit);
}

/* Close a refusal and put it where the caller looks for it. */
static err_t
refusal_end(struct decoder *d, struct buf *text, err_t err, size_t column)
{
    if (err == OK)
        err = buf_printf(text, " at line 1 column %zu", column);
    if (err == OK) {
        buf_clear(d->scratch);
        err = buf_append(d->scratch, text->data, text->size);
    }
    buf_fini(text);
    return err;
}

/* Where the value of a member ends in the line, or the line's end. */
static size_t
column_of(const struct decoder *d, const char *const *path, unsigned parts)
{
    struct jsonparse_place place = jsonparse_locate(d->line, path, parts);

    return place.count > 0 ? place.end : d->line.size;
}

static err_t
name_value(struct buf *text, const struct bsonvalue *value)
{
    int64_t whole;
    char room[JSONPRINT_DOUBLE_MAX];

    switch (value->type) {
    case BSONTYPE_INT32:
    case BSONTYPE_INT64:
        (void)bsonvalue_to_int64(value, false, &whole);
        return buf_printf(text, "integer `%" PRId64 "`", whole);
    case BSONTYPE_DOUBLE:
        return buf_printf(text, "floating point `%.*s`",
            (int)jsonprint_double(bsonvalue_double(value), room), room);
    case BSONTYPE_BOOL:
        return buf_printf(text, "boolean `%s`", bsonvalue_bool(value) ? "true" : "false");
    case BSONTYPE_STRING:
        TRY_RETURN(buf_append_text(text, "string "));
        return jsonprint_string(text, bsonvalue_string(value));
    case BSONTYPE_NULL:
        return buf_append_text(text, "null");
    case BSONTYPE_ARRAY:
        return buf_append_text(text, "sequence");
    default:
        return buf_append_text(text, "map"); /* extended JSON is written as an object */
    }
}

static err_t
refuse_missing(struct decoder *d, const char *name)
{
    struct buf text = refusal_begin(d);

    return refusal_end(
        d, &text, buf_printf(&text, "Parse error: missing field `%s`", name), d->line.size);
}

static err_t
refuse_kind(struct decoder *d, const struct bsonvalue *value, const char *what,
    const char *expected, size_t column)
{
    struct buf text = refusal_begin(d);
    err_t err;

    TRY(buf_printf(&text, "Parse error: invalid %s: ", what));
    TRY(name_value(&text, value));
    TRY(buf_printf(&text, ", expected %s", expected));
out:
    return refusal_end(d, &text, err, column);
}

static err_t
refuse_variant(struct decoder *d, struct bytes type)
{
    struct buf text = refusal_begin(d);
    err_t err;

    TRY(buf_append_text(&text, "Parse error: unknown variant `"));
    TRY(buf_append(&text, type.data, type.size));
    TRY(buf_append_text(&text, "`, expected one of "));
    for (unsigned i = 0; i < JSONLINE_VERB_COUNT; i++)
        TRY(buf_printf(&text, "%s`%s`", i > 0 ? ", " : "", verb_row[i].type));
out:
    return refusal_end(d, &text, err, d->line.size);
}

/* ---------------------------------------------------------------- checks */

static bool
is_kind(const struct bsonvalue *value, uint8_t kind)
{
    int64_t number;

    switch (kind) {
    case STRING:
        return value->type == BSONTYPE_STRING;
    case BOOL:
        return value->type == BSONTYPE_BOOL;
    case SEQUENCE:
        return value->type == BSONTYPE_ARRAY;
    case MAP:
        return value->type == BSONTYPE_DOCUMENT;
    case USIZE:
        return (value->type == BSONTYPE_INT32 || value->type == BSONTYPE_INT64) &&
               bsonvalue_to_int64(value, false, &number) && number >= 0;
    default:
        return true;
    }
}

static err_t
refuse_field(struct decoder *d, const struct bsonvalue *value, const struct field *field)
{
    static const char *const expected[] = { [STRING] = "a string",
        [BOOL] = "a boolean",
        [SEQUENCE] = "a sequence",
        [MAP] = "a map",
        [USIZE] = "usize" };
    const char *const path[] = { "command", field->name };
    bool negative =
        field->kind == USIZE && (value->type == BSONTYPE_INT32 || value->type == BSONTYPE_INT64);

    return refuse_kind(
        d, value, negative ? "value" : "type", expected[field->kind], column_of(d, path, 2));
}

/* J1 for the members of the command: wrong kinds first, in the order of the list, as a
   reader of a stream would meet them; then what is missing. */
static err_t
check_fields(struct decoder *d, struct bytes command, const struct verb *verb)
{
    const struct field *missing = NULL;
    struct bsonvalue value;

    for (const struct field *field = verb->field; field->name != NULL; field++) {
        if (!bsonwalk_get(command, field->name, &value)) {
            if (field->required && missing == NULL)
                missing = field;
        } else if (!is_kind(&value, field->kind) &&
                   (field->required || value.type != BSONTYPE_NULL)) {
            return refuse_field(d, &value, field);
        }
    }
    return missing != NULL ? refuse_missing(d, missing->name) : OK;
}

static err_t
check_command(struct decoder *d, struct jsonline_request *request)
{
    static const char *const command_path[] = { "command" };
    static const char *const type_path[] = { "command", "type" };
    struct bsonvalue value;

    if (!bsonwalk_get(d->request, "command", &value))
        return refuse_missing(d, "command");
    if (value.type != BSONTYPE_DOCUMENT)
        return refuse_kind(
            d, &value, "type", "internally tagged enum Command", column_of(d, command_path, 1));
    request->command = value.raw;
    if (!bsonwalk_get(request->command, "type", &value))
        return refuse_missing(d, "type");
    if (value.type != BSONTYPE_STRING)
        return refuse_kind(d, &value, "type", "a string", column_of(d, type_path, 2));
    if (!jsonline_verb(bsonvalue_string(&value), &request->verb))
        return refuse_variant(d, bsonvalue_string(&value));
    return check_fields(d, request->command, &verb_row[request->verb]);
}

static err_t
refuse_duplicate(struct decoder *d, size_t column)
{
    struct buf text = refusal_begin(d);

    return refusal_end(
        d, &text, buf_append_text(&text, "Parse error: duplicate field `request_id`"), column);
}

/* request_id and auth_token. */
static err_t
check_envelope(struct decoder *d, bool duplicate, struct jsonline_request *request)
{
    static const char *const id_path[] = { "request_id" };
    static const char *const token_path[] = { "auth_token" };
    struct bsonvalue value;

    if (!bsonwalk_get(d->request, "request_id", &value))
        return refuse_missing(d, "request_id");
    if (duplicate) {
        struct jsonparse_place place = jsonparse_locate(d->line, id_path, 1); /* J2 */

        if (place.count > 1)
            return refuse_duplicate(d, place.second_key_end);
    }
    if (value.type != BSONTYPE_STRING)
        return refuse_kind(d, &value, "type", "a string", column_of(d, id_path, 1));
    request->request_id = bsonvalue_string(&value);

    request->has_auth_token = false;
    request->auth_token = (struct bytes){ NULL, 0 };
    if (!bsonwalk_get(d->request, "auth_token", &value) || value.type == BSONTYPE_NULL)
        return OK;
    if (value.type != BSONTYPE_STRING)
        return refuse_kind(d, &value, "type", "a string", column_of(d, token_path, 1));
    request->has_auth_token = true;
    request->auth_token = bsonvalue_string(&value);
    return OK;
}

/* The JSON parser's own complaint. */
static err_t
refuse_json(struct decoder *d)
{
    d->refused = true;
    buf_clear(d->scratch);
    return buf_printf(d->scratch, "Parse error: %s", err_message());
}

err_t
jsonline_decode(
    struct buf *scratch, struct bytes line, struct jsonline_request *request, bool *refused)
{
    struct decoder d = { scratch, line, { NULL, 0 }, false };
    struct jsonparse_options options = jsonparse_lines;
    struct jsonparse_result result;
    err_t err;

    buf_clear(scratch);
    options.size_max = scratch->limit;
    err = jsonparse_value(scratch, line, &options, &result);
    if (err == ERR_FAILED_TO_PARSE || err == ERR_TOO_LARGE) {
        err = refuse_json(&d);
    } else if (err == OK && result.value.type != BSONTYPE_DOCUMENT) {
        err = refuse_kind(&d, &result.value, "type", "a map", line.size);
    } else if (err == OK) {
        d.request = result.value.raw;
        err = check_envelope(&d, result.duplicate, request);
        if (err == OK && !d.refused)
            err = check_command(&d, request);
    }
    *refused = d.refused;
    return err;
}
