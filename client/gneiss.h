/*
 * gneiss.h - Gneiss in your own process: the engine of the server as a library.
 *
 *     struct gneiss_error error;
 *     struct gneiss_options options = { .create = true };
 *     struct gneiss *db = gneiss_open("./data", &options, &error);
 *     struct gneiss_session *session = gneiss_session_open(db, &error);
 *     struct gneiss_collection *users = gneiss_collection(session, "shop", "users");
 *
 *     if (gneiss_insert_json(users, "{\"_id\": 1, \"name\": \"Ada\"}", NULL) != GNEISS_OK)
 *         fprintf(stderr, "%s\n", gneiss_session_error(session)->message);
 *
 * The files, their form, the recovery after a crash and the durability are the server's: a
 * directory may be opened by a server today and by a program tomorrow, never by both at once.
 *
 * DOCUMENTS are BSON: a pointer and a size (struct gneiss_bson), as libbson's bson_get_data gives
 * them.  What comes from the caller is validated.  JSON (Extended JSON v2) is taken and given by
 * the functions whose names say so.
 *
 * OWNERSHIP.  What a function fills in (`struct gneiss_bson *`, texts) belongs to the session and
 * is valid until the next call on that session, unless the function says otherwise.  What is
 * opened must be closed; a session closes its collections and cursors, gneiss_close refuses while
 * sessions are open.
 *
 * THREADS.  Any number of sessions may work at the same time, as many as
 * gneiss_options.sessions_max allows.  A session, with its collections and cursors, is used by one
 * thread at a time; it may be handed from thread to thread.  A second thread that calls into a
 * busy session is answered GNEISS_BUSY where that is noticed; do not build on it.
 * gneiss_session_interrupt alone may be called from anywhere but a signal handler.  Four threads
 * of the library (checkpointer, log writer, page writer, vacuum) work in the background, with all
 * signals blocked.
 *
 * ERRORS.  Functions return GNEISS_OK or one of MongoDB's error codes (11000: duplicate key);
 * gneiss_session_error tells code, name and message of the session's last failure.  "There is no
 * such document" is an answer, not an error.
 *
 * DURABILITY.  A write that has returned GNEISS_OK survives kill -9 and power loss: its log record
 * is on disk.  Sessions that commit at the same time share the wait.  With
 * gneiss_session_set_durable(session, false) a write returns before that and is on disk within
 * wal.writer_delay_ms (200 ms), or when gneiss_flush returns; a crash then loses at most the last
 * such writes, in order, and never half of one.  Each call is a transaction of its own.
 *
 * DISASTER.  If the log cannot be synced, or shared structures are found damaged, the process is
 * aborted with a report on stderr: nothing more may be acknowledged.  The next open recovers.
 *
 * FORK.  A directory stays locked until the process that opened it and all its children that
 * share the descriptor have ended or called exec (the descriptor is close-on-exec).  The child of
 * a fork has no background threads and must not use anything it inherited from this library, not
 * even to close it; it may call exec or _exit.
 *
 * One directory at a time can be open in a process.
 */
#ifndef CLIENT_GNEISS_H
#define CLIENT_GNEISS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gneiss;            /* an open directory */
struct gneiss_session;    /* what one thread at a time works with */
struct gneiss_collection; /* a name that a session has looked up once */
struct gneiss_cursor;     /* the rest of a query's result */

/* Codes that programs look for; others are MongoDB's too. */
enum gneiss_code {
    GNEISS_OK = 0,
    GNEISS_INTERNAL = 1,
    GNEISS_BAD_VALUE = 2, /* a filter, update or option that cannot be used */
    GNEISS_PARSE = 9,     /* JSON that is none */
    GNEISS_READ_ONLY = 20,
    GNEISS_INVALID_BSON = 22,
    GNEISS_NO_COLLECTION = 26,
    GNEISS_NO_INDEX = 27,
    GNEISS_EXISTS = 48, /* collection or database */
    GNEISS_MAX_TIME = 50,
    GNEISS_IN_USE = 98, /* another process, or this one, has the directory open */
    GNEISS_MEMORY = 146,
    GNEISS_IO = 202,
    GNEISS_TOO_MANY = 462, /* more sessions than sessions_max */
    GNEISS_BUSY = 463,     /* the session is in use by another thread; sessions are still open */
    GNEISS_TOO_LARGE = 10334,
    GNEISS_DUPLICATE = 11000,
    GNEISS_INTERRUPTED = 11601,
    GNEISS_DISK_FULL = 14031,
    GNEISS_CORRUPT = 225001
};

struct gneiss_error {
    int code;          /* 0: none */
    char name[44];     /* MongoDB's, "DuplicateKey" */
    char message[464]; /* for people, one line */
};

/* Bytes of a BSON document; `data` NULL with size 0: none. */
struct gneiss_bson {
    const void *data;
    size_t size;
};

