/*
 * loader.c - `gneiss import`: documents of a file into a collection.
 *
 * Every document is parsed here before it is sent, so that damage is told with the file's own
 * line, and nothing of the batch it stands in goes in.
 */
#include "tools/loader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/doc/jsonparse.h"
#include "tools/docstream.h"
#include "tools/meter.h"
#include "tools/place.h"
#include "tools/sink.h"

#define DOCUMENT_MAX ((size_t)BSONVALUE_INTERNAL_SIZE_MAX + 1)

static const char *data_option, *uri_option, *database_option, *collection_option;
static bool drop_option, quiet_option;

/* "cities.json" of a path, without the folder and what stands behind the first dot. */
static const char *
name_of_file(const char *path, char room[256])
{
    const char *slash = strrchr(path, '/');
    const char *start = slash != NULL ? slash + 1 : path;
    size_t size = strcspn(start, ".");

    if (size == 0 || size >= 256 || strcmp(path, "-") == 0)
        return "imported";
    memcpy(room, start, size);
    room[size] = '\0';
    return room;
}

static err_t
parse(struct buf *bson, struct bytes text, const char *name, uint64_t line, struct bytes *document)
{
    struct jsonparse_result result;
    err_t err;

    buf_clear(bson);
    err = jsonparse_value(bson, text, &jsonparse_import, &result);
    if (err == ERR_FAILED_TO_PARSE && result.reason != NULL)
        return err_set(ERR_FAILED_TO_PARSE, "%s:%ju: %s (column %zu)", name,
            (uintmax_t)(line + result.line - 1), result.reason, result.column);
    if (err != OK)
        return err_set(err, "%s:%ju: %s", name, (uintmax_t)line, err_message());
    if (result.value.type != BSONTYPE_DOCUMENT)
        return err_set(ERR_FAILED_TO_PARSE, "%s:%ju: not a document", name, (uintmax_t)line);
    *document = buf_bytes(bson);
    return OK;
}

static err_t
copy_all(struct docstream *stream, struct sink *sink, struct meter *meter)
{
    struct buf bson = buf_init(DOCUMENT_MAX);
    uint64_t count = 0;
    err_t err;

    for (;;) {
        struct bytes text, document;
        uint64_t line;
        bool found;

        TRY(docstream_next(stream, &text, &line, &found));
        if (!found)
            break;
        TRY(parse(&bson, text, stream->name, line, &document));
        TRY(sink_put(sink, text, document, line));
        if (++count % 256 == 0)
            meter_show(meter, stream->offset, count);
    }
    TRY(sink_finish(sink));
out:
    buf_fini(&bson);
    return err;
}

static uint64_t
size_of(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
}

/* What was read before the damage is kept, and said to be. */
static int
sum_up(struct sink *sink, err_t err, double secs)
{
    char why[512];

    (void)snprintf(why, sizeof why, "%s", err_message());
    if (err != OK && sink->flight_count + sink->batch.count > 0 && err == ERR_FAILED_TO_PARSE)
        (void)!sink_finish(sink); /* the damage is told, whatever comes of this */
    (void)printf("%s%ju documents into %s.%s in %.2f s (%.0f/s)\n", err != OK ? "only " : "",
        (uintmax_t)sink->inserted, sink->place.database, sink->place.collection, secs,
        secs > 0 ? (double)sink->inserted / secs : 0.0);
    return err == OK ? CLI_OK : cli_fail("%s", why);
}

static int
import_into(const struct sink_place *place, const char *path)
{
    static struct sink sink; /* too large for the stack */
    struct docstream stream;
    struct meter meter;
    int code;
    err_t err;

    if (docstream_open(&stream, path) != OK)
        return cli_fail_err();
    err = sink_open(&sink, place);
    if (err == OK && drop_option)
        err = sink_drop(&sink);
    if (err == OK) {
        meter_begin(&meter, "documents", size_of(stream.fd), quiet_option);
        err = copy_all(&stream, &sink, &meter);
        code = sum_up(&sink, err, meter_end(&meter));
    } else {
        code = cli_fail_err();
    }
    sink_close(&sink);
    docstream_close(&stream);
    return code;
}

static int
run(int count, char **word)
{
    char room[256], address_room[300];
    struct sink_place place = {
        .data_dir = data_option,
        .database = database_option != NULL ? database_option : "test",
        .collection = collection_option != NULL ? collection_option : name_of_file(word[0], room),
    };

    (void)count;
    if (data_option != NULL && uri_option != NULL) {
        (void)cli_fail("--data and --uri exclude each other");
        return CLI_USAGE;
    }
    if (data_option == NULL && place_address(uri_option != NULL ? uri_option : PLACE_JSON_DEFAULT,
                                   address_room, &place.address) != OK) {
        (void)cli_fail_err();
        return CLI_USAGE;
    }
    return import_into(&place, word[0]);
}

static const struct cli_option options[] = {
    { "data", 'd', "DIR", "a data directory that no server holds", &data_option, NULL },
    { "uri", 'u', "URI", "a server (default json://" PLACE_JSON_DEFAULT ")", &uri_option, NULL },
    { "db", '\0', "NAME", "database (default test)", &database_option, NULL },
    { "collection", 'c', "NAME", "default: the file's name up to the first dot", &collection_option,
        NULL },
    { "drop", '\0', NULL, "drop the collection first", NULL, &drop_option },
    { "quiet", 'q', NULL, "no progress bar", NULL, &quiet_option },
};

const struct cli_verb loader_verb = { .name = "import",
    .arguments = "[--data DIR | --uri URI] [--db NAME] [--collection NAME] FILE",
    .summary = "insert the documents of a JSON file (an array, or one a line)",
    .details = "FILE - is standard input.  Extended JSON ({\"$oid\": …}, {\"$date\": …}) is "
               "understood.\n"
               "Documents go in by batches of up to 1000, each whole or not at all.  At damage it\n"
               "stops and names the line; what stands before it is in.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .words_least = 1,
    .words_most = 1,
    .run = run };
