/*
 * sink.c - where imported documents go.
 *
 * INVARIANTS
 *   T1  `batch.count` documents stand in `text`; none when it is 0.
 *   T2  Requests in flight are answered in order, so the first of the ring is the next answer's.
 */
#include "tools/sink.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

#define TEXT_MAX   ((size_t)128 << 20)
#define TIMEOUT_MS 120000

static err_t
open_directory(struct sink *sink)
{
    const struct gneiss_options options = { .create = true, .lazy = true, .log_fd = STDERR_FILENO };
    struct gneiss_error error;

    sink->db = gneiss_open(sink->place.data_dir, &options, &error);
    if (sink->db != NULL)
        sink->session = gneiss_session_open(sink->db, &error);
    if (sink->session == NULL)
        return err_set(ERR_OPERATION_FAILED, "%s", error.message);
    sink->collection =
        gneiss_collection(sink->session, sink->place.database, sink->place.collection);
    if (sink->collection == NULL)
        return err_set(ERR_OPERATION_FAILED, "%s", gneiss_session_error(sink->session)->message);
    return OK;
}

err_t
sink_open(struct sink *sink, const struct sink_place *place)
{
    memset(sink, 0, sizeof *sink);
    sink->place = *place;
    sink->link.fd = -1;
    sink->text = buf_init(TEXT_MAX);
    if (place->data_dir != NULL)
        return open_directory(sink);
    return link_open(&sink->link, place->address, TIMEOUT_MS);
}

void
sink_close(struct sink *sink)
{
    struct gneiss_error error;

    link_close(&sink->link);
    gneiss_session_close(sink->session);
    if (sink->db != NULL && gneiss_close(sink->db, &error) != GNEISS_OK)
        (void)fprintf(stderr, "gneiss: the directory was not closed in order: %s\n", error.message);
    buf_fini(&sink->text);
}

/* ---- a directory ---- */

static err_t
store(struct sink *sink)
{
    struct sink_batch *batch = &sink->batch;

    for (size_t i = 0; i < batch->count; i++)
        sink->slice[i].data = sink->text.data + sink->start[i];
    if (gneiss_insert_many(sink->collection, sink->slice, batch->count) != GNEISS_OK)
        return err_set(ERR_OPERATION_FAILED, "the documents of lines %ju to %ju are refused: %s",
            (uintmax_t)batch->first_line, (uintmax_t)batch->last_line,
            gneiss_session_error(sink->session)->message);
    sink->inserted += batch->count;
    return OK;
}

/* ---- a server ---- */

/* The answer's `error`; or ERR_PROTOCOL. */
static err_t
judge(struct bytes line, const char *what)
{
    struct buf out = buf_init(TEXT_MAX);
    struct bsonvalue value;
    struct bytes document;
    err_t err;

    TRY(jsonparse_document(&out, line, &jsonparse_lines, &document));
    if (bsonwalk_get(document, "ok", &value) && bsonvalue_truth(&value))
        goto out;
    if (bsonwalk_get(document, "error", &value) && value.type == BSONTYPE_STRING)
        TRY(err_set(ERR_OPERATION_FAILED, "%s: %.*s", what, (int)bsonvalue_string(&value).size,
            (const char *)bsonvalue_string(&value).data));
    TRY(err_set(ERR_PROTOCOL, "%s: the server's answer cannot be understood", what));
out:
    buf_fini(&out);
    return err;
}

static err_t
take_answer(struct sink *sink)
{
    const struct sink_batch *batch = &sink->flight[sink->flight_first];
    struct bytes line;
    char what[96];

    (void)snprintf(what, sizeof what, "the documents of lines %ju to %ju are refused",
        (uintmax_t)batch->first_line, (uintmax_t)batch->last_line);
    TRY_RETURN(link_read_line(&sink->link, &line));
    sink->flight_first = (sink->flight_first + 1) % SINK_IN_FLIGHT; /* T2 */
    sink->flight_count--;
    TRY_RETURN(judge(line, what));
    sink->inserted += batch->count;
    return OK;
}

