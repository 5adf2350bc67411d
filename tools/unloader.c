/*
 * unloader.c - `gneiss export`: a collection's documents, one a line.
 */
#include "tools/unloader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"
#include "client/gneiss.h"
#include "client/link.h"
#include "tools/meter.h"
#include "tools/place.h"

#define LINE_MAX_SIZE ((size_t)256 << 20)
#define TIMEOUT_MS    120000
#define BATCH_SIZE    1000

static const char *data_option, *uri_option, *database_option = "test", *output_option;
static const char *filter_option = "{}";
static bool canonical_option, quiet_option;

struct output {
    FILE *file;
    const char *name;
    struct buf line;
    uint64_t count, bytes;
    struct meter meter;
};

static err_t
write_document(struct output *output, struct bytes document)
{
    buf_clear(&output->line);
    TRY_RETURN(jsonprint_document(
        &output->line, document, canonical_option ? JSONPRINT_CANONICAL : JSONPRINT_RELAXED));
    TRY_RETURN(buf_append_byte(&output->line, '\n'));
    if (fwrite(output->line.data, 1, output->line.size, output->file) != output->line.size)
        return err_set_errno("could not write to %s", output->name);
    output->bytes += output->line.size;
    if (++output->count % 256 == 0)
        meter_show(&output->meter, 0, output->count);
    return OK;
}

/* ---- a directory ---- */

static err_t
read_cursor(struct gneiss_session *session, struct gneiss_cursor *cursor, struct output *output)
{
    struct gneiss_bson document;
    bool found;

    for (;;) {
        if (gneiss_find_next(cursor, &document, &found) != GNEISS_OK)
            return err_set(ERR_OPERATION_FAILED, "%s", gneiss_session_error(session)->message);
        if (!found)
            return OK;
        TRY_RETURN(write_document(output, (struct bytes){ document.data, document.size }));
    }
}

static err_t
export_session(struct gneiss_session *session, const char *collection, struct output *output)
{
    struct gneiss_collection *opened = gneiss_collection(session, database_option, collection);
    struct gneiss_cursor *cursor;
    err_t err;

    if (opened == NULL || gneiss_find_json(opened, filter_option, NULL, 0, 0, &cursor) != GNEISS_OK)
        return err_set(ERR_OPERATION_FAILED, "%s", gneiss_session_error(session)->message);
    err = read_cursor(session, cursor, output);
    gneiss_find_close(cursor);
    return err;
}

static err_t
export_directory(const char *directory, const char *collection, struct output *output)
{
    const struct gneiss_options options = { .read_only = true, .log_fd = STDERR_FILENO };
    struct gneiss_session *session;
    struct gneiss_error error;
    struct gneiss *db = gneiss_open(directory, &options, &error);
    err_t err;

    if (db == NULL)
        return err_set(ERR_OPERATION_FAILED, "%s", error.message);
    session = gneiss_session_open(db, &error);
    if (session == NULL)
        err = err_set(ERR_OPERATION_FAILED, "%s", error.message);
    else
        err = export_session(session, collection, output);
    gneiss_session_close(session);
    if (gneiss_close(db, &error) != GNEISS_OK && err == OK)
        err = err_set(ERR_OPERATION_FAILED, "%s", error.message);
    return err;
}

/* ---- a server ---- */

/* The documents of one answer; *cursor_id: where more are, empty if that was all. */
static err_t
take_answer(struct bytes line, struct output *output, char cursor_id[64])
{
    struct buf out = buf_init(LINK_ANSWER_MAX);
    struct jsonparse_options options = jsonparse_import;
    struct bsonvalue data, value;
    struct jsonparse_result result;
    struct bsonwalk walk;
    err_t err;

    options.size_max = LINK_ANSWER_MAX; /* an answer holds many documents */
    options.depth_max = 140;
    TRY(jsonparse_value(&out, line, &options, &result));
    if (!bsonwalk_get(result.value.raw, "data", &data) || data.type != BSONTYPE_DOCUMENT ||
        !bsonwalk_get(data.raw, "documents", &value) || value.type != BSONTYPE_ARRAY) {
        if (bsonwalk_get(result.value.raw, "error", &value) && value.type == BSONTYPE_STRING)
            TRY(err_set(ERR_OPERATION_FAILED, "%.*s", (int)bsonvalue_string(&value).size,
                (const char *)bsonvalue_string(&value).data));
        TRY(err_set(ERR_PROTOCOL, "the server's answer cannot be understood"));
    }
    TRY(bsonwalk_begin(&walk, value.raw));
    while (bsonwalk_next(&walk, &value))
        if (value.type == BSONTYPE_DOCUMENT)
            TRY(write_document(output, value.raw));
    cursor_id[0] = '\0';
    if (bsonwalk_get(data.raw, "cursor_id", &value) && value.type == BSONTYPE_STRING)
        (void)snprintf(cursor_id, 64, "%.*s", (int)bsonvalue_string(&value).size,
            (const char *)bsonvalue_string(&value).data);
out:
    buf_fini(&out);
    return err;
}

