/*
 * jsonprint.c - BSON as JSON text.
 *
 * Recursion is bounded by BSONVALUE_DEPTH_MAX.
 */
#include "base/doc/jsonprint.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/doc/base64.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/decimal.h"
#include "base/doc/objectid.h"
#include "base/panic.h"

#define FEW_MEMBERS 24 /* sorted without allocating */

#define MS_A_DAY    86400000
#define MS_MIN_YEAR (-62167219200000) /* 0000-01-01 */
#define MS_MAX_YEAR 253402300799999   /* 9999-12-31T23:59:59.999 */

struct printer {
    struct buf *out;
    unsigned flags;
    unsigned depth;
};

static err_t print_value(struct printer *printer, const struct bsonvalue *value);

/* Numbers */

static unsigned
put_u64(uint64_t number, char *room)
{
    char reversed[20];
    unsigned size = 0;

    do {
        reversed[size++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (unsigned i = 0; i < size; i++)
        room[i] = reversed[size - 1 - i];
    return size;
}

static unsigned
put_i64(int64_t number, char *room)
{
    if (number >= 0)
        return put_u64((uint64_t)number, room);
    *room = '-';
    return 1 + put_u64(0 - (uint64_t)number, room + 1);
}

/* The digits of a text "d.ddde±x"; the number is 0.digits × 10^*point.  Looks at no decimal
   point, which the locale may have changed. */
static unsigned
read_digits(const char *text, char *digits, int *point)
{
    unsigned count = 0;

    for (; *text != 'e'; text++)
        if (*text >= '0' && *text <= '9')
            digits[count++] = *text;
    *point = atoi(text + 1) + 1;
    return count;
}

/* The shortest digits that read back as the same double.  A decimal of at most 15 digits and a
   power of ten up to 10^22 are exact doubles' quotients, so what divides back is proved. */
static unsigned
shortest(double number, char *digits, int *point)
{
    static const double power[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10 };
    unsigned count = 0;
    char text[40];

    for (unsigned i = 0; i < sizeof power / sizeof power[0]; i++) {
        double scaled = number * power[i];
        uint64_t whole;

        if (scaled >= (i == 0 ? 9007199254740992.0 : 1e15))
            break;
        whole = (uint64_t)(scaled + 0.5);
        if ((double)whole / power[i] == number) {
            count = put_u64(whole, digits);
            *point = (int)count - (int)i;
            goto out;
        }
    }
    /* Doubles of full precision need 15 digits or more, or were found above. */
    for (int precision = number < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, number);
        if (precision == 16 || strtod(text, NULL) == number)
            break;
    }
    count = read_digits(text, digits, point);
out:
    while (count > 1 && digits[count - 1] == '0')
        count--;
    return count;
}

static unsigned
put_text(char *room, const char *text)
{
    size_t size = strlen(text);

    memcpy(room, text, size);
    return (unsigned)size;
}

/* Plain notation, always with a fraction. */
static unsigned
put_plain(const char *digits, unsigned count, int point, char *room)
{
    unsigned at = 0, used = 0;

    if (point <= 0)
        room[at++] = '0';
    for (int i = 0; i < point; i++)
        room[at++] = used < count ? digits[used++] : '0';
    room[at++] = '.';
    for (int i = point; i < 0; i++)
        room[at++] = '0';
    if (used == count)
        room[at++] = '0';
    while (used < count)
        room[at++] = digits[used++];
    return at;
}

size_t
jsonprint_double(double number, char *room)
{
    char digits[24] = "";
    unsigned count, at = 0;
    int point;

    if (number != number)
        return put_text(room, "NaN");
    if (__builtin_signbit(number)) {
        room[at++] = '-';
        number = -number;
    }
    if (number > DBL_MAX)
        return at + put_text(room + at, "Infinity");
    if (number == 0)
        return at + put_text(room + at, "0.0");
    count = shortest(number, digits, &point);
    if (number >= 1e-5 && number < 1e16)
        return at + put_plain(digits, count, point, room + at);
    room[at++] = digits[0];
    if (count > 1) {
        room[at++] = '.';
        memcpy(room + at, digits + 1, count - 1);
        at += count - 1;
    }
    room[at++] = 'e';
    room[at++] = point - 1 < 0 ? '-' : '+';
    return at + put_u64((uint64_t)abs(point - 1), room + at);
}

/* Days since 1970-01-01 as a date of the Gregorian calendar (H. Hinnant's civil_from_days). */
static void
civil(int64_t days, int *year, int *month, int *day)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int of_era = (int)(shifted - era * 146097);
    int year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int shifted_month = (5 * of_year + 2) / 153;

    *day = of_year - (153 * shifted_month + 2) / 5 + 1;
    *month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    *year = (int)(year_of_era + era * 400) + (*month <= 2);
}

