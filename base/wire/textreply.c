/*
 * textreply.c - the replies of the text protocol.
 *
 * INVARIANTS
 *   R1  A reply is appended whole or not at all.
 *   R2  Between its first byte and its final CR LF no simple or error text holds a control
 *       character or a character at which some client ends a line.
 *   R3  An error that is no forward never has a ';' behind an '@'.
 */
#include "base/wire/textreply.h"

#include "base/panic.h"
#include "base/wire/textuuid.h"

#define NUMBER_MAX 20 /* digits and sign of any 64-bit number */

/* The decimal digits of a number, at the end of `room`; returns where they begin. */
static char *
print_digits(uint64_t number, char room[NUMBER_MAX])
{
    size_t at = NUMBER_MAX;

    do {
        room[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return &room[at];
}

static inline uint8_t *
put(uint8_t *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

/* "<sign><number>\r\n"; the room has been reserved. */
static uint8_t *
put_number_line(uint8_t *to, char sign, uint64_t number)
{
    char room[NUMBER_MAX];
    char *digits = print_digits(number, room);

    *to++ = (uint8_t)sign;
    to = put(to, digits, (size_t)(room + NUMBER_MAX - digits));
    return put(to, "\r\n", 2);
}

static void
commit(struct buf *out, const uint8_t *end)
{
    out->size = (size_t)(end - out->data);
    invariant(out->size <= out->capacity);
}

/* R2: copy a text, making it harmless.  Never longer than it was, except for `percent`. */
static uint8_t *
put_harmless(uint8_t *to, struct bytes text, bool percent)
{
    const uint8_t *at = text.data;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = at[i];
        size_t left = text.size - i - 1;

        if (c < 0x20 || c == 0x7f) {
            *to++ = '?';
        } else if (c == '@' && percent) {
            to = put(to, "%40", 3);
        } else if (c == 0xc2 && left >= 1 && at[i + 1] >= 0x80 && at[i + 1] <= 0x9f) {
            *to++ = '?'; /* C1 controls, U+0085 among them */
            i++;
        } else if (c == 0xe2 && left >= 2 && at[i + 1] == 0x80 &&
                   (at[i + 2] == 0xa8 || at[i + 2] == 0xa9)) {
            *to++ = '?'; /* U+2028, U+2029 */
            i += 2;
        } else {
            *to++ = c;
        }
    }
    return to;
}

/* Does a ';' stand behind an '@', in a followed by b? */
static bool
looks_like_forward(struct bytes a, struct bytes b)
{
    const struct bytes part[2] = { a, b };
    bool seen = false;

    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < part[i].size; j++) {
            if (part[i].data[j] == '@')
                seen = true;
            else if (part[i].data[j] == ';' && seen)
                return true;
        }
    return false;
}

static size_t
count_ats(struct bytes text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == '@';
    return count;
}

/* One line: prefix, two parts of text, CR LF. */
static err_t
put_line(struct buf *out, const char *prefix, struct bytes a, struct bytes b, bool percent)
{
    size_t prefix_size = strlen(prefix);
    size_t grown = percent ? 2 * (count_ats(a) + count_ats(b)) : 0;
    uint8_t *to;

    TRY_RETURN(buf_reserve(out, prefix_size + a.size + b.size + grown + 2));
    to = put(out->data + out->size, prefix, prefix_size);
    to = put_harmless(to, a, percent);
    to = put_harmless(to, b, percent);
    commit(out, put(to, "\r\n", 2));
    return OK;
}

static const struct bytes nothing = { NULL, 0 };

err_t
textreply_simple_bytes(struct buf *out, struct bytes text)
{
    return put_line(out, "+", text, nothing, false);
}

err_t
textreply_simple(struct buf *out, const char *text)
{
    return textreply_simple_bytes(out, bytes_of(text));
}

err_t
textreply_integer(struct buf *out, int64_t number)
{
    uint8_t *to;

    TRY_RETURN(buf_reserve(out, NUMBER_MAX + 4));
    to = out->data + out->size;
    if (number < 0) {
        *to++ = ':';
        commit(out, put_number_line(to, '-', 0 - (uint64_t)number));
    } else {
        commit(out, put_number_line(to, ':', (uint64_t)number));
    }
    return OK;
}

err_t
textreply_null(struct buf *out)
{
    return buf_append(out, "$-1\r\n", 5);
}

err_t
textreply_array(struct buf *out, uint64_t count)
{
    TRY_RETURN(buf_reserve(out, NUMBER_MAX + 4));
    commit(out, put_number_line(out->data + out->size, '*', count));
    return OK;
}

err_t
textreply_error(struct buf *out, struct bytes text)
{
    return put_line(out, "-ERR ", text, nothing, looks_like_forward(text, nothing)); /* R3 */
}

err_t
textreply_error_text(struct buf *out, const char *text)
{
    return textreply_error(out, bytes_of(text));
}

err_t
textreply_refusal(struct buf *out, const struct textcmd_refusal *refusal)
{
    struct bytes text = bytes_of(refusal->text);

    return put_line(
        out, "-ERR ", text, refusal->echo, looks_like_forward(text, refusal->echo)); /* R3 */
}

err_t
textreply_forward(struct buf *out, struct bytes text)
{
    return put_line(out, "-ERR ", text, nothing, false);
}

err_t
textreply_bulk(struct buf *out, struct bytes body)
{
    uint8_t *to;

    TRY_RETURN(buf_reserve(out, body.size + NUMBER_MAX + 5));
    to = put_number_line(out->data + out->size, '$', body.size);
    if (body.size > 0)
        to = put(to, body.data, body.size);
    commit(out, put(to, "\r\n", 2));
    return OK;
}

err_t
textreply_document(struct buf *out, const uint8_t uuid[16], struct bytes json)
{
    size_t size = TEXTUUID_SIZE + 1 + json.size;
    uint8_t *to;

    TRY_RETURN(buf_reserve(out, size + NUMBER_MAX + 5));
    to = put_number_line(out->data + out->size, '$', size);
    textuuid_print(uuid, (char *)to);
    to[TEXTUUID_SIZE] = ' ';
    to += TEXTUUID_SIZE + 1;
    if (json.size > 0)
        to = put(to, json.data, json.size);
    commit(out, put(to, "\r\n", 2));
    return OK;
}

/* Bytes of "$<size>\r\n". */
static size_t
bulk_header_size(size_t size)
{
    char room[NUMBER_MAX];

    return (size_t)(room + NUMBER_MAX - print_digits(size, room)) + 3;
}

err_t
textreply_bulk_begin(struct buf *out, size_t size_guess, struct textreply_bulk *bulk)
{
    size_t header = bulk_header_size(size_guess);

    TRY_RETURN(buf_reserve(out, header + size_guess + 2));
    bulk->start = out->size;
    bulk->body = out->size + header;
    memset(out->data + out->size, ' ', header); /* nothing of an earlier reply may show */
    out->size = bulk->body;
    return OK;
}

err_t
textreply_bulk_end(struct buf *out, const struct textreply_bulk *bulk)
{
    size_t size = out->size - bulk->body;
    size_t header = bulk_header_size(size);
    uint8_t *to;

    invariant(out->size >= bulk->body);
    TRY_RETURN(buf_reserve(out, NUMBER_MAX + 5));
    to = out->data + bulk->start;
    if (bulk->start + header != bulk->body)
        memmove(to + header, out->data + bulk->body, size);
    to = put_number_line(to, '$', size);
    commit(out, put(to + size, "\r\n", 2));
    return OK;
}
