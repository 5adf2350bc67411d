/*
 * verbfixture.h - a whole engine in a scratch folder, and verbs in few words.
 */
#ifndef TESTS_UNIT_BACKEND_COMMAND_VERBFIXTURE_H
#define TESTS_UNIT_BACKEND_COMMAND_VERBFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/command/cursors.h"
#include "backend/command/verb_statement.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/log.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "storage/collection/engine.h"

#define OKAY(call)                                    \
    do {                                              \
        if ((call) != OK)                             \
            fail_msg("%s: %s", #call, err_message()); \
    } while (0)

static struct config *config;
static char folder[128];
static struct op op = { .verb = "test" };
static const struct verb_ns ns = { "t", "db", "c" };

static inline int
set_up(void **state)
{
    static const struct region *const more[] = { &cursors_region };
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    struct engine_info info;

    (void)state;
    log_setup(LOG_FORMAT_TEXT, LOG_WARN, -1);
    (void)snprintf(folder, sizeof folder, "%.80s/gneiss-verb-XXXXXX", base);
    assert_non_null(mkdtemp(folder));
    config = config_create();
    assert_non_null(config);
    config->server_max_connections = 16;
    config->max_transactions = 64;
    config->max_cursors = 16;
    config->shared_buffers = 16 << 20;
    config->wal_sync = false;
    OKAY(config_set(config, "server.data_dir", folder, "test"));
    OKAY(engine_create(folder, 8192));
    OKAY(engine_open(config, folder, more, 1, 5000, false));
    OKAY(engine_recover(config, &info));
    OKAY(proc_attach(PROC_BACKEND));
    op.arena = arena_create("test", (size_t)256 << 20);
    assert_non_null(op.arena);
    return 0;
}

static inline int
tear_down(void **state)
{
    char command[256];

    (void)state;
    assert_true(ledger_empty());
    assert_true(lwlock_none_held());
    verb_statement_forget();
    catalog_forget_private();
    arena_destroy(op.arena);
    proc_detach();
    OKAY(engine_close());
    engine_release();
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    config_destroy(config);
    return 0;
}

/* {key: number} in the arena. */
static inline struct bytes
pair(const char *key, int32_t number)
{
    struct bsonbuild build;
    struct bytes document;

    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_int32(&build, key, number);
    OKAY(bsonbuild_end(&build, &document));
    return document;
}

/* {outer: {key: number}}. */
static inline struct bytes
nested(const char *outer, const char *key, int32_t number)
{
    struct bsonbuild build;
    struct bytes document;

    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_document(&build, outer, pair(key, number));
    OKAY(bsonbuild_end(&build, &document));
    return document;
}

/* {_id: id, a: number, text: size letters}. */
static inline struct bytes
row(int32_t id, int32_t number, size_t size)
{
    struct bsonbuild build;
    struct bytes document;
    char *text = arena_alloc(op.arena, size + 1);

    memset(text, 'x', size);
    text[size] = '\0';
    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_int32(&build, "_id", id);
    bsonbuild_int32(&build, "a", number);
    bsonbuild_text(&build, "text", (const char *)text);
    OKAY(bsonbuild_end(&build, &document));
    return document;
}

static inline void
put(int32_t id, int32_t number, size_t size)
{
    struct bytes document = row(id, number, size);
    struct verb_insert_result result;

    OKAY(verb_insert(
        &op, &ns, &document, 1, true, true, (struct verb_write){ .txn = NULL }, NULL, &result));
}

static inline int32_t
number_of(struct bytes document, const char *key)
{
    struct bsonvalue value;

    if (!bsonwalk_get(document, key, &value) || value.type != BSONTYPE_INT32)
        return -1;
    return bsonvalue_int32(&value);
}

static inline uint64_t
count(struct bytes filter)
{
    const struct run_query query = { .filter = filter };
    uint64_t n;

    OKAY(verb_count(&op, &ns, &query, NULL, &n));
    return n;
}

#endif