struct gneiss_options {
    bool create;             /* make the directory and the database in it if there is none */
    bool read_only;          /* sessions may not write; the directory is recovered all the same */
    unsigned sessions_max;   /* 0: 64; at most 10,000; each costs some KiB */
    uint64_t shared_buffers; /* bytes of memory for pages; 0: 128 MiB */
    uint32_t page_size;      /* of a directory that is made: 4096 … 32768; 0: 8192 */
    const char *tenant;      /* NULL: "_default", the one that JSON and MongoDB clients see */
    bool lazy;               /* sessions begin with durable = false */
    int log_fd;              /* where warnings go, a line each; 0: nowhere */
    /* Any settings of gneiss.toml, "wal.sync=false"; ends with NULL; NULL: none. */
    const char *const *settings;
};

/* Open a directory: lock, recovery, background threads.  `options` NULL: all defaults.  NULL: could
   not; `error` (may be NULL) tells why: GNEISS_IN_USE, GNEISS_CORRUPT, GNEISS_IO, GNEISS_MEMORY …
 */
struct gneiss *gneiss_open(
    const char *directory, const struct gneiss_options *options, struct gneiss_error *error);

/* Stop the threads, write a last checkpoint, unlock.  Refused (GNEISS_BUSY, and nothing changes)
   while sessions are open.  After any other error the directory is closed too, without its last
   checkpoint; nothing is lost, the next open recovers.  A process that simply ends loses nothing
   either. */
int gneiss_close(struct gneiss *db, struct gneiss_error *error);

const char *gneiss_version(void);

/* ---- sessions ---- */

/* NULL: could not (GNEISS_TOO_MANY). */
struct gneiss_session *gneiss_session_open(struct gneiss *db, struct gneiss_error *error);
void gneiss_session_close(struct gneiss_session *session); /* NULL: nothing */

/* Of the last call that failed; valid as long as the session. */
const struct gneiss_error *gneiss_session_error(const struct gneiss_session *session);

void gneiss_session_set_durable(struct gneiss_session *session, bool durable);
/* No call may take longer; 0: no limit.  Then GNEISS_MAX_TIME. */
void gneiss_session_set_timeout(struct gneiss_session *session, unsigned timeout_ms);
/* End the call that the session is in with GNEISS_INTERRUPTED; if it is in none, the next one. */
void gneiss_session_interrupt(struct gneiss_session *session);

/* Everything that was committed in this process is on disk when it returns. */
int gneiss_flush(struct gneiss_session *session);
/* The same, and in the data files: the next open has nothing to replay. */
int gneiss_checkpoint(struct gneiss_session *session);

/* ---- collections ---- */

/* The collection of that name, whether it exists or not (a first insert makes it).  Valid until the
   session is closed; asking twice gives the same.  NULL: a name that cannot be one, or no memory.
 */
struct gneiss_collection *gneiss_collection(
    struct gneiss_session *session, const char *database, const char *name);

/* `options` as MongoDB's create takes them; NULL: none.  GNEISS_EXISTS. */
int gneiss_create_collection(
    struct gneiss_collection *collection, const struct gneiss_bson *options);
/* `found` may be NULL, here and below. */
int gneiss_drop_collection(struct gneiss_collection *collection, bool *found);
int gneiss_drop_database(struct gneiss_session *session, const char *database, bool *found);

/* Sorted; the array and its texts are the session's, valid until its next call. */
int gneiss_list_databases(struct gneiss_session *session, const char *const **names, size_t *count);
int gneiss_list_collections(
    struct gneiss_session *session, const char *database, const char *const **names, size_t *count);

/* An index, {"key": {"a": 1, "b": -1}, "name": "a_1_b_-1", "unique": true, "sparse": …}; writers
   are not kept from writing meanwhile.  Returns when it can be used.  *existed: it was there. */
int gneiss_create_index(
    struct gneiss_collection *collection, struct gneiss_bson definition, bool *existed);
int gneiss_create_index_json(
    struct gneiss_collection *collection, const char *definition, bool *existed);
int gneiss_drop_index(struct gneiss_collection *collection, const char *name, bool *found);
/* Definitions, _id_ first. */
int gneiss_list_indexes(
    struct gneiss_collection *collection, const struct gneiss_bson **definitions, size_t *count);

/* ---- _id ---- */

/* The value of an _id, made by the functions below. */
struct gneiss_id {
    const void *data; /* payload as BSON has it, or a text; the caller's.  NULL: in `room` */
    size_t size;
    unsigned char type; /* BSON's; 0: `data` is a text without length and NUL */
    unsigned char room[23];
};
struct gneiss_id gneiss_id_int64(int64_t number); /* finds 1, 1.0 and NumberInt(1) alike */
struct gneiss_id gneiss_id_string(const char *text);
struct gneiss_id gneiss_id_text(const char *text, size_t size);
struct gneiss_id gneiss_id_oid(const unsigned char oid[12]);
struct gneiss_id gneiss_id_uuid(const unsigned char uuid[16]);
/* Any value: the payload of an element of a BSON document, as libbson's iterators give it. */
struct gneiss_id gneiss_id_value(unsigned char type, const void *payload, size_t size);
/* The field _id of a document; false: it has none. */
bool gneiss_id_of(struct gneiss_bson document, struct gneiss_id *id);

