/*
 * docstream.c - documents out of a file of JSON.
 *
 * INVARIANTS
 *   J1  text.data[at] is the first byte that was neither given out nor skipped; `line` and
 *       `offset` are its own.
 */
#include "tools/docstream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE ((size_t)1 << 20)

err_t
docstream_open(struct docstream *stream, const char *path)
{
    memset(stream, 0, sizeof *stream);
    stream->name = strcmp(path, "-") == 0 ? "standard input" : path;
    stream->text = buf_init(DOCSTREAM_TEXT_MAX + 2 * READ_SIZE);
    stream->line = 1;
    stream->first = true;
    stream->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (stream->fd < 0)
        return err_set_errno("could not open '%s'", path);
    (void)posix_fadvise(stream->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return OK;
}

void
docstream_close(struct docstream *stream)
{
    if (stream->fd > STDIN_FILENO)
        (void)close(stream->fd);
    buf_fini(&stream->text);
}

static err_t
read_more(struct docstream *stream)
{
    ssize_t got;

    if (stream->at > 0) {
        stream->text.size -= stream->at;
        memmove(stream->text.data, stream->text.data + stream->at, stream->text.size);
        stream->at = 0;
    }
    TRY_RETURN(buf_reserve(&stream->text, READ_SIZE));
    do
        got = read(stream->fd, stream->text.data + stream->text.size, READ_SIZE);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_set_errno("could not read %s", stream->name);
    stream->text.size += (size_t)got;
    stream->at_end = got == 0;
    return OK;
}

static void
skip(struct docstream *stream, size_t size)
{
    const uint8_t *data = stream->text.data + stream->at;

    for (size_t i = 0; i < size; i++)
        stream->line += data[i] == '\n';
    stream->at += size;
    stream->offset += size;
}

/* The next byte that is no white space; 0 at the end.  A byte order mark counts as white space. */
static err_t
peek(struct docstream *stream, uint8_t *byte)
{
    for (;;) {
        while (stream->at < stream->text.size) {
            const uint8_t *at = stream->text.data + stream->at;

            if (stream->offset == 0 && stream->text.size - stream->at >= 3 &&
                memcmp(at, "\xef\xbb\xbf", 3) == 0) {
                skip(stream, 3);
                continue;
            }
            if (*at != ' ' && *at != '\t' && *at != '\r' && *at != '\n') {
                *byte = *at;
                return OK;
            }
            skip(stream, 1);
        }
        *byte = 0;
        if (stream->at_end)
            return OK;
        TRY_RETURN(read_more(stream));
    }
}

static err_t
complain(const struct docstream *stream, const char *what)
{
    return err_set(ERR_FAILED_TO_PARSE, "%s:%ju: %s", stream->name, (uintmax_t)stream->line, what);
}

/* How far one value reaches, by its brackets and quotes alone. */
struct reach {
    size_t size; /* bytes looked at */
    unsigned depth;
    bool text, escaped;
};

/* True: the value ends behind reach->size bytes. */
static bool
look_on(struct reach *reach, const uint8_t *data, size_t size, bool at_end)
{
    for (; reach->size < size; reach->size++) {
        uint8_t byte = data[reach->size];

        if (reach->text) {
            if (reach->escaped)
                reach->escaped = false;
            else if (byte == '\\')
                reach->escaped = true;
            else if (byte == '"')
                reach->text = false;
        } else if (byte == '"') {
            reach->text = true;
        } else if (byte == '{' || byte == '[') {
            reach->depth++;
        } else if (reach->depth > 0 && (byte == '}' || byte == ']')) {
            if (--reach->depth == 0) {
                reach->size++;
                return true;
            }
        } else if (reach->depth == 0 && (byte == ',' || byte == ']' || byte == '\n')) {
            return true; /* a bare word or number, which the parser will refuse */
        }
    }
    return at_end;
}

/* Between values: commas of an array, its end. */
static err_t
go_to_value(struct docstream *stream, uint8_t *byte)
{
    TRY_RETURN(peek(stream, byte));
    if (!stream->begun) {
        stream->begun = true;
        stream->array = *byte == '[';
        if (stream->array) {
            skip(stream, 1);
            TRY_RETURN(peek(stream, byte));
        }
    }
    if (!stream->array)
        return OK;
    if (*byte == 0)
        return complain(stream, "the file ends within its array");
    if (*byte == ']') {
        skip(stream, 1);
        stream->over = true;
        TRY_RETURN(peek(stream, byte));
        return *byte == 0 ? OK : complain(stream, "there is more behind the array's end");
    }
    if (stream->first)
        return OK;
    if (*byte != ',')
        return complain(stream, "expected `,` or `]` between documents");
    skip(stream, 1);
    TRY_RETURN(peek(stream, byte));
    return *byte == ']' ? complain(stream, "trailing comma") : OK;
}

err_t
docstream_next(struct docstream *stream, struct bytes *text, uint64_t *line, bool *found)
{
    struct reach reach = { .size = 0 };
    uint8_t byte = 0;

    *found = false;
    if (stream->over)
        return OK;
    TRY_RETURN(go_to_value(stream, &byte));
    if (stream->over || byte == 0)
        return OK;
    while (!look_on(
        &reach, stream->text.data + stream->at, stream->text.size - stream->at, stream->at_end)) {
        if (reach.size > DOCSTREAM_TEXT_MAX)
            break; /* the parser finds what is missing, or that it is too large */
        TRY_RETURN(read_more(stream));
    }
    stream->first = false;
    *line = stream->line;
    *text = (struct bytes){ stream->text.data + stream->at, reach.size };
    skip(stream, reach.size);
    *found = true;
    return OK;
}
