/*
 * jsonextended.c - objects that stand for BSON types which JSON lacks.
 */
#include "base/doc/jsonextended.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/doc/base64.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/decimal.h"
#include "base/doc/jsonprint.h"
#include "base/doc/objectid.h"

#define NUMBER_TEXT_MAX 400

/* A reader of one kind: *type stays BSONTYPE_EOO if the value is not of that form. */
typedef err_t reader(const struct bsonvalue *value, struct buf *payload, uint8_t *type);

/* The n members of a small document in any order; false: others, or not all. */
static bool
members(struct bytes document, const char *const *name, struct bsonvalue *value, size_t count)
{
    if (bsonwalk_count(document) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!bsonwalk_get(document, name[i], &value[i]))
            return false;
    return true;
}

/* A string as a C string of limited length, in which a number is read. */
static bool
short_text(const struct bsonvalue *value, char text[NUMBER_TEXT_MAX])
{
    struct bytes string;

    if (value->type != BSONTYPE_STRING)
        return false;
    string = bsonvalue_string(value);
    if (string.size == 0 || string.size >= NUMBER_TEXT_MAX ||
        memchr(string.data, 0, string.size) != NULL)
        return false;
    memcpy(text, string.data, string.size);
    text[string.size] = '\0';
    return true;
}

static bool
whole_text(const struct bsonvalue *value, int64_t least, int64_t most, int64_t *number)
{
    char text[NUMBER_TEXT_MAX], *end;

    if (!short_text(value, text) || !(text[0] == '-' || (text[0] >= '0' && text[0] <= '9')))
        return false;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0 && *number >= least && *number <= most;
}

static err_t
read_objectid(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    uint8_t oid[OBJECTID_SIZE];

    if (value->type != BSONTYPE_STRING || !objectid_parse(bsonvalue_string(value), oid))
        return OK;
    *type = BSONTYPE_OBJECTID;
    return buf_append(payload, oid, sizeof oid);
}

static err_t
read_int(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    int64_t number;
    int32_t small;

    if (!whole_text(value, INT32_MIN, INT32_MAX, &number))
        return OK;
    small = (int32_t)number;
    *type = BSONTYPE_INT32;
    return buf_append(payload, &small, sizeof small);
}

static err_t
read_long(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    int64_t number;

    if (!whole_text(value, INT64_MIN, INT64_MAX, &number))
        return OK;
    *type = BSONTYPE_INT64;
    return buf_append(payload, &number, sizeof number);
}

/* A decimal number of JSON's form or not finite; the locale must not matter. */
static bool
double_text(const char *text, double *number)
{
    static _Thread_local locale_t plain;
    char *end;

    if (strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0 || strcmp(text, "NaN") == 0)
        ;
    else if (strspn(text, "0123456789+-.eE") != strlen(text))
        return false;
    if (plain == (locale_t)0)
        plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    *number = plain != (locale_t)0 ? strtod_l(text, &end, plain) : strtod(text, &end);
    return *end == '\0';
}

static err_t
read_double(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    char text[NUMBER_TEXT_MAX];
    double number;

    if (!short_text(value, text) || !double_text(text, &number))
        return OK;
    *type = BSONTYPE_DOUBLE;
    return buf_append(payload, &number, sizeof number);
}

static err_t
read_decimal(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    char text[NUMBER_TEXT_MAX];
    uint8_t bytes[16];

    if (!short_text(value, text) || !decimal_parse(text, -1, bytes))
        return OK;
    *type = BSONTYPE_DECIMAL128;
    return buf_append(payload, bytes, sizeof bytes);
}

/* Dates */

static bool
digits(const uint8_t **at, const uint8_t *end, unsigned count, int *number)
{
    *number = 0;
    if (end - *at < (ptrdiff_t)count)
        return false;
    for (unsigned i = 0; i < count; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return false;
        *number = *number * 10 + (**at - '0');
    }
    return true;
}

static bool
letter(const uint8_t **at, const uint8_t *end, char wanted)
{
    if (*at == end || **at != (uint8_t)wanted)
        return false;
    ++*at;
    return true;
}

