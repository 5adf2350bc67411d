/*
 * err.h - how every function of the house says that it could not do its work.
 *
 * Code and message are set once, by err_set, where the error is first seen.
 * "Not found" is an answer, not an error.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/bytes.h"

typedef enum err {
    OK = 0,
#define ERROR(name, code, code_name, text) name,
#include "base/lists/errors.def"
#undef ERROR
    ERR_COUNT
} err_t;

#define MUST_CHECK __attribute__((warn_unused_result))

/* Note an error where it is first seen, and yield its code.  In a critical section: panic. */
#define err_set(code, ...) (err_note((code), __FILE__, __LINE__, __VA_ARGS__), (code))
void err_note(err_t code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a failed system call: appends ": " and the text of errno, and picks
   ERR_DISK_FULL for ENOSPC and EDQUOT, ERR_IO otherwise. */
#define err_set_errno(...) err_not_ok(err_note_errno(__FILE__, __LINE__, __VA_ARGS__))
err_t err_note_errno(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Tells an analyser that there is an error on this path. */
static inline err_t
err_not_ok(err_t code)
{
    if (code == OK)
        __builtin_unreachable();
    return code;
}

/* Pass an error on through this function's one exit.  Wants a local `err` and a label `out`. */
#define TRY(call)                 \
    do {                          \
        if ((err = (call)) != OK) \
            goto out;             \
    } while (0)

/* The same where there is nothing to release. */
#define TRY_RETURN(call)     \
    do {                     \
        err_t err_ = (call); \
        if (err_ != OK)      \
            return err_;     \
    } while (0)

/* The message of the last error noted by this process; valid until the next. */
const char *err_message(void);

/* What MongoDB's clients are told for this code. */
int err_mongo_code(err_t code);
const char *err_mongo_name(err_t code);

/* A BSON document that goes with the last error (keyPattern and keyValue of a duplicate
   key), at most 4 KiB, copied; a larger one is left out.  err_note clears it: attach after. */
void err_attach(struct bytes document);
struct bytes err_attached(void); /* size 0: none; valid until the next error */

/* An exact code (and optional name; NULL = "Location<code>") for MongoDB's clients, where
   errors.def's row is too coarse.  err_note clears it: set after. */
void err_set_mongo(int code, const char *name);
int err_last_code(void);         /* the exact code if one was set, else that of the last err_t */
const char *err_last_name(void); /* its name */

#endif