size_t
jsonprint_date(int64_t ms, const char *suffix, char *room)
{
    int64_t days = ms / MS_A_DAY, rest = ms % MS_A_DAY;
    int year, month, day, seconds, size;

    if (ms < MS_MIN_YEAR || ms > MS_MAX_YEAR)
        return 0;
    if (rest < 0) {
        rest += MS_A_DAY;
        days--;
    }
    civil(days, &year, &month, &day);
    seconds = (int)(rest / 1000);
    size = snprintf(room, JSONPRINT_DATE_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day,
        seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (rest % 1000 != 0)
        size +=
            snprintf(room + size, (size_t)(JSONPRINT_DATE_MAX - size), ".%03d", (int)(rest % 1000));
    size += snprintf(room + size, (size_t)(JSONPRINT_DATE_MAX - size), "%s", suffix);
    return (size_t)size;
}

/* Strings */

/* 0: as it is; 'u': \u00xx; 'h': the lead byte of U+2028; else the letter behind a backslash. */
static const uint8_t escape[256] = {
    ['\b'] = 'b',
    ['\f'] = 'f',
    ['\n'] = 'n',
    ['\r'] = 'r',
    ['\t'] = 't',
    ['"'] = '"',
    ['\\'] = '\\',
    [0x00] = 'u',
    [0x01] = 'u',
    [0x02] = 'u',
    [0x03] = 'u',
    [0x04] = 'u',
    [0x05] = 'u',
    [0x06] = 'u',
    [0x07] = 'u',
    [0x0b] = 'u',
    [0x0e] = 'u',
    [0x0f] = 'u',
    [0x10] = 'u',
    [0x11] = 'u',
    [0x12] = 'u',
    [0x13] = 'u',
    [0x14] = 'u',
    [0x15] = 'u',
    [0x16] = 'u',
    [0x17] = 'u',
    [0x18] = 'u',
    [0x19] = 'u',
    [0x1a] = 'u',
    [0x1b] = 'u',
    [0x1c] = 'u',
    [0x1d] = 'u',
    [0x1e] = 'u',
    [0x1f] = 'u',
    [0xe2] = 'h',
};

/* Write text that is UTF-8; `at` has room for six times its size. */
static uint8_t *
put_escaped(uint8_t *at, struct bytes text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = text.data, *end = text.data + text.size;

    while (from < end) {
        uint8_t byte = *from++, how = escape[byte];

        if (how == 0) {
            *at++ = byte;
        } else if (how == 'h') {
            if (end - from >= 2 && from[0] == 0x80 && (from[1] & 0xfe) == 0xa8) {
                at += put_text((char *)at, from[1] == 0xa8 ? "\\u2028" : "\\u2029");
                from += 2;
            } else
                *at++ = byte;
        } else if (how == 'u') {
            at += put_text((char *)at, "\\u00");
            *at++ = (uint8_t)digits[byte >> 4];
            *at++ = (uint8_t)digits[byte & 15];
        } else {
            *at++ = '\\';
            *at++ = how;
        }
    }
    return at;
}

/* How many bytes at the front are ASCII and stand for themselves. */
static size_t
plain_front(struct bytes text)
{
    size_t size = 0;

    while (size < text.size && text.data[size] < 0x80 && escape[text.data[size]] == 0)
        size++;
    return size;
}

/* UTF-8 of which something has to be escaped: room for six times its size, a piece at a time. */
static err_t
append_escaped(struct buf *out, struct bytes text)
{
    for (size_t at = 0; at < text.size;) {
        size_t piece = text.size - at < 4096 ? text.size - at : 4096;

        /* Not between the bytes of one character. */
        while (at + piece < text.size && piece > 4 && (text.data[at + piece] & 0xc0) == 0x80)
            piece--;
        TRY_RETURN(buf_reserve(out, piece * 6));
        out->size =
            (size_t)(put_escaped(out->data + out->size, (struct bytes){ text.data + at, piece }) -
                     out->data);
        at += piece;
    }
    return OK;
}

/* Any bytes. */
static err_t __attribute__((noinline)) append_mended(struct buf *out, struct bytes text)
{
    size_t valid;

    while ((valid = bsonwalk_utf8_valid_size(text)) < text.size) {
        TRY_RETURN(append_escaped(out, (struct bytes){ text.data, valid }));
        TRY_RETURN(buf_append_text(out, "\xef\xbf\xbd"));
        text.data += valid + 1;
        text.size -= valid + 1;
    }
    return append_escaped(out, text);
}

/* A string with its quotes, and what comes behind them: most often one copy. */
static err_t
append_string(struct buf *out, struct bytes text, struct bytes behind)
{
    size_t before = out->size, plain = plain_front(text);
    uint8_t *at;
    err_t err;

    TRY(buf_reserve(out, plain + 1));
    at = out->data + out->size;
    *at = '"';
    if (plain > 0)
        memcpy(at + 1, text.data, plain);
    out->size += plain + 1;
    if (__builtin_expect(plain < text.size, 0))
        TRY(append_mended(out, (struct bytes){ text.data + plain, text.size - plain }));
    TRY(buf_append(out, behind.data, behind.size));
    return OK;
out:
    out->size = before;
    return err;
}

static const struct bytes quote = { (const uint8_t *)"\"", 1 };
static const struct bytes quote_colon = { (const uint8_t *)"\":", 2 };
static const struct bytes quote_colon_space = { (const uint8_t *)"\": ", 3 };

err_t
jsonprint_string(struct buf *out, struct bytes text)
{
    return append_string(out, text, quote);
}

/* Documents and arrays */

static err_t
new_line(struct printer *printer)
{
    if ((printer->flags & JSONPRINT_PRETTY) == 0)
        return OK;
    TRY_RETURN(buf_reserve(printer->out, 1 + 2 * (size_t)printer->depth));
    printer->out->data[printer->out->size++] = '\n';
    memset(printer->out->data + printer->out->size, ' ', 2 * (size_t)printer->depth);
    printer->out->size += 2 * (size_t)printer->depth;
    return OK;
}

static err_t
print_member(struct printer *printer, const struct bsonvalue *value, bool named, bool first)
{
    if (!first)
        TRY_RETURN(buf_append_byte(printer->out, ','));
    TRY_RETURN(new_line(printer));
    if (named)
        TRY_RETURN(append_string(printer->out, value->key,
            (printer->flags & JSONPRINT_PRETTY) != 0 ? quote_colon_space : quote_colon));
    return print_value(printer, value);
}

static int
compare_members(const void *a, const void *b)
{
    const struct bsonvalue *x = a, *y = b;
    int order = bytes_compare(x->key, y->key);

    return order != 0 ? order : (x->key.data > y->key.data) - (x->key.data < y->key.data);
}

/* Sort members that most often are sorted, or few. */
static void
sort_members(struct bsonvalue *member, size_t count)
{
    if (count > FEW_MEMBERS) {
        qsort(member, count, sizeof *member, compare_members);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct bsonvalue moving = member[i];
        size_t at = i;

        for (; at > 0 && compare_members(&member[at - 1], &moving) > 0; at--)
            member[at] = member[at - 1];
        member[at] = moving;
    }
}

/* Walk all members into `member`, which has room for `room`; *count: how many there are, as many as
   did fit first. */
static err_t
read_members(struct bytes document, struct bsonvalue *member, size_t room, size_t *count)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    *count = 0;
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, *count < room ? &member[*count] : &value))
        ++*count;
    return bsonwalk_end(&walk);
}

