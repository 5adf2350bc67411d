/*
 * fuzz_opmsg.c - any bytes as a stream of MongoDB messages.
 *
 * What is yielded must lie inside its frame and validate; each request gets a reply.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/doc/bsonwalk.h"
#include "base/panic.h"
#include "base/wire/opmsg.h"
#include "base/wire/opreply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(struct bytes frame, const struct opmsg_request *request)
{
    static const uint8_t empty[5] = { 5, 0, 0, 0, 0 };
    const struct bsonwalk_limits limits = { OPMSG_SIZE_MAX, OPMSG_DEPTH_MAX };
    struct buf out = buf_init(4096);

    invariant(request->body.data > frame.data &&
              request->body.data + request->body.size <= frame.data + frame.size);
    invariant(bsonwalk_validate(request->body, &limits) == OK);
    for (uint32_t i = 0; i < request->sequence_count; i++) {
        struct bytes documents = request->sequence[i].documents;
        struct bytes document;
        uint32_t count = 0;

        for (; opmsg_next_document(&documents, &document); count++)
            invariant(bsonwalk_validate(document, &limits) == OK);
        invariant(documents.size == 0 && count == request->sequence[i].count);
    }
    invariant(opreply_document(&out, request, 1, (struct bytes){ empty, 5 }) == OK);
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = { data, size };
    struct opmsg_request request;
    struct bytes frame;
    size_t wanted;

    while (opmsg_frame(input, OPMSG_SIZE_MAX, &frame, &wanted) == OPMSG_WHOLE) {
        enum opmsg_verdict verdict = opmsg_decode(frame, &request);

        if (verdict == OPMSG_RUN)
            check(frame, &request);
        else if (verdict != OPMSG_REFUSE)
            break;
        input = (struct bytes){ input.data + frame.size, input.size - frame.size };
    }
    return 0;
}
