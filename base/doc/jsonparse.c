/*
 * jsonparse.c - JSON into BSON.
 *
 * The parser writes BSON as it reads: an object is a document whose length is filled in at its
 * end.  Only then are two things looked at that need all of it: names that stand there twice,
 * and extended JSON (an object whose first name begins with '$').
 *
 * `members` is a stack of the elements of all objects that are open, so that names can be
 * compared without walking; an object with many members sorts them instead of comparing each
 * with each.
 *
 * INVARIANTS
 *   P1  `at` is in [start, end]; nothing behind `end` is read.
 *   P2  out->size only grows while a value is read, except where a finished object is replaced.
 *
 * Recursion is bounded by depth_max, JSONPARSE_DEPTH_MAX unless the caller says otherwise.
 */
#include "base/doc/jsonparse.h"

#include <stdlib.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonextended.h"
#include "base/doc/jsonnumber.h"
#include "base/mutant.h"
#include "base/panic.h"

#define FEW_MEMBERS 16

const struct jsonparse_options jsonparse_text = { JSONPARSE_INT64, JSONPARSE_FAITHFUL, 0, 0, false,
    true };
const struct jsonparse_options jsonparse_lines = { JSONPARSE_INT32, JSONPARSE_EXTENDED, 0,
    (size_t)256 * 1024 * 1024, false, false };
const struct jsonparse_options jsonparse_import = { JSONPARSE_INT32, JSONPARSE_EXTENDED, 0, 0,
    false, false };

struct member {
    size_t start; /* of the element in `out`, relative to the object */
    uint32_t key_size;
    uint32_t order; /* among the object's members */
};

struct parser {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    struct buf *out;
    const struct jsonparse_options *options;
    struct jsonparse_result *result;
    struct member *member;
    size_t member_count;
    size_t member_capacity;
    size_t out_start;
    size_t out_max; /* out->size beyond which reading is given up */
    unsigned depth;
};

static err_t parse_value(struct parser *parser, uint8_t *type);

/* Errors */

/* `where` is the byte that cannot be accepted, or `end`. */
static err_t
refuse(struct parser *parser, const uint8_t *where, const char *reason)
{
    struct jsonparse_result *result = parser->result;
    size_t position = (size_t)(where - parser->start) + (where < parser->end);
    const uint8_t *line = parser->start, *next;

    result->line = 1;
    while ((next = memchr(line, '\n', (size_t)(where - line))) != NULL) {
        line = next + 1;
        result->line++;
    }
    result->reason = reason;
    result->position = position;
    result->column = (size_t)(where - line) + (where < parser->end);
    return err_set(ERR_FAILED_TO_PARSE, "%s at line 1 column %zu", reason, position);
}

static err_t
refuse_end(struct parser *parser, const char *reason)
{
    return refuse(parser, parser->end, reason);
}

static err_t
too_large(struct parser *parser, size_t size)
{
    size_t max =
        parser->options->size_max > 0 ? parser->options->size_max : BSONVALUE_DOCUMENT_SIZE_MAX;

    parser->result->reason = "document too large";
    return err_set(ERR_TOO_LARGE, "document too large: %zu bytes (max %zu)", size, max);
}

/* Output */

static err_t
reserve(struct parser *parser, size_t more)
{
    if (parser->out->capacity - parser->out->size >= more)
        return OK;
    if (parser->out->size + more > parser->out_max)
        return too_large(parser, parser->out->size + more - parser->out_start);
    return buf_reserve(parser->out, more);
}

static err_t
put(struct parser *parser, const void *data, size_t size)
{
    TRY_RETURN(reserve(parser, size));
    if (size > 0)
        memcpy(parser->out->data + parser->out->size, data, size);
    parser->out->size += size;
    return OK;
}

/* Fill in the length word at `start` of what has been written since. */
static void
put_size(struct parser *parser, size_t start, size_t not_counted)
{
    uint32_t size = (uint32_t)(parser->out->size - start - not_counted);

    memcpy(parser->out->data + start, &size, sizeof size);
}

