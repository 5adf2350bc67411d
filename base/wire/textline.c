/*
 * textline.c - cutting a stream of bytes into lines.
 *
 * INVARIANTS
 *   L1  A newline ends a line if it is among the first `limit` bytes of it; a line that has
 *       `limit` bytes and no newline is too long, wherever the stream was chopped.
 *   L2  `searched` bytes at the front of the input hold no newline, and are never looked at
 *       again: a line that comes in n pieces costs no more than one that comes whole.
 *   L3  While discarding nothing is kept: the input is consumed up to the next newline.
 */
#include "base/wire/textline.h"

#include "base/doc/bsonwalk.h"
#include "base/mutant.h"
#include "base/panic.h"

#define STRIDE 64

void
textline_init(struct textline *framer, size_t limit)
{
    invariant(limit >= 2);
    *framer = (struct textline){ limit, 0, false };
}

#define HIGH_BITS 0x8080808080808080u

/* Bytes at the front that are ASCII, rounded down to whole strides: eight words are joined
   before one test, so that the loop runs at the speed of the cache. */
static size_t
ascii_front(const uint8_t *at, size_t size)
{
    size_t done = 0;

    for (; size - done >= STRIDE; done += STRIDE) {
        uint64_t word[STRIDE / 8];
        uint64_t joined;

        memcpy(word, at + done, STRIDE);
        joined = word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6] | word[7];
        if ((joined & HIGH_BITS) != 0)
            break;
    }
    return done;
}

/* Are these fewer than STRIDE bytes all ASCII? */
static bool
is_ascii(const uint8_t *at, size_t size)
{
    uint64_t joined = 0, word;

    for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        joined |= word;
    }
    for (; size > 0; size--)
        joined |= *at++;
    return (joined & HIGH_BITS) == 0;
}

bool
textline_is_utf8(struct bytes text)
{
    size_t done;

    if (text.size == 0)
        return true;
    done = ascii_front(text.data, text.size);
    if (text.size - done < STRIDE && is_ascii(text.data + done, text.size - done))
        return true;
    /* What was passed is ASCII, so a character begins at `done`. */
    text = (struct bytes){ text.data + done, text.size - done };
    return bsonwalk_utf8_valid_size(text) == text.size;
}

/* A line of `size` bytes without its newline. */
static enum textline_result
yield(struct bytes input, size_t size, struct bytes *line)
{
    if (size > 0 && input.data[size - 1] == '\r')
        size--;
    *line = (struct bytes){ input.data, size };
    return textline_is_utf8(*line) ? TEXTLINE_LINE : TEXTLINE_NOT_UTF8;
}

/* L3: the tail of a line that has been complained about.  True: its newline was found. */
static bool
discard(struct textline *framer, struct bytes input, size_t *consumed)
{
    const uint8_t *newline = input.size > 0 ? memchr(input.data, '\n', input.size) : NULL;

    framer->discarding = newline == NULL;
    *consumed = newline == NULL ? input.size : (size_t)(newline - input.data) + 1;
    return newline != NULL;
}

enum textline_result
textline_next(
    struct textline *framer, struct bytes input, bool at_end, struct bytes *line, size_t *consumed)
{
    const uint8_t *newline = NULL;
    size_t skipped = 0;
    size_t reach;

    *consumed = 0;
    *line = (struct bytes){ NULL, 0 };
    if (framer->discarding) {
        if (!discard(framer, input, &skipped)) {
            *consumed = skipped;
            return at_end ? TEXTLINE_END : TEXTLINE_MORE;
        }
        input = (struct bytes){ input.data + skipped, input.size - skipped };
    }

    reach = input.size < framer->limit || mutant(MUTANT_TEXT_UNBOUNDED) ? input.size
                                                                        : framer->limit; /* L1 */
    if (reach > framer->searched)
        newline = memchr(input.data + framer->searched, '\n', reach - framer->searched);
    if (newline != NULL) {
        size_t size = (size_t)(newline - input.data);

        framer->searched = 0;
        *consumed = skipped + size + 1;
        return yield(input, size, line);
    }
    if (input.size >= framer->limit) {
        framer->searched = 0;
        framer->discarding = true;
        *consumed = skipped + reach; /* the rest is discarded at the next call */
        return TEXTLINE_TOO_LONG;
    }
    if (at_end) {
        framer->searched = 0;
        *consumed = skipped + input.size;
        return input.size > 0 ? yield(input, input.size, line) : TEXTLINE_END;
    }
    framer->searched = input.size; /* L2 */
    *consumed = skipped;
    return TEXTLINE_MORE;
}
