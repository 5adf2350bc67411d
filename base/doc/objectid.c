/*
 * objectid.c - making and naming ObjectIds.
 */
#include "base/doc/objectid.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/panic.h"

static _Thread_local struct {
    pid_t pid; /* for whom the rest was drawn; 0: nobody */
    uint8_t random[5];
    uint32_t counter; /* 24 bits are used */
} state;

static void
draw(pid_t pid)
{
    uint8_t bytes[8];

    invariant(getentropy(bytes, sizeof bytes) == 0);
    memcpy(state.random, bytes, sizeof state.random);
    state.counter = (uint32_t)bytes[5] << 16 | (uint32_t)bytes[6] << 8 | bytes[7];
    state.pid = pid;
}

void
objectid_make(uint8_t oid[OBJECTID_SIZE])
{
    uint32_t seconds = __builtin_bswap32((uint32_t)(clock_wall_ms() / 1000));
    pid_t pid = getpid();

    if (state.pid != pid)
        draw(pid);
    memcpy(oid, &seconds, sizeof seconds);
    memcpy(oid + 4, state.random, sizeof state.random);
    oid[9] = (uint8_t)(state.counter >> 16);
    oid[10] = (uint8_t)(state.counter >> 8);
    oid[11] = (uint8_t)state.counter;
    state.counter++;
}

void
objectid_print(const uint8_t oid[OBJECTID_SIZE], char text[2 * OBJECTID_SIZE + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < OBJECTID_SIZE; i++) {
        text[2 * i] = digits[oid[i] >> 4];
        text[2 * i + 1] = digits[oid[i] & 15];
    }
    text[2 * OBJECTID_SIZE] = '\0';
}

static int
digit_of(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

bool
objectid_parse(struct bytes text, uint8_t oid[OBJECTID_SIZE])
{
    if (text.size != (size_t)2 * OBJECTID_SIZE)
        return false;
    for (unsigned i = 0; i < OBJECTID_SIZE; i++) {
        int high = digit_of(text.data[2 * i]), low = digit_of(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        oid[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