static void
skip_space(struct parser *parser)
{
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\n' ||
                                           *parser->at == '\r' || *parser->at == '\t'))
        parser->at++;
}

/* Strings */

static const uint8_t hex_value[256] = {
    ['0'] = 1,
    ['1'] = 2,
    ['2'] = 3,
    ['3'] = 4,
    ['4'] = 5,
    ['5'] = 6,
    ['6'] = 7,
    ['7'] = 8,
    ['8'] = 9,
    ['9'] = 10,
    ['a'] = 11,
    ['b'] = 12,
    ['c'] = 13,
    ['d'] = 14,
    ['e'] = 15,
    ['f'] = 16,
    ['A'] = 11,
    ['B'] = 12,
    ['C'] = 13,
    ['D'] = 14,
    ['E'] = 15,
    ['F'] = 16,
};

static err_t
parse_hex(struct parser *parser, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        if (parser->at == parser->end)
            return refuse_end(parser, "EOF while parsing a string");
        if (hex_value[*parser->at] == 0)
            return refuse(parser, parser->at, "invalid escape");
        *unit = *unit << 4 | (uint32_t)(hex_value[*parser->at++] - 1);
    }
    return OK;
}

static err_t
put_utf8(struct parser *parser, uint32_t point)
{
    uint8_t bytes[4];
    size_t size;

    if (point < 0x80) {
        bytes[0] = (uint8_t)point;
        size = 1;
    } else if (point < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | point >> 6);
        bytes[1] = (uint8_t)(0x80 | (point & 0x3f));
        size = 2;
    } else if (point < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | point >> 12);
        bytes[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (point & 0x3f));
        size = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | point >> 18);
        bytes[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        bytes[3] = (uint8_t)(0x80 | (point & 0x3f));
        size = 4;
    }
    return put(parser, bytes, size);
}

