/*
 * peer_lmdb.c - LMDB: keys are native integers, the index a table of sorted duplicates.
 */
#include <lmdb.h>

#include "bench/die.h"
#include "bench/peer.h"

#define MAP_SIZE ((size_t)64 << 30) /* of addresses; the file grows as it is filled */
#define CHECK(call)                                    \
    do {                                               \
        int code_ = (call);                            \
        if (code_ != 0)                                \
            die("%s: %s", #call, mdb_strerror(code_)); \
    } while (0)

static MDB_env *env;
static MDB_dbi dbis[PEER_TABLES], ages;
/* One reader that is renewed for each statement, with its cursors: LMDB's own advice. */
static MDB_txn *reader;
static MDB_cursor *cursors[PEER_TABLES], *by_age;

void
peer_open(const char *directory, uint64_t cache)
{
    static const char *const names[PEER_TABLES] = { "docs", "indexed", "grow" };
    MDB_txn *txn;

    (void)cache; /* the kernel's page cache is LMDB's */
    CHECK(mdb_env_create(&env));
    CHECK(mdb_env_set_mapsize(env, MAP_SIZE));
    CHECK(mdb_env_set_maxdbs(env, PEER_TABLES + 1));
    CHECK(mdb_env_open(env, directory, MDB_NOMEMINIT, 0600));
    CHECK(mdb_txn_begin(env, NULL, 0, &txn));
    for (unsigned i = 0; i < PEER_TABLES; i++)
        CHECK(mdb_dbi_open(txn, names[i], MDB_CREATE | MDB_INTEGERKEY, &dbis[i]));
    CHECK(mdb_dbi_open(txn, "ages",
        MDB_CREATE | MDB_INTEGERKEY | MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP, &ages));
    CHECK(mdb_txn_commit(txn));
    CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &reader));
    for (unsigned i = 0; i < PEER_TABLES; i++)
        CHECK(mdb_cursor_open(reader, dbis[i], &cursors[i]));
    CHECK(mdb_cursor_open(reader, ages, &by_age));
    mdb_txn_reset(reader);
}

void
peer_close(void)
{
    for (unsigned i = 0; i < PEER_TABLES; i++)
        mdb_cursor_close(cursors[i]);
    mdb_cursor_close(by_age);
    mdb_txn_abort(reader);
    mdb_env_close(env);
}

void
peer_set_durable(bool durable)
{
    CHECK(mdb_env_set_flags(env, MDB_NOSYNC, !durable));
}

void
peer_settle(void)
{
    CHECK(mdb_env_sync(env, 1));
}

void
peer_insert(enum peer_table table, const struct peer_document *documents, size_t count)
{
    MDB_txn *txn;

    CHECK(mdb_txn_begin(env, NULL, 0, &txn));
    for (size_t i = 0; i < count; i++) {
        size_t id = (size_t)documents[i].id, age = (size_t)documents[i].age;
        MDB_val key = { sizeof id, &id };
        MDB_val data = { documents[i].size, (void *)(uintptr_t)documents[i].data };

        CHECK(mdb_put(txn, dbis[table], &key, &data, MDB_NOOVERWRITE));
        if (table == PEER_INDEXED) {
            MDB_val by = { sizeof age, &age };

            CHECK(mdb_put(txn, ages, &by, &key, 0));
        }
    }
    CHECK(mdb_txn_commit(txn));
}

static void
begin_reading(enum peer_table table)
{
    CHECK(mdb_txn_renew(reader));
    CHECK(mdb_cursor_renew(reader, cursors[table]));
}

void
peer_get(enum peer_table table, int64_t id, struct peer_seen *seen)
{
    MDB_val key = { sizeof id, &id }, data;

    CHECK(mdb_txn_renew(reader));
    CHECK(mdb_get(reader, dbis[table], &key, &data));
    peer_take(seen, data.mv_data, data.mv_size);
    mdb_txn_reset(reader);
}

void
peer_scan(enum peer_table table, struct peer_seen *seen)
{
    MDB_val key, data;
    int code;

    begin_reading(table);
    while ((code = mdb_cursor_get(cursors[table], &key, &data, MDB_NEXT)) == 0)
        peer_take(seen, data.mv_data, data.mv_size);
    if (code != MDB_NOTFOUND)
        CHECK(code);
    mdb_txn_reset(reader);
}

void
peer_range(int32_t low, int32_t high, struct peer_seen *seen)
{
    size_t age = (size_t)low;
    MDB_val by = { sizeof age, &age }, key, data;
    int code;

    begin_reading(PEER_INDEXED);
    CHECK(mdb_cursor_renew(reader, by_age));
    for (code = mdb_cursor_get(by_age, &by, &key, MDB_SET_RANGE); code == 0;
         code = mdb_cursor_get(by_age, &by, &key, MDB_NEXT)) {
        memcpy(&age, by.mv_data, sizeof age);
        if (age > (size_t)high)
            break;
        CHECK(mdb_get(reader, dbis[PEER_INDEXED], &key, &data));
        peer_take(seen, data.mv_data, data.mv_size);
    }
    mdb_txn_reset(reader);
}

void
peer_set_age(enum peer_table table, int64_t id, int32_t age)
{
    MDB_val key = { sizeof id, &id }, old, data;
    uint8_t changed[DOCUMENTS_SIZE_MAX];
    MDB_txn *txn;

    CHECK(mdb_txn_begin(env, NULL, 0, &txn));
    CHECK(mdb_get(txn, dbis[table], &key, &old));
    memcpy(changed, old.mv_data, old.mv_size);
    memcpy(changed + DOCUMENTS_AGE_AT, &age, sizeof age);
    data = (MDB_val){ old.mv_size, changed };
    CHECK(mdb_put(txn, dbis[table], &key, &data, 0));
    CHECK(mdb_txn_commit(txn));
}

void
peer_delete(enum peer_table table, int64_t id)
{
    MDB_val key = { sizeof id, &id };
    MDB_txn *txn;

    CHECK(mdb_txn_begin(env, NULL, 0, &txn));
    CHECK(mdb_del(txn, dbis[table], &key, NULL));
    CHECK(mdb_txn_commit(txn));
}
