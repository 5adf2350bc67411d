/*
 * jsonreply.c - replies of the JSON-lines protocol.
 *
 * INVARIANT
 *   A reply is one line with five members in this order: request_id, ok, data, error,
 *   execution_time_us.
 */
#include "base/wire/jsonreply.h"

#include <inttypes.h>

#include "base/doc/jsonprint.h"

/* The members behind `data`. */
static err_t
put_tail(struct buf *out, uint64_t time_us)
{
    TRY_RETURN(buf_append_text(out, ",\"execution_time_us\":"));
    if (time_us == JSONREPLY_NO_TIME)
        return buf_append_text(out, "null}\n");
    return buf_printf(out, "%" PRIu64 "}\n", time_us);
}

static err_t
put_head(struct buf *out, struct bytes request_id, const char *rest)
{
    TRY_RETURN(buf_append_text(out, "{\"request_id\":"));
    TRY_RETURN(jsonprint_string(out, request_id));
    return buf_append_text(out, rest);
}

err_t
jsonreply_begin(struct buf *out, struct bytes request_id)
{
    size_t before = out->size;
    err_t err = put_head(out, request_id, ",\"ok\":true,\"data\":");

    if (err != OK)
        out->size = before;
    return err;
}

err_t
jsonreply_end(struct buf *out, uint64_t time_us)
{
    TRY_RETURN(buf_append_text(out, ",\"error\":null"));
    return put_tail(out, time_us);
}

err_t
jsonreply_document(
    struct buf *out, struct bytes request_id, struct bytes document, uint64_t time_us)
{
    size_t before = out->size;
    err_t err;

    TRY(jsonreply_begin(out, request_id));
    TRY(jsonprint_document(out, document, JSONPRINT_WIRE));
    TRY(jsonreply_end(out, time_us));
out:
    if (err != OK)
        out->size = before;
    return err;
}

err_t
jsonreply_text(struct buf *out, struct bytes request_id, struct bytes json, uint64_t time_us)
{
    size_t before = out->size;
    err_t err;

    TRY(jsonreply_begin(out, request_id));
    TRY(buf_append(out, json.data, json.size));
    TRY(jsonreply_end(out, time_us));
out:
    if (err != OK)
        out->size = before;
    return err;
}

err_t
jsonreply_error(struct buf *out, struct bytes request_id, struct bytes text, uint64_t time_us)
{
    size_t before = out->size;
    err_t err;

    TRY(put_head(out, request_id, ",\"ok\":false,\"data\":null,\"error\":"));
    TRY(jsonprint_string(out, text));
    TRY(put_tail(out, time_us));
out:
    if (err != OK)
        out->size = before;
    return err;
}
