/*
 * log.c - the server's log.
 *
 * A record is put together in one buffer on the stack and given to one write(2).
 *
 *   JSON  {"ts":"2026-01-31T12:00:00.000Z","level":"info","msg":"…","pid":7,"process":"backend",…}
 *   text  2026-01-31T12:00:00.000Z info  [7 backend 127.0.0.1:5123] … user=… cmd=…
 *
 * INVARIANTS
 *   L1  A record is at most RECORD_MAX bytes, its newline included: the message is cut
 *       so that the members behind it always have room.
 *   L2  What is written is valid UTF-8 without control characters; in JSON form it
 *       parses, however it was cut.
 *
 * IF A PROCESS DIES within a write, the line may end early; nothing else is held.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

#define RECORD_MAX  4096
#define MESSAGE_MAX 2400 /* bytes of the message, escaped */
#define VALUE_MAX   160  /* bytes of each value of the context, escaped */
#define HEAD_MAX    160  /* time, level, pid, elapsed and brackets */
_Static_assert(MESSAGE_MAX + 6 * (VALUE_MAX + 24) + HEAD_MAX < RECORD_MAX, "L1");

_Thread_local struct log_context log_context;

/* Set at start and by a reload, read by all threads. */
static _Atomic int log_format_now = LOG_FORMAT_TEXT;
static _Atomic int log_least = LOG_INFO;
static _Atomic int log_fd = -1;

static const char *const level_names[] = { "debug", "info", "warn", "error", "fatal" };

struct line {
    char text[RECORD_MAX];
    size_t size;
};

void
log_setup(enum log_format format, enum log_level least, int fd)
{
    atomic_store(&log_format_now, (int)format);
    atomic_store(&log_least, (int)least);
    atomic_store(&log_fd, fd);
}

bool
log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed) &&
           atomic_load_explicit(&log_fd, memory_order_relaxed) >= 0;
}

__attribute__((format(printf, 2, 3))) static void
put(struct line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->size;
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line->text + line->size, room, format, args);
    va_end(args);
    if (size > 0)
        line->size += (size_t)size < room ? (size_t)size : room - 1;
}

/* One character, or what stands for it, as it may appear in a record. */
static size_t
escape(struct bytes rest, bool json, char out[8], size_t *taken)
{
    uint8_t byte = rest.data[0];
    size_t length = utf8_length(rest);

    *taken = length > 0 ? length : 1;
    if (length == 0) {
        memcpy(out, "\xef\xbf\xbd", 3); /* U+FFFD */
        return 3;
    }
    if (byte < 0x20 || byte == 0x7f)
        return (size_t)snprintf(out, 8, json ? "\\u%04x" : "\\x%02x", byte);
    if (json && (byte == '"' || byte == '\\')) {
        out[0] = '\\';
        out[1] = (char)byte;
        return 2;
    }
    memcpy(out, rest.data, length);
    return length;
}

static void
put_escaped(struct line *line, const char *text, bool json, size_t limit)
{
    struct bytes rest = bytes_of(text);
    size_t end = line->size + limit - 3; /* room for the ellipsis */

    while (rest.size > 0) {
        char out[8];
        size_t taken;
        size_t size = escape(rest, json, out, &taken);

        if (line->size + size > end) {
            memcpy(line->text + line->size, "\xe2\x80\xa6", 3);
            line->size += 3;
            return;
        }
        memcpy(line->text + line->size, out, size);
        line->size += size;
        rest = (struct bytes){ rest.data + taken, rest.size - taken };
    }
}

/* Civil time from the days since 1970 (Hinnant's algorithm); gmtime_r takes a lock. */
static void
put_time(struct line *line)
{
    int64_t now = clock_wall_ms();
    int64_t days = now / 86400000;
    int64_t ms = now % 86400000;
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int day = (int)(of_year - (153 * month + 2) / 5 + 1);

    year += era * 400 + (month >= 10);
    month = month < 10 ? month + 3 : month - 9;
    put(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)year, (int)month, day,
        (int)(ms / 3600000), (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static void
put_member(struct line *line, bool json, const char *name, const char *value)
{
    if (value == NULL || *value == '\0')
        return;
    put(line, json ? ",\"%s\":\"" : " %s=", name);
    put_escaped(line, value, json, VALUE_MAX);
    if (json)
        put(line, "\"");
}

static void
put_json(struct line *line, enum log_level level, int64_t elapsed_us, const char *message)
{
    const struct log_context *context = &log_context;

    put(line, "{\"ts\":\"");
    put_time(line);
    put(line, "\",\"level\":\"%s\",\"msg\":\"", level_names[level]);
    put_escaped(line, message, true, MESSAGE_MAX);
    put(line, "\",\"pid\":%d", (int)getpid());
    put_member(line, true, "process", context->process);
    put_member(line, true, "peer", context->peer);
    put_member(line, true, "protocol", context->protocol);
    put_member(line, true, "tenant", context->tenant);
    put_member(line, true, "user", context->user);
    put_member(line, true, "cmd", context->cmd);
    if (elapsed_us > 0)
        put(line, ",\"elapsed_us\":%jd", (intmax_t)elapsed_us);
    put(line, "}\n");
}

static void
put_text(struct line *line, enum log_level level, int64_t elapsed_us, const char *message)
{
    const struct log_context *context = &log_context;

    put_time(line);
    put(line, " %-5s [%d", level_names[level], (int)getpid());
    if (context->process != NULL && *context->process != '\0') {
        put(line, " ");
        put_escaped(line, context->process, false, VALUE_MAX);
    }
    if (context->peer != NULL && *context->peer != '\0') {
        put(line, " ");
        put_escaped(line, context->peer, false, VALUE_MAX);
    }
    put(line, "] ");
    put_escaped(line, message, false, MESSAGE_MAX);
    put_member(line, false, "protocol", context->protocol);
    put_member(line, false, "tenant", context->tenant);
    put_member(line, false, "user", context->user);
    put_member(line, false, "cmd", context->cmd);
    if (elapsed_us > 0)
        put(line, " elapsed_us=%jd", (intmax_t)elapsed_us);
    put(line, "\n");
}

void
log_record(enum log_level level, int64_t elapsed_us, const char *format, ...)
{
    int saved = errno;
    char message[MESSAGE_MAX + 8];
    struct line line;
    va_list args;

    if (!log_enabled(level))
        return;
    line.size = 0;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (atomic_load_explicit(&log_format_now, memory_order_relaxed) == LOG_FORMAT_JSON)
        put_json(&line, level, elapsed_us, message);
    else
        put_text(&line, level, elapsed_us, message);
    /* A log that cannot be written is no reason to fail what is being logged. */
    (void)!write(atomic_load(&log_fd), line.text, line.size);
    errno = saved;
}
