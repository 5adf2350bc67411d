/*
 * log.h - the server's log: one record a line, JSON or text, on stdout (T-15.6).
 *
 * One write(2) a record (at most 4 KiB; longer ones are cut), so that records of
 * different processes never mix.  Control characters are escaped: one event, one line.
 * Where nobody reads a pipe, or a disk is full, records are left out, and counted.
 * Never allocates; may be called in a critical section, not in a signal handler.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

/* What every record of this process carries, where known; NULL or "" is left out.
   The pointers must stay valid until changed. */
struct log_context {
    const char *process;  /* "backend", "checkpointer" … */
    const char *peer;     /* "127.0.0.1:5123" */
    const char *protocol; /* "text" "json" "mongo" "http" */
    const char *tenant;
    const char *user;
    const char *cmd; /* the verb being run */
};
extern _Thread_local struct log_context log_context;

void log_setup(enum log_format format, enum log_level least, int fd);
bool log_enabled(enum log_level level);
/* To be silent (the embedded library): log_setup(…, -1). */

#define log_debug(...) log_record(LOG_DEBUG, 0, __VA_ARGS__)
#define log_info(...)  log_record(LOG_INFO, 0, __VA_ARGS__)
#define log_warn(...)  log_record(LOG_WARN, 0, __VA_ARGS__)
#define log_error(...) log_record(LOG_ERROR, 0, __VA_ARGS__)
#define log_fatal(...) log_record(LOG_FATAL, 0, __VA_ARGS__)
/* `elapsed_us` above 0 is added as its own member. */
void log_record(enum log_level level, int64_t elapsed_us, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