static err_t
ask_first(struct buf *request, const char *collection)
{
    TRY_RETURN(buf_append_text(
        request, "{\"request_id\":\"e\",\"command\":{\"type\":\"find\",\"database\":"));
    TRY_RETURN(jsonprint_string(request, bytes_of(database_option)));
    TRY_RETURN(buf_append_text(request, ",\"collection\":"));
    TRY_RETURN(jsonprint_string(request, bytes_of(collection)));
    return buf_printf(request, ",\"filter\":%s,\"batch_size\":%d}}", filter_option, BATCH_SIZE);
}

static err_t
export_server(const char *address, const char *collection, struct output *output)
{
    struct buf request = buf_init((size_t)1 << 24);
    char cursor_id[64] = "";
    struct link link;
    err_t err;

    TRY(link_open(&link, address, TIMEOUT_MS));
    TRY(ask_first(&request, collection));
    do {
        struct bytes line;

        if (cursor_id[0] != '\0')
            TRY(buf_printf(&request,
                "{\"request_id\":\"e\",\"command\":{\"type\":\"get_more\",\"cursor_id\":\"%s\","
                "\"batch_size\":%d}}",
                cursor_id, BATCH_SIZE));
        TRY(link_send(&link, buf_bytes(&request)));
        buf_clear(&request);
        TRY(link_read_line(&link, &line));
        TRY(take_answer(line, output, cursor_id));
    } while (cursor_id[0] != '\0');
out:
    link_close(&link);
    buf_fini(&request);
    return err;
}

/* ---- the verb ---- */

static int
export_to(struct output *output, const char *address, const char *collection)
{
    double secs;
    err_t err;

    meter_begin(&output->meter, "documents", 0, quiet_option || output->file == stdout);
    err = data_option != NULL ? export_directory(data_option, collection, output)
                              : export_server(address, collection, output);
    if (fflush(output->file) != 0 && err == OK)
        err = err_set_errno("could not write to %s", output->name);
    secs = meter_end(&output->meter);
    if (!quiet_option)
        (void)fprintf(stderr, "%ju documents, %ju bytes in %.2f s (%.0f/s)\n",
            (uintmax_t)output->count, (uintmax_t)output->bytes, secs,
            secs > 0 ? (double)output->count / secs : 0.0);
    return err == OK ? CLI_OK : cli_fail_err();
}

/* A filter is checked here, so that what is sent is one line of JSON. */
static bool
check_filter(void)
{
    struct buf out = buf_init(LINE_MAX_SIZE);
    struct bytes document;
    bool well =
        jsonparse_document(&out, bytes_of(filter_option), &jsonparse_import, &document) == OK &&
        strpbrk(filter_option, "\r\n") == NULL;

    if (!well)
        (void)cli_fail("--filter must be a JSON object on one line: %s", err_message());
    buf_fini(&out);
    return well;
}

static int
run(int count, char **word)
{
    struct output output = {
        .file = stdout, .name = "standard output", .line = buf_init(LINE_MAX_SIZE)
    };
    const char *address = NULL;
    char room[300];
    int code;

    (void)count;
    if (!check_filter())
        return CLI_USAGE;
    if (data_option == NULL &&
        place_address(uri_option != NULL ? uri_option : PLACE_JSON_DEFAULT, room, &address) != OK) {
        (void)cli_fail_err();
        return CLI_USAGE;
    }
    if (output_option != NULL) {
        output.name = output_option;
        output.file = fopen(output_option, "we");
        if (output.file == NULL)
            return cli_fail("could not open '%s': %s", output_option, strerror(errno));
    }
    code = export_to(&output, address, word[0]);
    if (output.file != stdout && fclose(output.file) != 0 && code == CLI_OK)
        code = cli_fail("could not write to '%s': %s", output.name, strerror(errno));
    buf_fini(&output.line);
    return code;
}

static const struct cli_option options[] = {
    { "data", 'd', "DIR", "a data directory that no server holds", &data_option, NULL },
    { "uri", 'u', "URI", "a server (default json://" PLACE_JSON_DEFAULT ")", &uri_option, NULL },
    { "db", '\0', "NAME", "database (default test)", &database_option, NULL },
    { "filter", 'f', "JSON", "only documents that match", &filter_option, NULL },
    { "output", 'o', "FILE", "default: standard output", &output_option, NULL },
    { "canonical", '\0', NULL, "canonical Extended JSON, which tells every type", NULL,
        &canonical_option },
    { "quiet", 'q', NULL, "no progress, no summary", NULL, &quiet_option },
};

const struct cli_verb unloader_verb = { .name = "export",
    .arguments = "[--data DIR | --uri URI] [--db NAME] [--output FILE] COLLECTION",
    .summary = "print a collection's documents as JSON, one a line",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .words_least = 1,
    .words_most = 1,
    .run = run };