static err_t
print_sorted(struct printer *printer, struct bytes document, size_t *count)
{
    struct bsonvalue few[FEW_MEMBERS], *member = few;
    err_t err;

    TRY(read_members(document, few, FEW_MEMBERS, count));
    if (*count > FEW_MEMBERS) {
        member = malloc(*count * sizeof *member);
        if (member == NULL)
            return err_set(ERR_MEMORY, "could not allocate %zu members", *count);
        TRY(read_members(document, member, *count, count));
    }
    sort_members(member, *count);
    for (size_t i = 0; i < *count; i++)
        TRY(print_member(printer, &member[i], true, i == 0));
    err = OK;
out:
    if (member != few)
        free(member);
    return err;
}

static err_t
print_in_order(struct printer *printer, struct bytes document, bool named, size_t *count)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    TRY_RETURN(bsonwalk_begin(&walk, document));
    for (*count = 0; bsonwalk_next(&walk, &value); ++*count)
        TRY_RETURN(print_member(printer, &value, named, *count == 0));
    return bsonwalk_end(&walk);
}

static err_t
print_fields(struct printer *printer, struct bytes document, bool named)
{
    size_t count;

    if (printer->depth >= BSONVALUE_DEPTH_MAX)
        return err_set(
            ERR_OVERFLOW, "a document nested deeper than %d levels", BSONVALUE_DEPTH_MAX);
    printer->depth++;
    TRY_RETURN(buf_append_byte(printer->out, named ? '{' : '['));
    if (named && (printer->flags & JSONPRINT_SORTED) != 0)
        TRY_RETURN(print_sorted(printer, document, &count));
    else
        TRY_RETURN(print_in_order(printer, document, named, &count));
    printer->depth--;
    if (count > 0)
        TRY_RETURN(new_line(printer));
    return buf_append_byte(printer->out, named ? '}' : ']');
}