static err_t
parse_unicode(struct parser *parser, bool key)
{
    static const char lone[] = "lone leading surrogate in hex escape";
    uint32_t unit, low;

    TRY_RETURN(parse_hex(parser, &unit));
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return refuse(parser, parser->at - 1, lone);
    if (unit >= 0xd800 && unit <= 0xdbff) {
        for (const char *wanted = "\\u"; *wanted != '\0'; wanted++) {
            if (parser->at == parser->end)
                return refuse_end(parser, "EOF while parsing a string");
            if (*parser->at != (uint8_t)*wanted)
                return refuse(parser, parser->at, lone);
            parser->at++;
        }
        TRY_RETURN(parse_hex(parser, &low));
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(parser, parser->at - 1, lone);
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    if (unit == 0 && key)
        return refuse(parser, parser->at - 1, "key contains a NUL character");
    return put_utf8(parser, unit);
}

static err_t
parse_escape(struct parser *parser, bool key)
{
    static const char letter[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (parser->at == parser->end)
        return refuse_end(parser, "EOF while parsing a string");
    if (*parser->at == 'u') {
        parser->at++;
        return parse_unicode(parser, key);
    }
    found = *parser->at != 0 ? strchr(letter, *parser->at) : NULL;
    if (found == NULL)
        return refuse(parser, parser->at, "invalid escape");
    parser->at++;
    return put(parser, &meaning[found - letter], 1);
}

/* Behind the opening quote; writes the text and no NUL. */
static err_t
parse_string(struct parser *parser, bool key)
{
    for (;;) {
        const uint8_t *run = parser->at, *at = run;
        uint8_t high = 0;
        struct bytes text;

        while (at < parser->end && *at != '"' && *at != '\\' && *at >= 0x20)
            high |= *at++;
        text = (struct bytes){ run, (size_t)(at - run) };
        if (high >= 0x80) {
            size_t valid = bsonwalk_utf8_valid_size(text);

            if (valid < text.size)
                return refuse(parser, run + valid, "invalid unicode code point");
        }
        TRY_RETURN(put(parser, text.data, text.size));
        parser->at = at;
        if (at == parser->end)
            return refuse_end(parser, "EOF while parsing a string");
        if (*at < 0x20)
            return refuse(
                parser, at, "control character (\\u0000-\\u001F) found while parsing a string");
        parser->at++;
        if (*at == '"')
            return OK;
        TRY_RETURN(parse_escape(parser, key));
    }
}

static err_t
parse_string_value(struct parser *parser)
{
    size_t start = parser->out->size;

    TRY_RETURN(put(parser, "\0\0\0\0", 4));
    TRY_RETURN(parse_string(parser, false));
    TRY_RETURN(put(parser, "", 1));
    put_size(parser, start, 4);
    return OK;
}

/* Numbers */

static err_t
parse_number(struct parser *parser, uint8_t *type)
{
    struct jsonnumber number;
    const char *reason = jsonnumber_scan(&number, &parser->at, parser->end);
    int64_t whole;
    int32_t small;
    double value;

    if (reason != NULL)
        return refuse(parser, parser->at, reason);
    if (jsonnumber_int64(&number, &whole)) {
        small = (int32_t)whole;
        if (parser->options->numbers == JSONPARSE_INT32 && small == whole) {
            *type = BSONTYPE_INT32;
            return put(parser, &small, sizeof small);
        }
        *type = BSONTYPE_INT64;
        return put(parser, &whole, sizeof whole);
    }
    TRY_RETURN(jsonnumber_double(&number, &value));
    if (value - value != 0)
        return refuse(parser, parser->at - 1, "number out of range");
    *type = BSONTYPE_DOUBLE;
    return put(parser, &value, sizeof value);
}

/* Literals */

static err_t
parse_ident(struct parser *parser, const char *ident)
{
    for (; *ident != '\0'; ident++, parser->at++) {
        if (parser->at == parser->end)
            return refuse_end(parser, "EOF while parsing a value");
        if (*parser->at != (uint8_t)*ident)
            return refuse(parser, parser->at, "expected ident");
    }
    return OK;
}

/* Objects */

static err_t
push_member(struct parser *parser, size_t start, size_t key_size, size_t order)
{
    size_t capacity = parser->member_capacity > 0 ? parser->member_capacity * 2 : 64;
    struct member *member;

    if (parser->member_count == parser->member_capacity) {
        member = realloc(parser->member, capacity * sizeof *member);
        if (member == NULL)
            return err_set(ERR_MEMORY, "could not allocate %zu members", capacity);
        parser->member = member;
        parser->member_capacity = capacity;
    }
    parser->member[parser->member_count++] =
        (struct member){ start, (uint32_t)key_size, (uint32_t)order };
    return OK;
}

static _Thread_local const uint8_t *sorted_object; /* qsort hands no context down */

static int
compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = bytes_compare((struct bytes){ sorted_object + x->start + 1, x->key_size },
        (struct bytes){ sorted_object + y->start + 1, y->key_size });

    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static int
compare_orders(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    return (x->order > y->order) - (x->order < y->order);
}

static bool
same_key(const uint8_t *object, const struct member *a, const struct member *b)
{
    return a->key_size == b->key_size &&
           memcmp(object + a->start + 1, object + b->start + 1, a->key_size) == 0;
}

/* Is a name there twice?  Many members are sorted by name for it, few stay as they are. */
static bool
has_duplicates(const uint8_t *object, struct member *member, size_t count)
{
    if (count > FEW_MEMBERS) {
        sorted_object = object;
        qsort(member, count, sizeof *member, compare_members);
        for (size_t i = 1; i < count; i++)
            if (same_key(object, &member[i - 1], &member[i]))
                return true;
        return false;
    }
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (same_key(object, &member[j], &member[i]))
                return true;
    return false;
}

/* Write the object anew: each name at its first place, with its last value.  `extent` of a
   member is not kept, so it is found by walking the element. */
static err_t
unite(struct parser *parser, size_t start, struct member *member, size_t count)
{
    struct buf copy = buf_init(SIZE_MAX / 2);
    size_t kept = 0;
    struct bsonwalk walk = { 0 };
    struct bsonvalue value;
    err_t err;

    TRY(buf_append(&copy, parser->out->data + start, parser->out->size - start));
    sorted_object = copy.data;
    qsort(member, count, sizeof *member, compare_members);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && same_key(copy.data, &member[kept - 1], &member[i])) {
            member[kept - 1].start = member[i].start; /* the key is the same; the value counts */
            continue;
        }
        member[kept++] = member[i];
    }
    qsort(member, kept, sizeof *member, compare_orders);
    parser->out->size = start + 4;
    for (size_t i = 0; i < kept; i++) {
        walk.at = copy.data + member[i].start;
        walk.end = copy.data + copy.size - 1;
        invariant(bsonwalk_next(&walk, &value));
        TRY(put(parser, copy.data + member[i].start,
            (size_t)(walk.at - (copy.data + member[i].start))));
    }
    TRY(put(parser, "", 1));
    put_size(parser, start, 0);
    err = OK;
out:
    buf_fini(&copy);
    return err;
}

