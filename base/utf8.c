/*
 * utf8.c - UTF-8.
 *
 * The well-formed sequences are those of table 3-7 of the Unicode standard; only the
 * second byte's range depends on the first.  ASCII is passed eight bytes at a time.
 */
#include "base/utf8.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080u

static inline bool
continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The range that the second byte must lie in, by the first. */
static bool
second_fits(uint8_t first, uint8_t second)
{
    switch (first) {
    case 0xe0:
        return second >= 0xa0 && second <= 0xbf;
    case 0xed:
        return second >= 0x80 && second <= 0x9f;
    case 0xf0:
        return second >= 0x90 && second <= 0xbf;
    case 0xf4:
        return second >= 0x80 && second <= 0x8f;
    default:
        return continues(second);
    }
}

size_t
utf8_length(struct bytes text)
{
    const uint8_t *at = text.data;

    if (text.size == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4 || text.size < 2 || !second_fits(at[0], at[1]))
        return 0;
    if (at[0] < 0xe0)
        return 2;
    if (text.size < 3 || !continues(at[2]))
        return 0;
    if (at[0] < 0xf0)
        return 3;
    return text.size >= 4 && continues(at[3]) ? 4 : 0;
}

size_t
utf8_valid_prefix(struct bytes text)
{
    size_t done = 0;

    while (done < text.size) {
        size_t length;
        uint64_t word;

        while (text.size - done >= 8) {
            memcpy(&word, text.data + done, 8);
            if ((word & HIGH_BITS) != 0)
                break;
            done += 8;
        }
        if (done == text.size)
            break;
        length = utf8_length((struct bytes){ text.data + done, text.size - done });
        if (length == 0)
            break;
        done += length;
    }
    return done;
}

bool
utf8_valid(struct bytes text)
{
    return utf8_valid_prefix(text) == text.size;
}

size_t
utf8_decode(struct bytes text, uint32_t *code_point)
{
    static const uint8_t masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    size_t length = utf8_length(text);

    *code_point = 0;
    if (length == 0)
        return 0;
    *code_point = text.data[0] & masks[length];
    for (size_t at = 1; at < length; at++)
        *code_point = *code_point << 6 | (text.data[at] & 0x3f);
    return length;
}

size_t
utf8_encode(uint32_t code_point, uint8_t bytes[4])
{
    if (code_point < 0x80) {
        bytes[0] = (uint8_t)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | code_point >> 6);
        bytes[1] = (uint8_t)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff))
        return 0;
    if (code_point < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | code_point >> 12);
        bytes[1] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (code_point & 0x3f));
        return 3;
    }
    bytes[0] = (uint8_t)(0xf0 | code_point >> 18);
    bytes[1] = (uint8_t)(0x80 | (code_point >> 12 & 0x3f));
    bytes[2] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
    bytes[3] = (uint8_t)(0x80 | (code_point & 0x3f));
    return 4;
}

size_t
utf8_count(struct bytes text)
{
    size_t count = 0;

    for (size_t at = 0; at < text.size; at++)
        count += !continues(text.data[at]);
    return count;
}