/* ---- reading ---- */

/* The document with this _id.  *found false: none (a collection that does not exist has none). */
int gneiss_get(struct gneiss_collection *collection, const struct gneiss_id *id,
    struct gneiss_bson *document, bool *found);

struct gneiss_query {
    struct gneiss_bson filter;     /* none: all */
    struct gneiss_bson sort;       /* none: natural order */
    struct gneiss_bson projection; /* none: whole documents */
    struct gneiss_bson hint;       /* {"": name or key pattern} of an index; none: the planner's */
    uint64_t skip;
    uint64_t limit; /* 0: none */
};
/* Begin a query; `query` NULL: everything.  All documents come from one moment, whatever others
   write meanwhile.  An open cursor keeps old versions from being removed: close it. */
int gneiss_find(struct gneiss_collection *collection, const struct gneiss_query *query,
    struct gneiss_cursor **cursor);
/* JSON texts; NULL: none. */
int gneiss_find_json(struct gneiss_collection *collection, const char *filter, const char *sort,
    uint64_t skip, uint64_t limit, struct gneiss_cursor **cursor);
/* The next document, valid until the next call on this cursor; other calls on the session are
   allowed in between.  *found false: that was all. */
int gneiss_find_next(struct gneiss_cursor *cursor, struct gneiss_bson *document, bool *found);
void gneiss_find_close(struct gneiss_cursor *cursor); /* NULL: nothing */

/* `filter` NULL: all documents. */
int gneiss_count(
    struct gneiss_collection *collection, const struct gneiss_bson *filter, uint64_t *count);
int gneiss_count_json(struct gneiss_collection *collection, const char *filter, uint64_t *count);

/* ---- writing ---- */

/* A missing _id is made (an ObjectId).  `id` (may be NULL): {"_id": value} of what was inserted.
   Collection and database are made as needed.  GNEISS_DUPLICATE, GNEISS_TOO_LARGE (16 MiB). */
int gneiss_insert(
    struct gneiss_collection *collection, struct gneiss_bson document, struct gneiss_bson *id);
int gneiss_insert_json(
    struct gneiss_collection *collection, const char *document, struct gneiss_bson *id);
/* All or none of them, in one transaction. */
int gneiss_insert_many(
    struct gneiss_collection *collection, const struct gneiss_bson *documents, size_t count);

enum gneiss_update_flag {
    GNEISS_ONE = 0,   /* the first that is found */
    GNEISS_ALL = 1,   /* every one */
    GNEISS_UPSERT = 2 /* if none is found, insert one */
};
struct gneiss_update_result {
    uint64_t matched, modified;
    bool upserted;
};
/* `update`: operators ({"$set": …, "$inc": …}) or a whole new document (not with GNEISS_ALL).
   `result` may be NULL. */
int gneiss_update(struct gneiss_collection *collection, struct gneiss_bson filter,
    struct gneiss_bson update, unsigned flags, struct gneiss_update_result *result);
int gneiss_update_json(struct gneiss_collection *collection, const char *filter, const char *update,
    unsigned flags, struct gneiss_update_result *result);

/* GNEISS_ONE or GNEISS_ALL.  `deleted` may be NULL. */
int gneiss_delete(struct gneiss_collection *collection, struct gneiss_bson filter, unsigned flags,
    uint64_t *deleted);
int gneiss_delete_json(
    struct gneiss_collection *collection, const char *filter, unsigned flags, uint64_t *deleted);

/* ---- JSON ---- */

/* `text` need not end with a NUL.  malloced; gneiss_bson_free.  Numbers as the shell takes them: a
   whole number is int32 if it fits, else int64.  GNEISS_PARSE, with line and column. */
int gneiss_bson_from_json(
    const char *text, size_t size, struct gneiss_bson *document, struct gneiss_error *error);
enum gneiss_json_form {
    GNEISS_RELAXED = 0,
    GNEISS_CANONICAL = 1, /* every type can be told */
    GNEISS_PRETTY = 2     /* with lines and indentation; may be added to the others */
};
/* malloced, with a NUL; free it with gneiss_json_free.  NULL: no document, or no memory. */
char *gneiss_bson_to_json(struct gneiss_bson document, unsigned form);
void gneiss_bson_free(struct gneiss_bson document);
void gneiss_json_free(char *text);

#ifdef __cplusplus
}
#endif

#endif
