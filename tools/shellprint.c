/*
 * shellprint.c - documents and help as the shell prints them.
 */
#include "tools/shellprint.h"

#include <stdio.h>
#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

#define DOCUMENT_MAX ((size_t)64 << 20)

/* Print what is in the buffer, each line but the first behind `indent` spaces. */
static void
print_indented(const struct buf *text, int indent)
{
    const char *at = (const char *)text->data, *end = at + text->size;

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t size = line_end != NULL ? (size_t)(line_end - at) + 1 : (size_t)(end - at);

        (void)fwrite(at, 1, size, stdout);
        at += size;
        if (at < end)
            (void)printf("%*s", indent, "");
    }
}

static err_t
build(struct buf *out, struct bytes id, const struct bsonvalue *value, struct bytes *document)
{
    struct bsonbuild build;

    bsonbuild_begin(&build, out);
    bsonbuild_string(&build, "_id", id);
    if (value->type == BSONTYPE_DOCUMENT)
        bsonbuild_elements_sorted(&build, value->raw);
    else
        bsonbuild_value(&build, "_value", value);
    return bsonbuild_end(&build, document);
}

static err_t
print_document(struct buf *scratch, struct bytes id, struct bytes json, int indent)
{
    struct buf parsed = buf_init(DOCUMENT_MAX), built = buf_init(DOCUMENT_MAX);
    struct jsonparse_result result;
    struct bytes document;
    err_t err;

    TRY(jsonparse_value(&parsed, json, &jsonparse_text, &result));
    TRY(build(&built, id, &result.value, &document));
    buf_clear(scratch);
    TRY(jsonprint_document(scratch, document, JSONPRINT_PRETTY));
    print_indented(scratch, indent);
out:
    buf_fini(&parsed);
    buf_fini(&built);
    return err;
}

err_t
shellprint_document(struct buf *scratch, struct bytes id, struct bytes json)
{
    TRY_RETURN(print_document(scratch, id, json, 0));
    (void)fputc('\n', stdout);
    return OK;
}

static err_t
print_row(struct buf *scratch, struct bytes row, int indent)
{
    const uint8_t *space = memchr(row.data, ' ', row.size);
    size_t size = space != NULL ? (size_t)(space - row.data) : row.size;
    struct bytes rest = { row.data + size, row.size - size };

    return print_document(scratch, (struct bytes){ row.data, size }, rest, indent);
}

err_t
shellprint_only_row(struct buf *scratch, struct bytes row)
{
    TRY_RETURN(print_row(scratch, row, 0));
    (void)fputc('\n', stdout);
    return OK;
}

err_t
shellprint_row(struct buf *scratch, struct bytes row)
{
    (void)fputs("  ", stdout);
    return print_row(scratch, row, 2);
}

err_t
shellprint_value(struct buf *scratch, struct bytes json)
{
    struct buf parsed = buf_init(DOCUMENT_MAX);
    struct jsonparse_result result;
    err_t err;

    TRY(jsonparse_value(&parsed, json, &jsonparse_text, &result));
    buf_clear(scratch);
    TRY(jsonprint_value(scratch, &result.value, JSONPRINT_SORTED | JSONPRINT_PRETTY));
    print_indented(scratch, 0);
    (void)fputc('\n', stdout);
out:
    buf_fini(&parsed);
    return err;
}

static const struct {
    const char *topic, *text;
} topics[] = {
    { "insert", "db.<c>.insert({name: 'Ada', tags: [1, 2]})\n"
                "  Stores a document under a new UUID and prints it.  The collection is made if\n"
                "  need be.  Keys may stand without quotes, strings in single ones.\n" },
    { "find", "db.<c>.find()                 all documents, in the order of their ids\n"
              "db.<c>.find({age: {$gt: 30}})  those that match (MongoDB's filters)\n" },
    { "query", "db.<c>.query(\"index\", value)          exactly this value\n"
               "db.<c>.queryRange(\"index\", low, high)  from low up to, not including, high\n" },
    { "resolve",
        "db.<c>.resolve(\"id\")\n  The document, with its references replaced by what they "
        "refer to, one level deep.\n" },
    { "resolveDeep", "db.<c>.resolveDeep(\"id\"[, depth])\n  As resolve, down to `depth` levels "
                     "(default 16).\n" },
    { "ref", "$ref(\"collection\", \"uuid\")\n  As a value in a document: a reference to another "
             "one.\n" },
};

bool
shellprint_help(struct bytes topic)
{
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
        if (bytes_is(topic, topics[i].topic)) {
            (void)fputs(topics[i].text, stdout);
            return true;
        }
    if (topic.size > 0) {
        (void)printf(
            "No detailed help for '%.*s'. Try: help\n", (int)topic.size, (const char *)topic.data);
        return false;
    }
    (void)fputs("use <name>                             choose a database\n"
                "db.createCollection(\"x\")               db.dropCollection(\"x\")\n"
                "db.collections()                       db.flush()\n"
                "db.<c>.insert(json)                    db.<c>.get(\"id\")\n"
                "db.<c>.find([filter])                  db.<c>.count()\n"
                "db.<c>.update(\"id\", json)              db.<c>.delete(\"id\")\n"
                "db.<c>.createIndex(\"name\", \"field\")    db.<c>.dropIndex(\"name\")\n"
                "db.<c>.query(\"index\", value)           db.<c>.queryRange(\"index\", low, high)\n"
                "db.<c>.indexes()                       db.<c>.stats()\n"
                "db.<c>.compact()                       db.<c>.resolve(\"id\")\n"
                "help [insert|find|query|resolve|resolveDeep|ref]   clear   exit\n",
        stdout);
    return true;
}