/* The object is complete: is it an extended value, or a CRDT with members to drop? */
static err_t
convert(struct parser *parser, size_t start, uint8_t *type)
{
    struct bytes document = { parser->out->data + start, parser->out->size - start };
    struct buf payload = buf_init(SIZE_MAX / 2);
    uint8_t converted = BSONTYPE_EOO;
    bool is_crdt = false;
    err_t err;

    if (parser->options->extended != JSONPARSE_PLAIN)
        TRY(jsonextended_convert(
            document, parser->options->extended == JSONPARSE_FAITHFUL, &payload, &converted));
    if (converted == BSONTYPE_EOO && parser->options->references) {
        TRY(jsonextended_crdt(document, &payload, &is_crdt));
        if (is_crdt)
            converted = BSONTYPE_DOCUMENT;
    }
    if (converted != BSONTYPE_EOO) {
        *type = converted;
        parser->out->size = start;
        TRY(put(parser, payload.data, payload.size));
    }
    err = OK;
out:
    buf_fini(&payload);
    return err;
}

/* Key, colon and value; the element begins at out->size. */
static err_t
parse_member(struct parser *parser, size_t object, size_t order, bool *dollar)
{
    size_t element = parser->out->size, key;
    uint8_t type = 0;

    TRY_RETURN(put(parser, "", 1));
    parser->at++;
    TRY_RETURN(parse_string(parser, true));
    key = parser->out->size - element - 1;
    TRY_RETURN(put(parser, "", 1));
    *dollar |= parser->out->data[element + 1] == '$';
    TRY_RETURN(push_member(parser, element - object, key, order));
    skip_space(parser);
    if (parser->at == parser->end)
        return refuse_end(parser, "EOF while parsing an object");
    if (*parser->at != ':')
        return refuse(parser, parser->at, "expected `:`");
    parser->at++;
    skip_space(parser);
    TRY_RETURN(parse_value(parser, &type));
    parser->out->data[element] = type;
    return OK;
}

/* All members, up to the closing brace. */
static err_t
parse_members(struct parser *parser, size_t object, bool *dollar)
{
    for (size_t order = 0;; order++) {
        skip_space(parser);
        if (parser->at == parser->end)
            return refuse_end(parser, "EOF while parsing an object");
        if (*parser->at == '}') {
            parser->at++;
            return OK;
        }
        if (order > 0) {
            if (*parser->at != ',')
                return refuse(parser, parser->at, "expected `,` or `}`");
            parser->at++;
            skip_space(parser);
            if (parser->at == parser->end)
                return refuse_end(parser, "EOF while parsing a value");
            if (*parser->at == '}')
                return refuse(parser, parser->at, "trailing comma");
        }
        if (*parser->at != '"')
            return refuse(parser, parser->at, "key must be a string");
        TRY_RETURN(parse_member(parser, object, order, dollar));
    }
}

