/*
 * bsonwalk.c - going through the fields of a BSON document, and checking all of it.
 *
 * INVARIANTS
 *   W1  A walk's `end` is the terminating NUL of a document that lies in the slice, so a search
 *       for a key's NUL stops there at the latest.
 *   W2  A value that bsonwalk_next yields has a payload as large as its type says, before `end`.
 *
 * Damage inside a sub-document is found when that is walked, not before.
 */
#include "base/doc/bsonwalk.h"

#include "base/mutant.h"
#include "base/panic.h"

#define NOT_FIXED 0xff

const uint8_t bsonwalk_fixed_size[32] = {
    NOT_FIXED,
    8,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    0,
    12, /* 0x00 */
    1,
    8,
    0,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED, /* 0x08 */
    4,
    8,
    8,
    16,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED, /* 0x10 */
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
    NOT_FIXED,
};

err_t
bsonwalk_begin(struct bsonwalk *walk, struct bytes document)
{
    *walk = (struct bsonwalk){ document.data, document.data, false };
    if (document.size < BSONVALUE_DOCUMENT_SIZE_LEAST ||
        bsonvalue_load32(document.data) != document.size || document.data[document.size - 1] != 0) {
        walk->damaged = true;
        return err_set(
            ERR_CORRUPT, "damaged document: its length is wrong (%zu bytes)", document.size);
    }
    walk->at = document.data + 4;
    walk->end = document.data + document.size - 1;
    return OK;
}

err_t
bsonwalk_end(const struct bsonwalk *walk)
{
    if (walk->damaged)
        return err_set(ERR_CORRUPT, "damaged document: a field does not fit into it");
    return OK;
}

/* A length word and a text with its NUL; -1: not there. */
static ptrdiff_t
text_size(const uint8_t *at, ptrdiff_t room)
{
    uint32_t size;

    if (room < 5)
        return -1;
    size = bsonvalue_load32(at);
    if (size < 1 || (size > (size_t)room - 4 && !mutant(MUTANT_BSON_TEXT_UNBOUNDED)) ||
        at[3 + size] != 0)
        return -1;
    return (ptrdiff_t)size + 4;
}

static ptrdiff_t
document_size(const uint8_t *at, ptrdiff_t room)
{
    uint32_t size;

    if (room < BSONVALUE_DOCUMENT_SIZE_LEAST)
        return -1;
    size = bsonvalue_load32(at);
    if (size < BSONVALUE_DOCUMENT_SIZE_LEAST || size > (size_t)room || at[size - 1] != 0)
        return -1;
    return size;
}

static ptrdiff_t
binary_size(const uint8_t *at, ptrdiff_t room)
{
    uint32_t size;

    if (room < 5)
        return -1;
    size = bsonvalue_load32(at);
    return size > (size_t)room - 5 ? -1 : (ptrdiff_t)size + 5;
}

static ptrdiff_t
regex_size(const uint8_t *at, ptrdiff_t room)
{
    const uint8_t *pattern = memchr(at, 0, (size_t)room);
    const uint8_t *options;

    if (pattern == NULL)
        return -1;
    options = memchr(pattern + 1, 0, (size_t)(at + room - (pattern + 1)));
    return options == NULL ? -1 : options + 1 - at;
}

static ptrdiff_t
code_w_scope_size(const uint8_t *at, ptrdiff_t room)
{
    ptrdiff_t size, code, scope;

    if (room < 4)
        return -1;
    size = (ptrdiff_t)bsonvalue_load32(at);
    if (size > room)
        return -1;
    code = text_size(at + 4, size - 4);
    if (code < 0)
        return -1;
    scope = document_size(at + 4 + code, size - 4 - code);
    return scope >= 0 && 4 + code + scope == size ? size : -1;
}

ptrdiff_t
bsonwalk_payload_size(uint8_t type, const uint8_t *at, const uint8_t *end)
{
    ptrdiff_t room = end - at, size;

    if (room < 0)
        return -1;
    switch (type) {
    case BSONTYPE_STRING:
    case BSONTYPE_CODE:
    case BSONTYPE_SYMBOL:
        return text_size(at, room);
    case BSONTYPE_DOCUMENT:
    case BSONTYPE_ARRAY:
        return document_size(at, room);
    case BSONTYPE_BINARY:
        return binary_size(at, room);
    case BSONTYPE_REGEX:
        return regex_size(at, room);
    case BSONTYPE_DBPOINTER:
        size = text_size(at, room);
        return size < 0 || size > room - 12 ? -1 : size + 12;
    case BSONTYPE_CODE_W_SCOPE:
        return code_w_scope_size(at, room);
    case BSONTYPE_MINKEY:
    case BSONTYPE_MAXKEY:
        return 0;
    default:
        if (type >= sizeof bsonwalk_fixed_size || bsonwalk_fixed_size[type] == NOT_FIXED ||
            bsonwalk_fixed_size[type] > room)
            return -1;
        return bsonwalk_fixed_size[type];
    }
}