/* Types that JSON lacks */

static err_t
print_wrapped(struct printer *printer, const char *name, const char *text, size_t size)
{
    TRY_RETURN(buf_append_text(printer->out, "{\""));
    TRY_RETURN(buf_append_text(printer->out, name));
    TRY_RETURN(buf_append_text(printer->out, "\":\""));
    TRY_RETURN(buf_append(printer->out, text, size));
    return buf_append_text(printer->out, "\"}");
}

static err_t
print_double(struct printer *printer, double number)
{
    char text[JSONPRINT_DOUBLE_MAX];
    size_t size = jsonprint_double(number, text);
    bool finite = number - number == 0;

    if ((printer->flags & JSONPRINT_CANONICAL) != 0 || !finite)
        return print_wrapped(printer, "$numberDouble", text, size);
    return buf_append(printer->out, text, size);
}

static err_t
print_whole(struct printer *printer, int64_t number, const char *canonical_name)
{
    char text[24];
    unsigned size = put_i64(number, text);

    if ((printer->flags & JSONPRINT_CANONICAL) != 0)
        return print_wrapped(printer, canonical_name, text, size);
    return buf_append(printer->out, text, size);
}

static err_t
print_date(struct printer *printer, int64_t ms)
{
    char text[JSONPRINT_DATE_MAX];
    size_t size = jsonprint_date(ms, "Z", text);

    if ((printer->flags & JSONPRINT_CANONICAL) == 0 && ms >= 0 && size > 0)
        return print_wrapped(printer, "$date", text, size);
    TRY_RETURN(buf_append_text(printer->out, "{\"$date\":"));
    TRY_RETURN(print_wrapped(printer, "$numberLong", text, put_i64(ms, text)));
    return buf_append_byte(printer->out, '}');
}

