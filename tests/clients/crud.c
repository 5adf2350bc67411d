/*
 * crud.c - libmongoc against a server: insert, find, update, delete, count; any warning fails.
 *
 *     crud mongodb://127.0.0.1:27017/
 */
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>

#define DOCUMENTS 500

static int warnings;

static void
count_warning(mongoc_log_level_t level, const char *domain, const char *message, void *unused)
{
    (void)unused;
    if (level > MONGOC_LOG_LEVEL_WARNING)
        return;
    warnings++;
    (void)fprintf(stderr, "%s: %s\n", domain, message);
}

static void
must(bool good, const char *what, const bson_error_t *error)
{
    if (good)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, error != NULL ? error->message : "");
    exit(1);
}

static int64_t
field(const bson_t *reply, const char *name)
{
    bson_iter_t at;

    return bson_iter_init_find(&at, reply, name) ? bson_iter_as_int64(&at) : -1;
}

static void
insert_all(mongoc_collection_t *docs)
{
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(docs, NULL);
    bson_error_t error;
    bson_t reply;

    for (int i = 0; i < DOCUMENTS; i++) {
        bson_t *doc = BCON_NEW("_id", BCON_INT32(i), "third", BCON_INT32(i % 3));

        mongoc_bulk_operation_insert(bulk, doc);
        bson_destroy(doc);
    }
    must(mongoc_bulk_operation_execute(bulk, &reply, &error) != 0, "insert", &error);
    must(field(&reply, "nInserted") == DOCUMENTS, "all inserted", NULL);
    bson_destroy(&reply);
    mongoc_bulk_operation_destroy(bulk);
}

static int
count_found(mongoc_collection_t *docs, const bson_t *filter, const bson_t *options)
{
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(docs, filter, options, NULL);
    const bson_t *doc;
    bson_error_t error;
    int count = 0;

    while (mongoc_cursor_next(cursor, &doc))
        count++;
    must(!mongoc_cursor_error(cursor, &error), "find", &error);
    mongoc_cursor_destroy(cursor);
    return count;
}

static void
change(mongoc_collection_t *docs)
{
    bson_t *third = BCON_NEW("third", BCON_INT32(1));
    bson_t *inc = BCON_NEW("$inc", "{", "n", BCON_INT32(5), "}");
    bson_t *one = BCON_NEW("_id", BCON_INT32(1), "n", BCON_INT32(5));
    bson_t *options = BCON_NEW("sort", "{", "_id", BCON_INT32(-1), "}", "limit", BCON_INT64(7),
        "batchSize", BCON_INT32(3));
    bson_error_t error;
    bson_t reply;

    must(count_found(docs, third, NULL) == DOCUMENTS / 3 + (DOCUMENTS % 3 > 1), "find a third",
        NULL);
    must(count_found(docs, third, options) == 7, "find seven in batches of three", NULL);
    must(mongoc_collection_update_many(docs, third, inc, NULL, &reply, &error), "update", &error);
    must(field(&reply, "modifiedCount") == count_found(docs, third, NULL), "all changed", NULL);
    bson_destroy(&reply);
    must(count_found(docs, one, NULL) == 1, "the change is there", NULL);
    must(mongoc_collection_delete_many(docs, third, NULL, &reply, &error), "delete", &error);
    must(field(&reply, "deletedCount") == DOCUMENTS / 3 + (DOCUMENTS % 3 > 1), "all deleted", NULL);
    bson_destroy(&reply);
    must(count_found(docs, third, NULL) == 0, "none left", NULL);
    must(mongoc_collection_estimated_document_count(docs, NULL, NULL, NULL, &error) ==
             DOCUMENTS - DOCUMENTS / 3 - (DOCUMENTS % 3 > 1),
        "count", &error);
    bson_destroy(third);
    bson_destroy(inc);
    bson_destroy(one);
    bson_destroy(options);
}

int
main(int argc, char **argv)
{
    mongoc_client_t *client;
    mongoc_collection_t *docs;
    bson_error_t error;

    mongoc_init();
    mongoc_log_set_handler(count_warning, NULL);
    client = mongoc_client_new(argc > 1 ? argv[1] : "mongodb://127.0.0.1:27017/");
    must(client != NULL, "the address", NULL);
    docs = mongoc_client_get_collection(client, "c", "docs");
    insert_all(docs);
    change(docs);
    must(mongoc_collection_drop(docs, &error), "drop", &error);
    mongoc_collection_destroy(docs);
    mongoc_client_destroy(client);
    mongoc_cleanup();
    must(warnings == 0, "warnings", NULL);
    return 0;
}
