/*
 * language_redis.c - Redis: a document is the value of the key docs:ID.  It has no index.
 */
#include <stdio.h>

#include "bench/die.h"
#include "bench/language.h"
#include "bench/resp.h"

size_t
language_ask(const struct language_work *work, const struct documents *documents, uint8_t *out)
{
    char key[64], json[256], *to = (char *)out;
    int size = snprintf(key, sizeof key, "%s:%lld", work->table, (long long)work->id);
    size_t length;

    if (work->verb == LANGUAGE_GET)
        return (size_t)snprintf(
            to, LANGUAGE_ASK_MAX, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", size, key);
    if (work->verb == LANGUAGE_RANGE)
        die("Redis has no index");
    length = language_json(documents, work->id,
        work->verb == LANGUAGE_UPDATE ? work->low : documents_age(documents, work->id), json);
    return (size_t)snprintf(to, LANGUAGE_ASK_MAX, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n%s\r\n",
        size, key, length, json);
}

size_t
language_answer(const uint8_t *data, size_t size, uint64_t *documents)
{
    return resp_answer(data, size, documents);
}

void
language_greet(int fd, bool brief)
{
    (void)fd, (void)brief;
}