static err_t
print_binary(struct printer *printer, const struct bsonvalue *value)
{
    uint8_t subtype;
    struct bytes data = bsonvalue_binary(value, &subtype);

    if (subtype == BSONSUBTYPE_OLD_BINARY && data.size >= 4) {
        data.data += 4;
        data.size -= 4;
    }
    TRY_RETURN(buf_append_text(printer->out, "{\"$binary\":{\"base64\":\""));
    TRY_RETURN(base64_encode(printer->out, data));
    return buf_printf(printer->out, "\",\"subType\":\"%02x\"}}", subtype);
}

static err_t
print_objectid(struct printer *printer, const uint8_t *oid)
{
    char text[2 * OBJECTID_SIZE + 1];

    objectid_print(oid, text);
    return print_wrapped(printer, "$oid", text, 2 * OBJECTID_SIZE);
}

/* {"<outer>":{"<first>":<a>,"<second>":<b>}} with strings. */
static err_t
print_pair(struct printer *printer, const char *opening, struct bytes a, const char *between,
    struct bytes b)
{
    TRY_RETURN(buf_append_text(printer->out, opening));
    TRY_RETURN(jsonprint_string(printer->out, a));
    TRY_RETURN(buf_append_text(printer->out, between));
    TRY_RETURN(jsonprint_string(printer->out, b));
    return buf_append_text(printer->out, "}}");
}

static err_t
print_regex(struct printer *printer, const struct bsonvalue *value)
{
    struct bytes pattern, options;

    bsonvalue_regex(value, &pattern, &options);
    if ((printer->flags & JSONPRINT_SORTED) != 0)
        return print_pair(
            printer, "{\"$regularExpression\":{\"options\":", options, ",\"pattern\":", pattern);
    return print_pair(
        printer, "{\"$regularExpression\":{\"pattern\":", pattern, ",\"options\":", options);
}

static err_t
print_dbpointer(struct printer *printer, const struct bsonvalue *value)
{
    struct bytes collection;
    const uint8_t *oid;

    bsonvalue_dbpointer(value, &collection, &oid);
    if ((printer->flags & JSONPRINT_SORTED) != 0) {
        TRY_RETURN(buf_append_text(printer->out, "{\"$dbPointer\":{\"$id\":"));
        TRY_RETURN(print_objectid(printer, oid));
        TRY_RETURN(buf_append_text(printer->out, ",\"$ref\":"));
        TRY_RETURN(jsonprint_string(printer->out, collection));
    } else {
        TRY_RETURN(buf_append_text(printer->out, "{\"$dbPointer\":{\"$ref\":"));
        TRY_RETURN(jsonprint_string(printer->out, collection));
        TRY_RETURN(buf_append_text(printer->out, ",\"$id\":"));
        TRY_RETURN(print_objectid(printer, oid));
    }
    return buf_append_text(printer->out, "}}");
}

static err_t
print_code(struct printer *printer, const struct bsonvalue *value)
{
    struct bytes code, scope;

    TRY_RETURN(buf_append_text(printer->out, "{\"$code\":"));
    if (value->type == BSONTYPE_CODE)
        TRY_RETURN(jsonprint_string(printer->out, bsonvalue_string(value)));
    else {
        bsonvalue_code_w_scope(value, &code, &scope);
        TRY_RETURN(jsonprint_string(printer->out, code));
        TRY_RETURN(buf_append_text(printer->out, ",\"$scope\":"));
        TRY_RETURN(print_fields(printer, scope, true));
    }
    return buf_append_byte(printer->out, '}');
}

