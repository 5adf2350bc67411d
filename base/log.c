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
 *   L3  Whoever does not read the log stops nobody.  A record waits PATIENCE_MS at most for room in
 *       a pipe, a socket or a terminal, and no longer at all once one has waited in vain; then it
 *       is left out, and how many were is said as soon as there is room.
 *   L4  A record that a full disk took half of ends the line before the next one begins.
 *
 * IF A PROCESS DIES within a write, the line may end early; nothing else is held.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

#define RECORD_MAX  4096
#define MESSAGE_MAX 2400 /* bytes of the message, escaped */
#define VALUE_MAX   160  /* bytes of each value of the context, escaped */
#define HEAD_MAX    160  /* time, level, pid, elapsed and brackets */
#define PATIENCE_MS 100
_Static_assert(MESSAGE_MAX + 6 * (VALUE_MAX + 24) + HEAD_MAX < RECORD_MAX, "L1");

_Thread_local struct log_context log_context;

/* Set at start and by a reload, read by all threads. */
static _Atomic int log_format_now = LOG_FORMAT_TEXT;
static _Atomic int log_least = LOG_INFO;
static _Atomic int log_fd = -1;

/* What is known of where the log goes; private to the process. */
enum sink { SINK_FILE, SINK_WAITS, SINK_SOCKET };
static _Atomic int sink = SINK_FILE;
static _Atomic int sink_fd = -1;      /* log_fd, or another opening of it that does not wait */
static _Atomic bool sink_full;        /* the last record waited in vain */
static _Atomic bool sink_torn;        /* L4 */
static _Atomic uint64_t records_lost; /* since the last one that was written */

static const char *const level_names[] = { "debug", "info", "warn", "error", "fatal" };

struct line {
    char text[RECORD_MAX];
    size_t size;
};

/* O_NONBLOCK belongs to the opening, which others share: the shell at a terminal, say.  So it is
   opened again; where that is not allowed, poll has to do. */
static int
open_without_waiting(int fd)
{
    char path[32];
    int again;

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    again = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (again < 0)
        return fd;
    return again;
}

static void
set_up_sink(int fd)
{
    int before = atomic_load(&sink_fd);
    struct stat status;

    if (before >= 0 && before != atomic_load(&log_fd))
        (void)close(before);
    atomic_store(&sink, SINK_FILE);
    atomic_store(&sink_fd, fd);
    if (fd < 0 || fstat(fd, &status) != 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        atomic_store(&sink, SINK_SOCKET);
    } else if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        atomic_store(&sink, SINK_WAITS);
        atomic_store(&sink_fd, open_without_waiting(fd));
    }
}

void
log_setup(enum log_format format, enum log_level least, int fd)
{
    atomic_store(&log_format_now, (int)format);
    atomic_store(&log_least, (int)least);
    if (fd != atomic_load(&log_fd))
        set_up_sink(fd);
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

/* One try, which does not wait for whoever reads. */
static ssize_t
write_once(const char *text, size_t size)
{
    int fd = atomic_load(&sink_fd);
    struct pollfd room = { .fd = fd, .events = POLLOUT };

    switch (atomic_load(&sink)) {
    case SINK_SOCKET:
        return send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SINK_WAITS:
        if (poll(&room, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        return write(fd, text, size);
    default:
        return write(fd, text, size);
    }
}

/* L3. */
static bool
write_patiently(const char *text, size_t size)
{
    struct pollfd room = { .fd = atomic_load(&sink_fd), .events = POLLOUT };
    ssize_t done = write_once(text, size);

    if (done < 0 && errno == EAGAIN && !atomic_load(&sink_full)) {
        (void)poll(&room, 1, PATIENCE_MS);
        done = write_once(text, size);
    }
    atomic_store(&sink_full, done < 0 && errno == EAGAIN);
    if (done > 0)
        atomic_store(&sink_torn, (size_t)done < size); /* L4 */
    return done == (ssize_t)size;
}

static void
write_line(const struct line *line)
{
    bool torn = atomic_load(&sink_torn); /* then with the end of the line that stands before it */

    if (!write_patiently(line->text + (torn ? 0 : 1), line->size - (torn ? 0 : 1)))
        (void)atomic_fetch_add(&records_lost, 1);
}

__attribute__((format(printf, 3, 0))) static void
put_record(enum log_level level, int64_t elapsed_us, const char *format, va_list args)
{
    char message[MESSAGE_MAX + 8];
    struct line line = { .size = 0 };

    put(&line, "\n");
    (void)vsnprintf(message, sizeof message, format, args);
    if (atomic_load_explicit(&log_format_now, memory_order_relaxed) == LOG_FORMAT_JSON)
        put_json(&line, level, elapsed_us, message);
    else
        put_text(&line, level, elapsed_us, message);
    write_line(&line);
}

__attribute__((format(printf, 1, 2))) static void
put_warning(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_record(LOG_WARN, 0, format, args);
    va_end(args);
}

/* How many this process could not write.  If that cannot be written either, it counts no further.
 */
static void
tell_lost(void)
{
    uint64_t lost = atomic_exchange(&records_lost, 0);

    if (lost == 0)
        return;
    put_warning("the log could not be written: %ju records are missing here", (uintmax_t)lost);
    if (atomic_load(&records_lost) > 0)
        atomic_store(&records_lost, lost);
}

void
log_record(enum log_level level, int64_t elapsed_us, const char *format, ...)
{
    int saved = errno;
    va_list args;

    if (!log_enabled(level))
        return;
    tell_lost();
    va_start(args, format);
    put_record(level, elapsed_us, format, args);
    va_end(args);
    /* A log that cannot be written is no reason to fail what is being logged. */
    errno = saved;
}
