/*
 * language_text.c - Gneiss's text protocol: a document's key is a UUID.  Each connection shows the
 * administrator's access token, which the environment has (BENCH_TOKEN): a password costs 50 ms.
 */
#include <stdio.h>

#include "bench/die.h"
#include "bench/language.h"
#include "bench/resp.h"

#define UUID "00000000-0000-4000-8000-%012llx"

size_t
language_ask(const struct language_work *work, const struct documents *documents, uint8_t *out)
{
    const char *verb = work->verb == LANGUAGE_INSERT ? "INSERT" : "UPDATE";
    unsigned long long id = (unsigned long long)work->id;
    char json[256], *to = (char *)out;

    if (work->verb == LANGUAGE_GET)
        return (size_t)snprintf(to, LANGUAGE_ASK_MAX, "GET %s " UUID "\r\n", work->table, id);
    if (work->verb == LANGUAGE_RANGE && work->low == work->high)
        return (size_t)snprintf(
            to, LANGUAGE_ASK_MAX, "QUERY %s age %d\r\n", work->table, work->low);
    if (work->verb == LANGUAGE_RANGE)
        return (size_t)snprintf(to, LANGUAGE_ASK_MAX, "QUERY_RANGE %s age %d %d\r\n", work->table,
            work->low, work->high);
    (void)language_json(documents, work->id,
        work->verb == LANGUAGE_UPDATE ? work->low : documents_age(documents, work->id), json);
    return (size_t)snprintf(
        to, LANGUAGE_ASK_MAX, "%s %s " UUID " %s\r\n", verb, work->table, id, json);
}

size_t
language_answer(const uint8_t *data, size_t size, uint64_t *documents)
{
    return resp_answer(data, size, documents);
}

void
language_greet(int fd, bool brief)
{
    const char *token = getenv("BENCH_TOKEN");
    char login[4096];
    int size;

    (void)brief;
    if (token == NULL)
        die("BENCH_TOKEN is not set");
    size = snprintf(login, sizeof login, "TOKEN %s\r\nUSE bench\r\n", token);
    language_await(fd, 1); /* the banner */
    language_send(fd, login, (size_t)size);
    language_await(fd, 2);
}
