/*
 * peer_sqlite.c - SQLite: a WAL, rowids as keys, every statement prepared once.
 *
 * The indexed table keeps age in a column of its own, which spares SQLite the search for a field
 * within a document.
 */
#include <sqlite3.h>
#include <stdio.h>

#include "bench/die.h"
#include "bench/peer.h"

#define CHECK(call, good)                                         \
    do {                                                          \
        int code_ = (call);                                       \
        if (code_ != (good))                                      \
            die("%s: %s (%d)", #call, sqlite3_errmsg(db), code_); \
    } while (0)

static const char *const names[PEER_TABLES] = { "docs", "indexed", "grow" };
static sqlite3 *db;
static sqlite3_stmt *insert[PEER_TABLES], *get[PEER_TABLES], *scan[PEER_TABLES],
    *update[PEER_TABLES], *delete[PEER_TABLES], *range, *equal, *begin, *commit;

static void
run(const char *sql)
{
    CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3_stmt *
prepare(const char *form, const char *name)
{
    sqlite3_stmt *made;
    char sql[256];

    (void)snprintf(sql, sizeof sql, form, name);
    CHECK(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &made, NULL), SQLITE_OK);
    return made;
}

static void
configure(uint64_t cache)
{
    char sql[128];

    run("PRAGMA journal_mode = WAL");
    run("PRAGMA synchronous = FULL");
    run("PRAGMA wal_autocheckpoint = 16384");
    (void)snprintf(sql, sizeof sql, "PRAGMA cache_size = -%llu", (unsigned long long)cache >> 10);
    run(sql);
    (void)snprintf(sql, sizeof sql, "PRAGMA mmap_size = %llu", (unsigned long long)cache);
    run(sql);
}

void
peer_open(const char *directory, uint64_t cache)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/sqlite.db", directory);
    CHECK(sqlite3_open_v2(
              path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL),
        SQLITE_OK);
    configure(cache);
    run("CREATE TABLE IF NOT EXISTS docs(id INTEGER PRIMARY KEY, doc BLOB)");
    run("CREATE TABLE IF NOT EXISTS grow(id INTEGER PRIMARY KEY, doc BLOB)");
    run("CREATE TABLE IF NOT EXISTS indexed(id INTEGER PRIMARY KEY, age INTEGER, doc BLOB)");
    run("CREATE INDEX IF NOT EXISTS age ON indexed(age)");
    for (unsigned i = 0; i < PEER_TABLES; i++) {
        insert[i] = prepare(i == PEER_INDEXED ? "INSERT INTO %s(id, doc, age) VALUES(?1, ?2, ?3)"
                                              : "INSERT INTO %s(id, doc) VALUES(?1, ?2)",
            names[i]);
        get[i] = prepare("SELECT doc FROM %s WHERE id = ?1", names[i]);
        scan[i] = prepare("SELECT doc FROM %s", names[i]);
        update[i] = prepare("UPDATE %s SET doc = ?2 WHERE id = ?1", names[i]);
        delete[i] = prepare("DELETE FROM %s WHERE id = ?1", names[i]);
    }
    equal = prepare("SELECT doc FROM %s WHERE age = ?1", "indexed");
    range = prepare("SELECT doc FROM %s WHERE age BETWEEN ?1 AND ?2", "indexed");
    begin = prepare("BEGIN%s", " IMMEDIATE");
    commit = prepare("COMMIT%s", "");
}

void
peer_close(void)
{
    sqlite3_stmt *statement;

    while ((statement = sqlite3_next_stmt(db, NULL)) != NULL)
        (void)sqlite3_finalize(statement);
    CHECK(sqlite3_close(db), SQLITE_OK);
}

void
peer_set_durable(bool durable)
{
    run(durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
}

void
peer_settle(void)
{
    run("PRAGMA wal_checkpoint(TRUNCATE)");
}

static void
step(sqlite3_stmt *statement)
{
    CHECK(sqlite3_step(statement), SQLITE_DONE);
    CHECK(sqlite3_reset(statement), SQLITE_OK);
}

static void
insert_one(enum peer_table table, const struct peer_document *document)
{
    sqlite3_stmt *statement = insert[table];

    CHECK(sqlite3_bind_int64(statement, 1, document->id), SQLITE_OK);
    CHECK(sqlite3_bind_blob(statement, 2, document->data, (int)document->size, SQLITE_STATIC),
        SQLITE_OK);
    if (table == PEER_INDEXED)
        CHECK(sqlite3_bind_int(statement, 3, document->age), SQLITE_OK);
    step(statement);
}

void
peer_insert(enum peer_table table, const struct peer_document *documents, size_t count)
{
    if (count > 1)
        step(begin);
    for (size_t i = 0; i < count; i++)
        insert_one(table, &documents[i]);
    if (count > 1)
        step(commit);
}

static void
read_all(sqlite3_stmt *statement, struct peer_seen *seen)
{
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        peer_take(
            seen, sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
    CHECK(code, SQLITE_DONE);
    CHECK(sqlite3_reset(statement), SQLITE_OK);
}

void
peer_get(enum peer_table table, int64_t id, struct peer_seen *seen)
{
    CHECK(sqlite3_bind_int64(get[table], 1, id), SQLITE_OK);
    read_all(get[table], seen);
}

void
peer_scan(enum peer_table table, struct peer_seen *seen)
{
    read_all(scan[table], seen);
}

void
peer_range(int32_t low, int32_t high, struct peer_seen *seen)
{
    sqlite3_stmt *statement = low == high ? equal : range;

    CHECK(sqlite3_bind_int(statement, 1, low), SQLITE_OK);
    if (low != high)
        CHECK(sqlite3_bind_int(statement, 2, high), SQLITE_OK);
    read_all(statement, seen);
}

void
peer_set_age(enum peer_table table, int64_t id, int32_t age)
{
    uint8_t changed[DOCUMENTS_SIZE_MAX];
    struct peer_seen seen = { .room = changed };

    step(begin);
    peer_get(table, id, &seen);
    memcpy(changed + DOCUMENTS_AGE_AT, &age, sizeof age);
    CHECK(sqlite3_bind_int64(update[table], 1, id), SQLITE_OK);
    CHECK(sqlite3_bind_blob(update[table], 2, changed, (int)seen.bytes, SQLITE_STATIC), SQLITE_OK);
    step(update[table]);
    step(commit);
}

void
peer_delete(enum peer_table table, int64_t id)
{
    CHECK(sqlite3_bind_int64(delete[table], 1, id), SQLITE_OK);
    step(delete[table]);
}