static err_t
parse_object(struct parser *parser, uint8_t *type)
{
    size_t start = parser->out->size, base = parser->member_count, count;
    bool dollar = false;

    *type = BSONTYPE_DOCUMENT;
    parser->at++;
    TRY_RETURN(put(parser, "\0\0\0\0", 4));
    TRY_RETURN(parse_members(parser, start, &dollar));
    TRY_RETURN(put(parser, "", 1));
    put_size(parser, start, 0);
    count = parser->member_count - base;
    if (count > 1 && has_duplicates(parser->out->data + start, parser->member + base, count)) {
        parser->result->duplicate = true;
        TRY_RETURN(unite(parser, start, parser->member + base, count));
    }
    parser->member_count = base;
    return dollar ? convert(parser, start, type) : OK;
}

static err_t
parse_array(struct parser *parser)
{
    size_t start = parser->out->size;
    char room[12];

    parser->at++;
    TRY_RETURN(put(parser, "\0\0\0\0", 4));
    for (uint32_t index = 0;; index++) {
        struct bytes key = bsonbuild_index_key(index, room);
        size_t element;
        uint8_t type = 0;

        skip_space(parser);
        if (parser->at == parser->end)
            return refuse_end(parser, "EOF while parsing a list");
        if (*parser->at == ']')
            break;
        if (index > 0) {
            if (*parser->at != ',')
                return refuse(parser, parser->at, "expected `,` or `]`");
            parser->at++;
            skip_space(parser);
            if (parser->at == parser->end)
                return refuse_end(parser, "EOF while parsing a value");
            if (*parser->at == ']')
                return refuse(parser, parser->at, "trailing comma");
        }
        element = parser->out->size;
        TRY_RETURN(put(parser, "", 1));
        TRY_RETURN(put(parser, key.data, key.size));
        TRY_RETURN(put(parser, "", 1));
        TRY_RETURN(parse_value(parser, &type));
        parser->out->data[element] = type;
    }
    parser->at++;
    TRY_RETURN(put(parser, "", 1));
    put_size(parser, start, 0);
    return OK;
}

/* $ref("collection","uuid"), the text protocol's short form. */

static err_t
parse_reference_string(struct parser *parser, const char *key)
{
    TRY_RETURN(put(parser, "\x02", 1));
    TRY_RETURN(put(parser, key, strlen(key) + 1));
    skip_space(parser);
    if (parser->at == parser->end)
        return refuse_end(parser, "EOF while parsing a value");
    if (*parser->at != '"')
        return refuse(parser, parser->at, "expected value");
    parser->at++;
    TRY_RETURN(parse_string_value(parser));
    skip_space(parser);
    return parser->at == parser->end ? refuse_end(parser, "EOF while parsing a value") : OK;
}

static err_t
parse_reference(struct parser *parser)
{
    static const char opening[] = "$ref(";
    size_t start = parser->out->size, inner;

    if ((size_t)(parser->end - parser->at) < sizeof opening - 1 ||
        memcmp(parser->at, opening, sizeof opening - 1) != 0)
        return refuse(parser, parser->at, "expected value");
    parser->at += sizeof opening - 1;
    TRY_RETURN(put(parser, "\0\0\0\0\x03$ref", 10));
    inner = parser->out->size;
    TRY_RETURN(put(parser, "\0\0\0\0", 4));
    TRY_RETURN(parse_reference_string(parser, "collection"));
    if (*parser->at != ',')
        return refuse(parser, parser->at, "expected value");
    parser->at++;
    TRY_RETURN(parse_reference_string(parser, "uuid"));
    if (*parser->at != ')')
        return refuse(parser, parser->at, "expected value");
    parser->at++;
    TRY_RETURN(put(parser, "", 1));
    put_size(parser, inner, 0);
    TRY_RETURN(put(parser, "", 1));
    put_size(parser, start, 0);
    return OK;
}

