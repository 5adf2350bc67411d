/*
 * peer_wiredtiger.c - WiredTiger: its log is on, cursors are opened once, the index is its own.
 */
#include <stdio.h>
#include <wiredtiger.h>

#include "bench/die.h"
#include "bench/peer.h"

#define CHECK(call)                                           \
    do {                                                      \
        int code_ = (call);                                   \
        if (code_ != 0)                                       \
            die("%s: %s", #call, wiredtiger_strerror(code_)); \
    } while (0)

static const char *const uris[PEER_TABLES] = { "table:docs", "table:indexed", "table:grow" };
static WT_CONNECTION *connection;
static WT_SESSION *session;
static WT_CURSOR *inserts[PEER_TABLES], *cursors[PEER_TABLES], *documents_of[PEER_TABLES], *by_age;
static bool waits = true;

void
peer_open(const char *directory, uint64_t cache)
{
    char text[256];

    (void)snprintf(text, sizeof text,
        "create,cache_size=%lluM,log=(enabled=true,file_max=100MB),checkpoint=(wait=300),"
        "transaction_sync=(enabled=true,method=fsync)",
        (unsigned long long)cache >> 20);
    CHECK(wiredtiger_open(directory, NULL, text, &connection));
    CHECK(connection->open_session(connection, NULL, "isolation=snapshot", &session));
    for (unsigned i = 0; i < PEER_TABLES; i++)
        CHECK(session->create(session, uris[i],
            i == PEER_INDEXED ? "key_format=q,value_format=iu,columns=(id,age,doc)"
                              : "key_format=q,value_format=u,columns=(id,doc)"));
    CHECK(session->create(session, "index:indexed:age", "columns=(age)"));
    for (unsigned i = 0; i < PEER_TABLES; i++) {
        CHECK(session->open_cursor(session, uris[i], NULL, "overwrite=false", &inserts[i]));
        CHECK(session->open_cursor(session, uris[i], NULL, NULL, &cursors[i]));
        (void)snprintf(text, sizeof text, "%s(doc)", uris[i]);
        CHECK(session->open_cursor(session, text, NULL, NULL, &documents_of[i]));
    }
    CHECK(session->open_cursor(session, "index:indexed:age(doc)", NULL, NULL, &by_age));
}

void
peer_close(void)
{
    CHECK(connection->close(connection, NULL));
}

void
peer_set_durable(bool durable)
{
    waits = durable;
}

void
peer_settle(void)
{
    CHECK(session->checkpoint(session, NULL));
}

static void
begin(void)
{
    CHECK(session->begin_transaction(session, waits ? "sync=true" : "sync=false"));
}

static void
commit(void)
{
    CHECK(session->commit_transaction(session, NULL));
}

void
peer_insert(enum peer_table table, const struct peer_document *documents, size_t count)
{
    WT_CURSOR *cursor = inserts[table];

    begin();
    for (size_t i = 0; i < count; i++) {
        WT_ITEM item = { .data = documents[i].data, .size = documents[i].size };

        cursor->set_key(cursor, documents[i].id);
        if (table == PEER_INDEXED)
            cursor->set_value(cursor, documents[i].age, &item);
        else
            cursor->set_value(cursor, &item);
        CHECK(cursor->insert(cursor));
    }
    commit();
}

static void
take(WT_CURSOR *cursor, struct peer_seen *seen)
{
    WT_ITEM item;

    CHECK(cursor->get_value(cursor, &item));
    peer_take(seen, item.data, item.size);
}

void
peer_get(enum peer_table table, int64_t id, struct peer_seen *seen)
{
    WT_CURSOR *cursor = table == PEER_INDEXED ? documents_of[table] : cursors[table];

    cursor->set_key(cursor, id);
    CHECK(cursor->search(cursor));
    take(cursor, seen);
    CHECK(cursor->reset(cursor));
}

void
peer_scan(enum peer_table table, struct peer_seen *seen)
{
    WT_CURSOR *cursor = table == PEER_INDEXED ? documents_of[table] : cursors[table];
    int code;

    while ((code = cursor->next(cursor)) == 0)
        take(cursor, seen);
    if (code != WT_NOTFOUND)
        CHECK(code);
    CHECK(cursor->reset(cursor));
}

void
peer_range(int32_t low, int32_t high, struct peer_seen *seen)
{
    int32_t age = low;
    int code;

    by_age->set_key(by_age, low);
    for (code = by_age->search(by_age); code == 0; code = by_age->next(by_age)) {
        CHECK(by_age->get_key(by_age, &age));
        if (age > high)
            break;
        take(by_age, seen);
    }
    if (code != WT_NOTFOUND)
        CHECK(code);
    CHECK(by_age->reset(by_age));
}

void
peer_set_age(enum peer_table table, int64_t id, int32_t age)
{
    WT_CURSOR *cursor = cursors[table];
    uint8_t changed[DOCUMENTS_SIZE_MAX];
    struct peer_seen seen = { .room = changed };
    WT_ITEM item;

    begin();
    cursor->set_key(cursor, id);
    CHECK(cursor->search(cursor));
    take(cursor, &seen);
    memcpy(changed + DOCUMENTS_AGE_AT, &age, sizeof age);
    item = (WT_ITEM){ .data = changed, .size = seen.bytes };
    cursor->set_value(cursor, &item);
    CHECK(cursor->update(cursor));
    CHECK(cursor->reset(cursor));
    commit();
}

void
peer_delete(enum peer_table table, int64_t id)
{
    WT_CURSOR *cursor = inserts[table];

    begin();
    cursor->set_key(cursor, id);
    CHECK(cursor->remove(cursor));
    commit();
}
