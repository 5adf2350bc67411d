/*
 * fuzz_jsonline.c - any bytes as a line of the JSON-lines protocol.
 *
 * A refusal must be text; a request must be BSON that validates.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/doc/bsonwalk.h"
#include "base/panic.h"
#include "base/wire/jsonline.h"
#include "base/wire/jsonreply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bsonwalk_limits limits = { BSONVALUE_INTERNAL_SIZE_MAX, BSONVALUE_DEPTH_MAX };
    struct buf scratch = buf_init(1 << 24);
    struct buf out = buf_init(1 << 24);
    struct textline framer;
    struct jsonline_request request;
    struct bytes input = { data, size };
    struct bytes line;
    enum textline_result result;

    textline_init(&framer, 1 << 16);
    do {
        size_t consumed;
        bool refused;

        result = jsonline_next(&framer, input, true, &line, &consumed);
        input = (struct bytes){ input.data + consumed, input.size - consumed };
        if (result != TEXTLINE_LINE || jsonline_decode(&scratch, line, &request, &refused) != OK)
            continue;
        buf_clear(&out);
        if (refused) {
            invariant(scratch.size > 0 && memchr(scratch.data, 0, scratch.size) == NULL);
            invariant(jsonreply_error(&out, line, buf_bytes(&scratch), JSONREPLY_NO_TIME) == OK);
        } else {
            invariant(bsonwalk_validate(request.command, &limits) == OK);
            invariant(jsonreply_document(&out, request.request_id, request.command, 1) == OK);
        }
        invariant(memchr(out.data, '\n', out.size) == out.data + out.size - 1);
    } while (result == TEXTLINE_LINE || result == TEXTLINE_TOO_LONG);
    buf_fini(&scratch);
    buf_fini(&out);
    return 0;
}
