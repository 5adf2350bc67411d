/*
 * language_echo.c - no server at all: messages of a size, answered with messages of a size
 * (echo.c).
 *
 * A get's messages are as large as those of MongoDB's protocol for a small document.
 */
#include <string.h>

#include "bench/die.h"
#include "bench/language.h"

#define ASK    110
#define ANSWER 160

size_t
language_ask(const struct language_work *work, const struct documents *documents, uint8_t *out)
{
    const uint32_t sizes[2] = { ASK, ANSWER };

    (void)documents;
    if (work->verb != LANGUAGE_GET)
        die("an echo can only be heard");
    memset(out, 0, ASK);
    memcpy(out, sizes, sizeof sizes);
    return ASK;
}

size_t
language_answer(const uint8_t *data, size_t size, uint64_t *documents)
{
    (void)data;
    if (size < ANSWER)
        return 0;
    *documents += 1;
    return ANSWER;
}

void
language_greet(int fd, bool brief)
{
    (void)fd, (void)brief;
}