static err_t
parse_nested(struct parser *parser, uint8_t *type)
{
    unsigned depth_max =
        parser->options->depth_max > 0 ? parser->options->depth_max : JSONPARSE_DEPTH_MAX;
    err_t err;

    if (parser->depth >= depth_max && !mutant(MUTANT_JSON_UNBOUNDED))
        return refuse(parser, parser->at, "recursion limit exceeded");
    parser->depth++;
    if (*parser->at == '{')
        err = parse_object(parser, type);
    else {
        *type = BSONTYPE_ARRAY;
        err = parse_array(parser);
    }
    parser->depth--;
    return err;
}

/* One value; `at` stands on its first byte. */
static err_t
parse_value(struct parser *parser, uint8_t *type)
{
    if (parser->at == parser->end)
        return refuse_end(parser, "EOF while parsing a value");
    switch (*parser->at) {
    case '{':
    case '[':
        return parse_nested(parser, type);
    case '"':
        *type = BSONTYPE_STRING;
        parser->at++;
        return parse_string_value(parser);
    case 't':
        *type = BSONTYPE_BOOL;
        TRY_RETURN(parse_ident(parser, "true"));
        return put(parser, "\1", 1);
    case 'f':
        *type = BSONTYPE_BOOL;
        TRY_RETURN(parse_ident(parser, "false"));
        return put(parser, "", 1);
    case 'n':
        *type = BSONTYPE_NULL;
        return parse_ident(parser, "null");
    case '$':
        *type = BSONTYPE_DOCUMENT;
        return parser->options->references ? parse_reference(parser)
                                           : refuse(parser, parser->at, "expected value");
    default:
        if (*parser->at == '-' || (*parser->at >= '0' && *parser->at <= '9'))
            return parse_number(parser, type);
        return refuse(parser, parser->at, "expected value");
    }
}

static err_t
parse_all(struct parser *parser, uint8_t *type)
{
    size_t max =
        parser->options->size_max > 0 ? parser->options->size_max : BSONVALUE_DOCUMENT_SIZE_MAX;

    skip_space(parser);
    TRY_RETURN(parse_value(parser, type));
    parser->result->used = (size_t)(parser->at - parser->start);
    if (!parser->options->prefix) {
        skip_space(parser);
        if (parser->at < parser->end)
            return refuse(parser, parser->at, "trailing characters");
        parser->result->used = (size_t)(parser->at - parser->start);
    }
    if (parser->out->size - parser->out_start > max)
        return too_large(parser, parser->out->size - parser->out_start);
    return OK;
}

err_t
jsonparse_value(struct buf *out, struct bytes text, const struct jsonparse_options *options,
    struct jsonparse_result *result)
{
    size_t max = options->size_max > 0 ? options->size_max : BSONVALUE_DOCUMENT_SIZE_MAX;
    const uint8_t *data = text.size > 0 ? text.data : (const uint8_t *)"";
    struct parser parser = { .start = data,
        .at = data,
        .end = data + text.size,
        .out = out,
        .options = options,
        .result = result,
        .out_start = out->size,
        .out_max = out->size + 4 * max };
    uint8_t type = BSONTYPE_EOO;
    err_t err;

    *result = (struct jsonparse_result){ .reason = NULL };
    TRY_RETURN(buf_reserve(out, 1)); /* so that even null's payload has an address */
    err = parse_all(&parser, &type);
    free(parser.member);
    if (err != OK) {
        out->size = parser.out_start;
        return err;
    }
    result->value = bsonvalue_make(
        type, (struct bytes){ out->data + parser.out_start, out->size - parser.out_start });
    return OK;
}

err_t
jsonparse_document(struct buf *out, struct bytes text, const struct jsonparse_options *options,
    struct bytes *document)
{
    struct jsonparse_result result;
    size_t before = out->size;

    TRY_RETURN(jsonparse_value(out, text, options, &result));
    if (result.value.type != BSONTYPE_DOCUMENT) {
        out->size = before;
        return err_set(ERR_FAILED_TO_PARSE, "expected an object");
    }
    *document = result.value.raw;
    return OK;
}

struct jsonparse_place
jsonparse_locate(struct bytes text, const char *const *path, unsigned parts)
{
    return jsonplace_find(text, path, parts);
}
