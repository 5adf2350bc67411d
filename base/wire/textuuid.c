/*
 * textuuid.c - UUIDs as text.
 *
 * Parsing is the hot path and says only yes or no; why a text is no UUID is worked out
 * afterwards, by the rules of section 5.3 in their order.
 */
#include "base/wire/textuuid.h"

#define URN        "urn:uuid:"
#define GROUPS     5
#define HEX_DIGITS 32

/* Value of a hex digit with IS_DIGIT set, or 0. */
#define IS_DIGIT 0x10
static const uint8_t hex_value[256] = { ['0'] = 0x10,
    ['1'] = 0x11,
    ['2'] = 0x12,
    ['3'] = 0x13,
    ['4'] = 0x14,
    ['5'] = 0x15,
    ['6'] = 0x16,
    ['7'] = 0x17,
    ['8'] = 0x18,
    ['9'] = 0x19,
    ['a'] = 0x1a,
    ['A'] = 0x1a,
    ['b'] = 0x1b,
    ['B'] = 0x1b,
    ['c'] = 0x1c,
    ['C'] = 0x1c,
    ['d'] = 0x1d,
    ['D'] = 0x1d,
    ['e'] = 0x1e,
    ['E'] = 0x1e,
    ['f'] = 0x1f,
    ['F'] = 0x1f };

/* Where in the hyphenated text each of the 16 bytes has its two digits. */
static const uint8_t digit_place[16] = { 0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32,
    34 };
static const uint8_t group_size[GROUPS] = { 8, 4, 4, 4, 12 };

/* Take {…} or urn:uuid: off.  True: something was taken. */
static bool
strip(struct bytes *text)
{
    size_t urn = strlen(URN);

    if (text->size >= 2 && text->data[0] == '{' && text->data[text->size - 1] == '}') {
        *text = (struct bytes){ text->data + 1, text->size - 2 };
        return true;
    }
    if (text->size >= urn && memcmp(text->data, URN, urn) == 0) {
        *text = (struct bytes){ text->data + urn, text->size - urn };
        return true;
    }
    return false;
}

static bool
parse_hyphenated(const uint8_t *text, uint8_t *uuid)
{
    uint8_t all = IS_DIGIT;

    if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-')
        return false;
    for (int i = 0; i < 16; i++) {
        uint8_t high = hex_value[text[digit_place[i]]];
        uint8_t low = hex_value[text[digit_place[i] + 1]];

        all &= high & low;
        uuid[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return all >= IS_DIGIT;
}

static bool
parse_simple(const uint8_t *text, uint8_t *uuid)
{
    uint8_t all = IS_DIGIT;

    for (int i = 0; i < 16; i++) {
        uint8_t high = hex_value[text[2 * i]];
        uint8_t low = hex_value[text[2 * i + 1]];

        all &= high & low;
        uuid[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return all >= IS_DIGIT;
}

bool
textuuid_parse(struct bytes text, uint8_t uuid[16])
{
    if (text.size == TEXTUUID_SIZE)
        return parse_hyphenated(text.data, uuid);
    if (text.size == HEX_DIGITS)
        return parse_simple(text.data, uuid);
    return strip(&text) && text.size == TEXTUUID_SIZE && parse_hyphenated(text.data, uuid);
}

/* Bytes of the UTF-8 character at the front of a slice. */
static int
character_size(struct bytes text)
{
    uint8_t lead = text.data[0];
    int size = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

    return (size_t)size <= text.size ? size : 1;
}

static err_t
explain_groups(struct buf *out, struct bytes text)
{
    size_t group = 0;
    size_t length = 0;

    for (size_t i = 0; i <= text.size && group < GROUPS; i++) {
        if (i < text.size && text.data[i] != '-') {
            length++;
            continue;
        }
        if (length != group_size[group])
            return buf_printf(out, "invalid group length in group %zu: expected %u, found %zu",
                group, group_size[group], length);
        group++;
        length = 0;
    }
    /* All groups are right, so this is a UUID; only a caller that did not ask gets here. */
    return buf_append_text(out, "not a UUID");
}

static err_t
explain_reason(struct buf *out, struct bytes typed)
{
    struct bytes text = typed;
    bool stripped = strip(&text);
    size_t hyphens = 0;

    for (size_t i = 0; i < text.size; i++) {
        struct bytes rest = { text.data + i, text.size - i };

        if (text.data[i] == '-')
            hyphens++;
        else if (hex_value[text.data[i]] == 0)
            return buf_printf(out, "invalid character: found `%.*s` at %zu", character_size(rest),
                (const char *)rest.data, (size_t)(rest.data - typed.data) + 1);
    }
    if (hyphens == 0 && !stripped)
        return buf_printf(
            out, "invalid length: expected length 32 for simple format, found %zu", text.size);
    if (hyphens != GROUPS - 1)
        return buf_printf(out, "invalid group count: expected %d, found %zu", GROUPS, hyphens + 1);
    return explain_groups(out, text);
}

err_t
textuuid_explain(struct buf *out, struct bytes text)
{
    size_t before = out->size;
    err_t err;

    TRY(buf_append_text(out, "invalid UUID '"));
    TRY(buf_append(out, text.data, text.size));
    TRY(buf_append_text(out, "': "));
    TRY(explain_reason(out, text));
out:
    if (err != OK)
        out->size = before;
    return err;
}

void
textuuid_print(const uint8_t uuid[16], char *room)
{
    static const char digit[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        room[digit_place[i]] = digit[uuid[i] >> 4];
        room[digit_place[i] + 1] = digit[uuid[i] & 15];
    }
    room[8] = room[13] = room[18] = room[23] = '-';
}
