/*
 * protocol.c - the text protocol's inner loops (base/wire), without a server around them.
 *
 * Lines and answers are those of worker.c:
 *
 *     parse - N     N simple lines parsed, textcmd_parse
 *     frame - N     N INSERTs of 1 KiB cut out of a stream, textline_next
 *     memchr - N    the same stream, looking for line ends and nothing else
 *     bulk - N      N bulks of arrays of 100 documents written, textreply_document
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/wire/textcmd.h"
#include "base/wire/textline.h"
#include "base/wire/textreply.h"
#include "bench/die.h"
#include "bench/stopwatch.h"

#define LINE       1024
#define LINES      64
#define BULKS      100
#define INPUT_LINE 256

static const char *const simple[] = {
    "PING",
    "GET users 00000000-0000-4000-8000-000000000001",
    "COUNT users",
    "DELETE users 00000000-0000-4000-8000-000000000001",
    "USE shop",
    "QUERY users age 42",
    "LIST COLLECTIONS",
    "SCAN users",
};
#define SIMPLE (sizeof simple / sizeof simple[0])

static uint8_t stream[LINE * LINES];

static void
make_stream(void)
{
    static const char head[] = "INSERT users 00000000-0000-4000-8000-000000000001 {\"text\":\"";

    for (size_t i = 0; i < LINES; i++) {
        uint8_t *line = stream + i * LINE;

        memset(line, 'x', LINE);
        memcpy(line, head, sizeof head - 1);
        memcpy(line + LINE - 4, "\"}\r\n", 4);
    }
}

static void
parse(uint64_t count)
{
    struct textcmd_refusal refusal;
    struct textcmd command;
    struct bytes lines[SIMPLE];

    for (size_t i = 0; i < SIMPLE; i++)
        lines[i] = (struct bytes){ (const uint8_t *)simple[i], strlen(simple[i]) };
    for (uint64_t i = 0; i < count; i++)
        if (!textcmd_parse(lines[i % SIMPLE], &command, &refusal))
            die("%s: %s", simple[i % SIMPLE], refusal.text);
}

static void
frame(uint64_t count)
{
    struct textline framer;
    uint64_t found = 0;

    textline_init(&framer, TEXTLINE_LIMIT);
    while (found < count) {
        struct bytes input = { stream, sizeof stream }, line;
        size_t consumed;

        while (found < count &&
               textline_next(&framer, input, false, &line, &consumed) == TEXTLINE_LINE) {
            if (line.size < LINE - 2)
                die("a line of %zu bytes", line.size);
            input.data += consumed;
            input.size -= consumed;
            found++;
        }
    }
}

static void
search(uint64_t count)
{
    const uint8_t *const stop = stream + sizeof stream;
    uint64_t found = 0;

    while (found < count)
        for (const uint8_t *at = stream; at < stop && found < count; found++)
            at = (const uint8_t *)memchr(at, '\n', (size_t)(stop - at)) + 1;
}

static void
write_bulks(uint64_t count)
{
    static const char json[] = "{\"active\":true,\"age\":42,\"name\":\"u0000042\"}";
    const struct bytes document = { (const uint8_t *)json, sizeof json - 1 };
    struct buf out = buf_init((size_t)1 << 20);
    uint8_t uuid[16] = { 0 };

    for (uint64_t i = 0; i < count; i++) {
        if (i % BULKS == 0) {
            buf_clear(&out);
            if (textreply_array(&out, BULKS) != OK)
                die("out of memory");
        }
        uuid[15] = (uint8_t)i;
        if (textreply_document(&out, uuid, document) != OK)
            die("out of memory");
    }
    buf_fini(&out);
}

static void
obey(const char *verb, uint64_t count)
{
    if (strcmp(verb, "parse") == 0)
        parse(count);
    else if (strcmp(verb, "frame") == 0)
        frame(count);
    else if (strcmp(verb, "memchr") == 0)
        search(count);
    else if (strcmp(verb, "bulk") == 0)
        write_bulks(count);
    else
        die("there is no verb '%s'", verb);
}

int
main(void)
{
    char line[INPUT_LINE], verb[16];
    uint64_t count;

    make_stream();
    (void)printf("ready\n");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "quit", 4) != 0) {
        struct stopwatch began;

        if (sscanf(line, "%15s %*s %" SCNu64, verb, &count) != 2)
            die("not an order: %s", line);
        began = stopwatch_now();
        obey(verb, count);
        stopwatch_tell(began, count, 0, 0);
    }
    return EXIT_SUCCESS;
}