static err_t
print_symbol(struct printer *printer, const struct bsonvalue *value)
{
    TRY_RETURN(buf_append_text(printer->out, "{\"$symbol\":"));
    TRY_RETURN(jsonprint_string(printer->out, bsonvalue_string(value)));
    return buf_append_byte(printer->out, '}');
}

static err_t
print_timestamp(struct printer *printer, uint64_t stamp)
{
    uint32_t seconds = (uint32_t)(stamp >> 32), increment = (uint32_t)stamp;

    if ((printer->flags & JSONPRINT_SORTED) != 0)
        return buf_printf(printer->out, "{\"$timestamp\":{\"i\":%u,\"t\":%u}}", increment, seconds);
    return buf_printf(printer->out, "{\"$timestamp\":{\"t\":%u,\"i\":%u}}", seconds, increment);
}

static err_t
print_decimal(struct printer *printer, const struct bsonvalue *value)
{
    char text[DECIMAL_TEXT_MAX];

    decimal_print(value->raw.data, text);
    return print_wrapped(printer, "$numberDecimal", text, strlen(text));
}

static err_t
print_value(struct printer *printer, const struct bsonvalue *value)
{
    switch (value->type) {
    case BSONTYPE_DOUBLE:
        return print_double(printer, bsonvalue_double(value));
    case BSONTYPE_STRING:
        return jsonprint_string(printer->out, bsonvalue_string(value));
    case BSONTYPE_DOCUMENT:
    case BSONTYPE_ARRAY:
        return print_fields(printer, value->raw, value->type == BSONTYPE_DOCUMENT);
    case BSONTYPE_BINARY:
        return print_binary(printer, value);
    case BSONTYPE_UNDEFINED:
        return buf_append_text(printer->out, "{\"$undefined\":true}");
    case BSONTYPE_OBJECTID:
        return print_objectid(printer, bsonvalue_objectid(value));
    case BSONTYPE_BOOL:
        return buf_append_text(printer->out, bsonvalue_bool(value) ? "true" : "false");
    case BSONTYPE_DATE:
        return print_date(printer, bsonvalue_int64(value));
    case BSONTYPE_NULL:
    case BSONTYPE_EOO:
        return buf_append_text(printer->out, "null");
    case BSONTYPE_REGEX:
        return print_regex(printer, value);
    case BSONTYPE_DBPOINTER:
        return print_dbpointer(printer, value);
    case BSONTYPE_CODE:
    case BSONTYPE_CODE_W_SCOPE:
        return print_code(printer, value);
    case BSONTYPE_SYMBOL:
        return print_symbol(printer, value);
    case BSONTYPE_INT32:
        return print_whole(printer, bsonvalue_int32(value), "$numberInt");
    case BSONTYPE_TIMESTAMP:
        return print_timestamp(printer, bsonvalue_timestamp(value));
    case BSONTYPE_INT64:
        return print_whole(printer, bsonvalue_int64(value), "$numberLong");
    case BSONTYPE_DECIMAL128:
        return print_decimal(printer, value);
    case BSONTYPE_MINKEY:
        return buf_append_text(printer->out, "{\"$minKey\":1}");
    default:
        return buf_append_text(printer->out, "{\"$maxKey\":1}");
    }
}

err_t
jsonprint_value(struct buf *out, const struct bsonvalue *value, unsigned flags)
{
    struct printer printer = { out, flags, 0 };
    size_t before = out->size;
    err_t err = print_value(&printer, value);

    if (err != OK)
        out->size = before;
    return err;
}

err_t
jsonprint_document(struct buf *out, struct bytes document, unsigned flags)
{
    struct bsonvalue value = bsonvalue_of_document(document);

    return jsonprint_value(out, &value, flags);
}