/* Days since 1970-01-01 (H. Hinnant's days_from_civil). */
static int64_t
days_of(int year, int month, int day)
{
    int shifted = month <= 2 ? year - 1 : year;
    int era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int of_era = shifted - era * 400;
    int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool
is_day(int year, int month, int day)
{
    static const uint8_t length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return month >= 1 && month <= 12 && day >= 1 && day <= length[month - 1] + (month == 2 && leap);
}

/* "Z", "+hh:mm", "-hhmm": minutes to take off. */
static bool
zone(const uint8_t **at, const uint8_t *end, int *minutes)
{
    int hours, rest, sign = 1;

    *minutes = 0;
    if (letter(at, end, 'Z'))
        return true;
    if (letter(at, end, '-'))
        sign = -1;
    else if (!letter(at, end, '+'))
        return false;
    if (!digits(at, end, 2, &hours))
        return false;
    (void)letter(at, end, ':');
    if (!digits(at, end, 2, &rest) || hours > 23 || rest > 59)
        return false;
    *minutes = sign * (hours * 60 + rest);
    return true;
}

bool
jsonextended_date(struct bytes text, int64_t *ms)
{
    const uint8_t *at = text.data, *end = text.data + text.size;
    int year, month, day, hour, minute, second = 0, fraction = 0, minutes;

    if (!digits(&at, end, 4, &year) || !letter(&at, end, '-') || !digits(&at, end, 2, &month) ||
        !letter(&at, end, '-') || !digits(&at, end, 2, &day) || !letter(&at, end, 'T') ||
        !digits(&at, end, 2, &hour) || !letter(&at, end, ':') || !digits(&at, end, 2, &minute))
        return false;
    if (letter(&at, end, ':') && !digits(&at, end, 2, &second))
        return false;
    if (letter(&at, end, '.')) {
        int scale = 100;

        if (at == end || *at < '0' || *at > '9')
            return false;
        for (; at < end && *at >= '0' && *at <= '9'; at++, scale /= 10)
            fraction += (*at - '0') * scale;
    }
    if (!zone(&at, end, &minutes) || at != end || !is_day(year, month, day) || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    *ms = ((days_of(year, month, day) * 24 + hour) * 60 + minute - minutes) * 60000 +
          (int64_t)second * 1000 + fraction;
    return true;
}

static err_t
read_date(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    static const char *const name[] = { "$numberLong" };
    struct bsonvalue inner;
    int64_t ms;

    if (value->type == BSONTYPE_STRING) {
        if (!jsonextended_date(bsonvalue_string(value), &ms))
            return OK;
    } else if (value->type == BSONTYPE_INT64 || value->type == BSONTYPE_INT32) {
        (void)bsonvalue_to_int64(value, false, &ms);
    } else if (value->type != BSONTYPE_DOCUMENT || !members(value->raw, name, &inner, 1) ||
               !whole_text(&inner, INT64_MIN, INT64_MAX, &ms))
        return OK;
    *type = BSONTYPE_DATE;
    return buf_append(payload, &ms, sizeof ms);
}

/* Binaries */

static int
hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One or two hexadecimal digits. */
static bool
subtype_of(const struct bsonvalue *value, uint8_t *subtype)
{
    struct bytes text;
    int number = 0;

    if (value->type != BSONTYPE_STRING)
        return false;
    text = bsonvalue_string(value);
    if (text.size < 1 || text.size > 2)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        int digit = hex_digit(text.data[i]);

        if (digit < 0)
            return false;
        number = number * 16 + digit;
    }
    *subtype = (uint8_t)number;
    return true;
}

/* Length, subtype and bytes, with the second length that subtype 2 wants. */
static err_t
read_binary(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    static const char *const name[] = { "base64", "subType" };
    size_t start = payload->size, head;
    struct bsonvalue member[2];
    uint8_t subtype;
    uint32_t size;
    bool valid;

    if (value->type != BSONTYPE_DOCUMENT || !members(value->raw, name, member, 2) ||
        member[0].type != BSONTYPE_STRING || !subtype_of(&member[1], &subtype))
        return OK;
    head = subtype == BSONSUBTYPE_OLD_BINARY ? 9 : 5;
    TRY_RETURN(buf_append(payload, "\0\0\0\0\0\0\0\0", head));
    TRY_RETURN(base64_decode(payload, bsonvalue_string(&member[0]), &valid));
    if (!valid) {
        payload->size = start;
        return OK;
    }
    size = (uint32_t)(payload->size - start - 5);
    memcpy(payload->data + start, &size, sizeof size);
    payload->data[start + 4] = subtype;
    if (subtype == BSONSUBTYPE_OLD_BINARY) {
        size -= 4;
        memcpy(payload->data + start + 5, &size, sizeof size);
    }
    *type = BSONTYPE_BINARY;
    return OK;
}

static err_t
read_uuid(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    uint8_t bytes[21] = { 16, 0, 0, 0, BSONSUBTYPE_UUID };
    struct bytes text;
    unsigned at = 0;

    if (value->type != BSONTYPE_STRING)
        return OK;
    text = bsonvalue_string(value);
    if (text.size != 36)
        return OK;
    for (size_t i = 0; i < text.size; i++) {
        int digit = hex_digit(text.data[i]);

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text.data[i] != '-')
                return OK;
            continue;
        }
        if (digit < 0)
            return OK;
        bytes[5 + at / 2] = (uint8_t)(bytes[5 + at / 2] << 4 | digit);
        at++;
    }
    *type = BSONTYPE_BINARY;
    return buf_append(payload, bytes, sizeof bytes);
}

