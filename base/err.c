/*
 * err.c - errors.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/crit.h"
#include "base/panic.h"

#define MESSAGE_MAX    1024
#define ATTACHMENT_MAX 4096

static _Thread_local struct {
    char message[MESSAGE_MAX];
    char name[48];
    uint8_t attachment[ATTACHMENT_MAX];
    size_t attachment_size;
    err_t code;
    int mongo_code; /* 0: that of `code` */
} last;

static const struct {
    int code;
    const char *name;
    const char *text;
} rows[ERR_COUNT] = {
    { 0, "OK", "ok" },
#define ERROR(name, code, code_name, text) { code, code_name, text },
#include "base/lists/errors.def"
#undef ERROR
};

static void
note(err_t code, const char *file, int line)
{
    last.code = code;
    last.mongo_code = 0;
    last.attachment_size = 0;
    if (crit_active())
        panic(file, line, last.message);
}

void
err_note(err_t code, const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(last.message, sizeof last.message, format, args);
    va_end(args);
    if (last.message[0] == '\0')
        (void)snprintf(last.message, sizeof last.message, "%s", rows[code].text);
    note(code, file, line);
}

err_t
err_note_errno(const char *file, int line, const char *format, ...)
{
    int number = errno;
    bool full = number == ENOSPC || number == EDQUOT || number == EFBIG; /* EFBIG: ulimit -f */
    err_t code = full ? ERR_DISK_FULL : ERR_IO;
    char reason[128];
    va_list args;
    size_t used;

    va_start(args, format);
    (void)vsnprintf(last.message, sizeof last.message, format, args);
    va_end(args);
    used = strlen(last.message);
    (void)snprintf(last.message + used, sizeof last.message - used, ": %s",
        strerror_r(number, reason, sizeof reason));
    note(code, file, line);
    return code;
}

const char *
err_message(void)
{
    return last.message;
}

int
err_mongo_code(err_t code)
{
    return rows[code].code;
}

const char *
err_mongo_name(err_t code)
{
    return rows[code].name;
}

void
err_attach(struct bytes document)
{
    if (document.size > sizeof last.attachment)
        return;
    memcpy(last.attachment, document.data, document.size);
    last.attachment_size = document.size;
}

struct bytes
err_attached(void)
{
    return (struct bytes){ last.attachment, last.attachment_size };
}

void
err_set_mongo(int code, const char *name)
{
    last.mongo_code = code;
    if (name != NULL)
        (void)snprintf(last.name, sizeof last.name, "%s", name);
    else
        (void)snprintf(last.name, sizeof last.name, "Location%d", code);
}

int
err_last_code(void)
{
    return last.mongo_code != 0 ? last.mongo_code : rows[last.code].code;
}

const char *
err_last_name(void)
{
    return last.mongo_code != 0 ? last.name : rows[last.code].name;
}
