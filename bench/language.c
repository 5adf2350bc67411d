/*
 * language.c - what the languages share.
 */
#include "bench/language.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "bench/die.h"

#define ROOM     65536
#define JSON_MAX 128

void
language_send(int fd, const void *data, size_t size)
{
    const uint8_t *from = data;

    while (size > 0) {
        ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);

        if (sent <= 0)
            die("send: %s", strerror(errno));
        from += sent;
        size -= (size_t)sent;
    }
}

void
language_await(int fd, unsigned count)
{
    static uint8_t room[ROOM];
    size_t have = 0, used;
    uint64_t documents = 0;

    while (count > 0) {
        ssize_t got = recv(fd, room + have, sizeof room - have, 0);

        if (got <= 0)
            die("the server closed the connection: %s", got < 0 ? strerror(errno) : "its end");
        have += (size_t)got;
        while (count > 0 && (used = language_answer(room, have, &documents)) > 0) {
            memmove(room, room + used, have -= used);
            count--;
        }
    }
}

size_t
language_json(const struct documents *documents, int64_t id, int32_t age, char *out)
{
    (void)documents;
    return (size_t)snprintf(out, JSON_MAX, "{\"name\":\"u%07lld\",\"age\":%d,\"active\":%s}",
        (long long)id % 10000000, age, (id & 1) != 0 ? "true" : "false");
}