/* Texts */

static err_t
read_text(const struct bsonvalue *value, struct buf *payload, uint8_t *type, uint8_t wanted)
{
    if (value->type != BSONTYPE_STRING)
        return OK;
    *type = wanted;
    return buf_append(payload, value->raw.data, value->raw.size);
}

static err_t
read_symbol(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    return read_text(value, payload, type, BSONTYPE_SYMBOL);
}

static err_t
read_code(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    return read_text(value, payload, type, BSONTYPE_CODE);
}

/* BSON wants the options in order. */
static void
sort_letters(uint8_t *letters, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint8_t moving = letters[i];
        size_t at = i;

        for (; at > 0 && letters[at - 1] > moving; at--)
            letters[at] = letters[at - 1];
        letters[at] = moving;
    }
}

static err_t
read_regex(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    static const char *const name[] = { "pattern", "options" };
    struct bsonvalue member[2];
    struct bytes text[2];

    if (value->type != BSONTYPE_DOCUMENT || !members(value->raw, name, member, 2))
        return OK;
    for (int i = 0; i < 2; i++) {
        if (member[i].type != BSONTYPE_STRING)
            return OK;
        text[i] = bsonvalue_string(&member[i]);
        if (text[i].size > 0 && memchr(text[i].data, 0, text[i].size) != NULL)
            return OK;
    }
    if (text[1].size > 16)
        return OK;
    for (size_t i = 0; i < text[1].size; i++)
        if (text[1].data[i] >= 0x80) /* sorting bytes would tear a character apart */
            return OK;
    TRY_RETURN(buf_append(payload, text[0].data, text[0].size + 1)); /* with the string's NUL */
    TRY_RETURN(buf_append(payload, text[1].data, text[1].size + 1));
    sort_letters(payload->data + payload->size - text[1].size - 1, text[1].size);
    *type = BSONTYPE_REGEX;
    return OK;
}

/* The rest */

static bool
is_one(const struct bsonvalue *value)
{
    int64_t number;

    return bsonvalue_to_int64(value, false, &number) && number == 1;
}

static err_t
read_minkey(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    (void)payload;
    if (is_one(value))
        *type = BSONTYPE_MINKEY;
    return OK;
}

static err_t
read_maxkey(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    (void)payload;
    if (is_one(value))
        *type = BSONTYPE_MAXKEY;
    return OK;
}

static err_t
read_undefined(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    (void)payload;
    if (value->type == BSONTYPE_BOOL && bsonvalue_bool(value))
        *type = BSONTYPE_UNDEFINED;
    return OK;
}

static err_t
read_timestamp(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    static const char *const name[] = { "i", "t" };
    struct bsonvalue member[2];
    int64_t number[2];
    uint64_t stamp;

    if (value->type != BSONTYPE_DOCUMENT || !members(value->raw, name, member, 2))
        return OK;
    for (int i = 0; i < 2; i++)
        if (!bsonvalue_to_int64(&member[i], false, &number[i]) || number[i] < 0 ||
            number[i] > UINT32_MAX)
            return OK;
    stamp = (uint64_t)number[1] << 32 | (uint64_t)number[0];
    *type = BSONTYPE_TIMESTAMP;
    return buf_append(payload, &stamp, sizeof stamp);
}

static err_t
read_dbpointer(const struct bsonvalue *value, struct buf *payload, uint8_t *type)
{
    static const char *const name[] = { "$ref", "$id" };
    struct bsonvalue member[2];

    if (value->type != BSONTYPE_DOCUMENT || !members(value->raw, name, member, 2) ||
        member[0].type != BSONTYPE_STRING || member[1].type != BSONTYPE_OBJECTID)
        return OK;
    *type = BSONTYPE_DBPOINTER;
    TRY_RETURN(buf_append(payload, member[0].raw.data, member[0].raw.size));
    return buf_append(payload, member[1].raw.data, member[1].raw.size);
}