err_t
bsonwalk_find(struct bytes document, struct bytes key, struct bsonvalue *value, bool *found)
{
    struct bsonwalk walk;

    *found = false;
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, value))
        if (bytes_equal(value->key, key)) {
            *found = true;
            return OK;
        }
    return bsonwalk_end(&walk);
}

bool
bsonwalk_get(struct bytes document, const char *key, struct bsonvalue *value)
{
    struct bsonwalk walk;
    size_t size = strlen(key);

    if (document.size < BSONVALUE_DOCUMENT_SIZE_LEAST || bsonwalk_begin(&walk, document) != OK)
        return false;
    while (bsonwalk_next(&walk, value))
        if (value->key.size == size && memcmp(value->key.data, key, size) == 0)
            return true;
    return false;
}

size_t
bsonwalk_count(struct bytes document)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    size_t count = 0;

    if (bsonwalk_begin(&walk, document) != OK)
        return 0;
    while (bsonwalk_next(&walk, &value))
        count++;
    return count;
}

/* How many bytes the UTF-8 sequence at `at` has; 0: it is none (RFC 3629's table). */
static size_t
sequence_size(const uint8_t *at, size_t room)
{
    uint8_t lead = at[0], low = 0x80, high = 0xbf;
    size_t size;

    if (lead >= 0xc2 && lead <= 0xdf)
        size = 2;
    else if (lead >= 0xe0 && lead <= 0xef)
        size = 3;
    else if (lead >= 0xf0 && lead <= 0xf4)
        size = 4;
    else
        return 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (room < size || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

size_t
bsonwalk_utf8_valid_size(struct bytes text)
{
    size_t at = 0, size;

    while (at < text.size) {
        if (text.size - at >= 8 && (bsonvalue_load64(text.data + at) & 0x8080808080808080u) == 0) {
            at += 8;
            continue;
        }
        if (text.data[at] < 0x80) {
            at++;
            continue;
        }
        size = sequence_size(text.data + at, text.size - at);
        if (size == 0)
            break;
        at += size;
    }
    return at;
}

/* Checking */

/* What is being checked: the levels that are open, outermost first. */
struct check {
    const uint8_t *start;
    unsigned depth;
    unsigned depth_max;
    const uint8_t *end[BSONVALUE_DEPTH_MAX];
};

static err_t
refuse(const struct check *check, const uint8_t *at, struct bytes key, const char *why)
{
    return err_set(ERR_INVALID_BSON, "invalid BSON: %s in field '%.*s' at byte %zu", why,
        (int)(key.size < 64 ? bsonwalk_utf8_valid_size((struct bytes){ key.data, key.size })
                            : bsonwalk_utf8_valid_size((struct bytes){ key.data, 64 })),
        (const char *)key.data, (size_t)(at - check->start));
}

static bool
is_utf8(struct bytes text)
{
    return bsonwalk_utf8_valid_size(text) == text.size;
}

/* Open a sub-document (or the scope of code) whose size is known to fit. */
static err_t
descend(struct check *check, const uint8_t *at, size_t size)
{
    if (check->depth >= check->depth_max + (mutant(MUTANT_BSON_UNBOUNDED) ? 1 : 0))
        return err_set(
            ERR_OVERFLOW, "invalid BSON: nested deeper than %u levels", check->depth_max);
    check->end[check->depth++] = at + size - 1;
    return OK;
}

static err_t
check_texts(const struct check *check, const struct bsonvalue *value)
{
    struct bytes first = { NULL, 0 }, second = { NULL, 0 };
    const uint8_t *oid;

    switch (value->type) {
    case BSONTYPE_STRING:
    case BSONTYPE_CODE:
    case BSONTYPE_SYMBOL:
        first = bsonvalue_string(value);
        break;
    case BSONTYPE_REGEX:
        bsonvalue_regex(value, &first, &second);
        break;
    case BSONTYPE_DBPOINTER:
        bsonvalue_dbpointer(value, &first, &oid);
        break;
    case BSONTYPE_CODE_W_SCOPE:
        bsonvalue_code_w_scope(value, &first, &second);
        second.size = 0;
        break;
    default:
        return OK;
    }
    if (!is_utf8(first) || !is_utf8(second))
        return refuse(check, value->raw.data, value->key, "text that is not UTF-8");
    return OK;
}

static err_t
check_value(struct check *check, const struct bsonvalue *value)
{
    uint8_t subtype;
    struct bytes inner, code;

    switch (value->type) {
    case BSONTYPE_DOUBLE:
    case BSONTYPE_INT32:
    case BSONTYPE_INT64:
        return OK;
    case BSONTYPE_DOCUMENT:
    case BSONTYPE_ARRAY:
        return descend(check, value->raw.data, value->raw.size);
    case BSONTYPE_BOOL:
        if (value->raw.data[0] > 1)
            return refuse(check, value->raw.data, value->key, "a boolean that is neither 0 nor 1");
        return OK;
    case BSONTYPE_BINARY:
        inner = bsonvalue_binary(value, &subtype);
        if (subtype == BSONSUBTYPE_OLD_BINARY &&
            (inner.size < 4 || bsonvalue_load32(inner.data) != inner.size - 4))
            return refuse(check, value->raw.data, value->key, "a wrong inner length of a binary");
        return OK;
    case BSONTYPE_CODE_W_SCOPE:
        TRY_RETURN(check_texts(check, value));
        bsonvalue_code_w_scope(value, &code, &inner);
        return descend(check, inner.data, inner.size);
    default:
        return check_texts(check, value);
    }
}

/* One element at `*at`; leaves `*at` behind it, or inside it if it is opened. */
static err_t
check_element(struct check *check, const uint8_t **at)
{
    const uint8_t *end = check->end[check->depth - 1];
    unsigned depth = check->depth;
    struct bsonvalue value;
    struct bytes scope, code;
    ptrdiff_t size;

    value.type = **at;
    value.key = bytes_of((const char *)*at + 1);
    if (!is_utf8(value.key))
        return refuse(check, *at, value.key, "a name that is not UTF-8");
    value.raw.data = *at + 1 + value.key.size + 1;
    size = bsonwalk_payload_size(value.type, value.raw.data, end);
    if (size < 0)
        return refuse(check, *at, value.key, "an unknown type or a wrong length");
    value.raw.size = (size_t)size;
    TRY_RETURN(check_value(check, &value));
    *at = value.raw.data + value.raw.size;
    if (check->depth > depth && value.type == BSONTYPE_CODE_W_SCOPE) {
        bsonvalue_code_w_scope(&value, &code, &scope);
        *at = scope.data + 4;
    } else if (check->depth > depth)
        *at = value.raw.data + 4;
    return OK;
}

err_t
bsonwalk_validate(struct bytes document, const struct bsonwalk_limits *limits)
{
    static const struct bsonwalk_limits usual = { BSONVALUE_INTERNAL_SIZE_MAX,
        BSONVALUE_MONGO_DEPTH_MAX };
    struct check check;
    const uint8_t *at;

    if (limits == NULL)
        limits = &usual;
    invariant(limits->depth_max >= 1 && limits->depth_max <= BSONVALUE_DEPTH_MAX);
    if (document.size > limits->size_max)
        return err_set(ERR_TOO_LARGE, "document too large: %zu bytes (max %zu)", document.size,
            limits->size_max);
    if (document.size < BSONVALUE_DOCUMENT_SIZE_LEAST ||
        bsonvalue_load32(document.data) != document.size || document.data[document.size - 1] != 0)
        return err_set(ERR_INVALID_BSON,
            "invalid BSON: the document's length or terminator is wrong (%zu bytes)",
            document.size);
    check.start = document.data;
    check.depth = 1;
    check.depth_max = limits->depth_max;
    check.end[0] = document.data + document.size - 1;
    at = document.data + 4;
    while (check.depth > 0) {
        if (at < check.end[check.depth - 1]) {
            TRY_RETURN(check_element(&check, &at));
            continue;
        }
        at++; /* payload sizes keep elements before `end` (W2), so this is the NUL itself */
        check.depth--;
    }
    return OK;
}