static err_t
append_names(struct sink *sink, struct buf *out)
{
    TRY_RETURN(buf_append_text(out, "\"database\":"));
    TRY_RETURN(jsonprint_string(out, bytes_of(sink->place.database)));
    TRY_RETURN(buf_append_text(out, ",\"collection\":"));
    return jsonprint_string(out, bytes_of(sink->place.collection));
}

static err_t
begin_request(struct sink *sink)
{
    TRY_RETURN(buf_append_text(
        &sink->text, "{\"request_id\":\"i\",\"command\":{\"type\":\"insert_many\","));
    TRY_RETURN(append_names(sink, &sink->text));
    return buf_append_text(&sink->text, ",\"documents\":[");
}

/* Line ends stand between members only: in strings JSON has them escaped. */
static err_t
append_line(struct buf *out, struct bytes json)
{
    size_t start = out->size;

    TRY_RETURN(buf_append(out, json.data, json.size));
    for (size_t i = start; i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
    return OK;
}

static err_t
send_batch(struct sink *sink)
{
    unsigned place;

    TRY_RETURN(buf_append_text(&sink->text, "]}}"));
    if (sink->flight_count == SINK_IN_FLIGHT)
        TRY_RETURN(take_answer(sink));
    TRY_RETURN(link_send(&sink->link, buf_bytes(&sink->text)));
    TRY_RETURN(link_flush(&sink->link));
    place = (sink->flight_first + sink->flight_count++) % SINK_IN_FLIGHT;
    sink->flight[place] = sink->batch;
    return OK;
}

/* ---- both ---- */

static err_t
end_batch(struct sink *sink)
{
    if (sink->batch.count == 0)
        return OK;
    TRY_RETURN(sink->db != NULL ? store(sink) : send_batch(sink));
    buf_clear(&sink->text);
    sink->batch.count = 0; /* T1 */
    return OK;
}

err_t
sink_put(struct sink *sink, struct bytes json, struct bytes bson, uint64_t line)
{
    struct sink_batch *batch = &sink->batch;

    if (batch->count == SINK_BATCH_COUNT || sink->text.size >= SINK_BATCH_BYTES)
        TRY_RETURN(end_batch(sink));
    if (batch->count == 0)
        batch->first_line = line;
    batch->last_line = line;
    if (sink->db != NULL) {
        sink->start[batch->count] = sink->text.size;
        sink->slice[batch->count].size = bson.size;
        TRY_RETURN(buf_append(&sink->text, bson.data, bson.size));
    } else {
        TRY_RETURN(batch->count == 0 ? begin_request(sink) : buf_append_byte(&sink->text, ','));
        TRY_RETURN(append_line(&sink->text, json));
    }
    batch->count++;
    return OK;
}

err_t
sink_finish(struct sink *sink)
{
    TRY_RETURN(end_batch(sink));
    while (sink->flight_count > 0)
        TRY_RETURN(take_answer(sink));
    if (sink->session != NULL && gneiss_flush(sink->session) != GNEISS_OK)
        return err_set(ERR_OPERATION_FAILED, "%s", gneiss_session_error(sink->session)->message);
    return OK;
}

err_t
sink_drop(struct sink *sink)
{
    struct bytes line;
    bool found;

    if (sink->db != NULL)
        return gneiss_drop_collection(sink->collection, &found) == GNEISS_OK
                   ? OK
                   : err_set(
                         ERR_OPERATION_FAILED, "%s", gneiss_session_error(sink->session)->message);
    buf_clear(&sink->text);
    TRY_RETURN(buf_append_text(
        &sink->text, "{\"request_id\":\"d\",\"command\":{\"type\":\"drop_collection\",\"name\":"));
    TRY_RETURN(jsonprint_string(&sink->text, bytes_of(sink->place.collection)));
    TRY_RETURN(buf_append_byte(&sink->text, ','));
    TRY_RETURN(append_names(sink, &sink->text));
    TRY_RETURN(buf_append_text(&sink->text, "}}"));
    TRY_RETURN(link_send(&sink->link, buf_bytes(&sink->text)));
    buf_clear(&sink->text);
    TRY_RETURN(link_read_line(&sink->link, &line));
    if (judge(line, "drop") != OK && strstr(err_message(), "not found") == NULL)
        return ERR_OPERATION_FAILED;
    return OK;
}