/* {"$code": …, "$scope": {…}}: the only form with two members. */
static err_t
read_code_w_scope(struct bytes document, struct buf *payload, uint8_t *type)
{
    static const char *const name[] = { "$code", "$scope" };
    struct bsonvalue member[2];
    uint32_t size;

    if (!members(document, name, member, 2) || member[0].type != BSONTYPE_STRING ||
        member[1].type != BSONTYPE_DOCUMENT)
        return OK;
    size = (uint32_t)(4 + member[0].raw.size + member[1].raw.size);
    *type = BSONTYPE_CODE_W_SCOPE;
    TRY_RETURN(buf_append(payload, &size, sizeof size));
    TRY_RETURN(buf_append(payload, member[0].raw.data, member[0].raw.size));
    return buf_append(payload, member[1].raw.data, member[1].raw.size);
}

static const struct {
    const char *name;
    reader *read;
} forms[] = {
    { "$oid", read_objectid },
    { "$date", read_date },
    { "$numberInt", read_int },
    { "$numberLong", read_long },
    { "$numberDouble", read_double },
    { "$numberDecimal", read_decimal },
    { "$binary", read_binary },
    { "$uuid", read_uuid },
    { "$timestamp", read_timestamp },
    { "$regularExpression", read_regex },
    { "$minKey", read_minkey },
    { "$maxKey", read_maxkey },
    { "$undefined", read_undefined },
    { "$symbol", read_symbol },
    { "$code", read_code },
    { "$dbPointer", read_dbpointer },
};

static err_t
read_any(struct bytes document, struct buf *payload, uint8_t *type)
{
    struct bsonwalk walk;
    struct bsonvalue value, second;

    TRY_RETURN(bsonwalk_begin(&walk, document));
    if (!bsonwalk_next(&walk, &value))
        return OK;
    if (bsonwalk_next(&walk, &second))
        return read_code_w_scope(document, payload, type);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (bytes_is(value.key, forms[i].name))
            return forms[i].read(&value, payload, type);
    return OK;
}

/* Does printing give back the object that was written? */
static err_t
is_faithful(struct bytes document, const struct bsonvalue *value, bool *same)
{
    struct buf written = buf_init(SIZE_MAX / 2), printed = buf_init(SIZE_MAX / 2);
    err_t err;

    TRY(jsonprint_document(&written, document, JSONPRINT_SORTED));
    TRY(jsonprint_value(&printed, value, JSONPRINT_SORTED));
    *same = bytes_equal(buf_bytes(&written), buf_bytes(&printed));
out:
    buf_fini(&written);
    buf_fini(&printed);
    return err;
}

err_t
jsonextended_convert(struct bytes document, bool faithful, struct buf *payload, uint8_t *type)
{
    size_t start = payload->size;
    struct bsonvalue value;
    bool same;

    *type = BSONTYPE_EOO;
    TRY_RETURN(buf_reserve(payload, 1)); /* so that even an empty payload has an address */
    TRY_RETURN(read_any(document, payload, type));
    if (*type == BSONTYPE_EOO || !faithful)
        return OK;
    value = bsonvalue_make(*type, (struct bytes){ payload->data + start, payload->size - start });
    TRY_RETURN(is_faithful(document, &value, &same));
    if (!same) {
        payload->size = start;
        *type = BSONTYPE_EOO;
    }
    return OK;
}

static bool
is_kind(const struct bsonvalue *value)
{
    static const char *const kind[] = { "GCounter", "PNCounter", "LwwSet", "OrSet", "Mvr" };

    if (value->type == BSONTYPE_STRING)
        for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++)
            if (bytes_is(bsonvalue_string(value), kind[i]))
                return true;
    return false;
}

err_t
jsonextended_crdt(struct bytes document, struct buf *out, bool *is_crdt)
{
    size_t start = out->size;
    struct bsonvalue crdt, kind, text;
    struct bsonbuild build;
    bool valid;

    *is_crdt = false;
    if (!bsonwalk_get(document, "$crdt", &crdt) || crdt.type != BSONTYPE_DOCUMENT ||
        !bsonwalk_get(crdt.raw, "kind", &kind) || !is_kind(&kind) ||
        !bsonwalk_get(crdt.raw, "payload_b64", &text) || text.type != BSONTYPE_STRING)
        return OK;
    TRY_RETURN(base64_decode(out, bsonvalue_string(&text), &valid));
    out->size = start;
    if (!valid)
        return OK;
    bsonbuild_begin(&build, out);
    bsonbuild_document_begin(&build, "$crdt");
    bsonbuild_element(&build, &kind);
    bsonbuild_element(&build, &text);
    bsonbuild_document_end(&build);
    *is_crdt = true;
    return bsonbuild_end(&build, NULL);
}
