/*
 * fuzz_textline.c - any bytes as a stream of text requests.
 *
 * The first byte chooses the limit and the piece; the stream fed in pieces must yield what it
 * yields whole, every line is parsed, and every refusal must be one line of reply.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"
#include "base/wire/textcmd.h"
#include "base/wire/textline.h"
#include "base/wire/textreply.h"
#include "base/wire/textuuid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
answer(struct bytes line, struct buf *out)
{
    struct textcmd command;
    struct textcmd_refusal refusal;
    uint8_t uuid[16];

    buf_clear(out);
    if (!textcmd_parse(line, &command, &refusal)) {
        invariant(textreply_refusal(out, &refusal) == OK);
        for (size_t i = 0; i + 2 < out->size; i++)
            invariant(out->data[i] >= 0x20 && out->data[i] != 0x7f);
        return;
    }
    for (unsigned i = 0; i < command.arg_count; i++) {
        struct bytes arg = command.arg[i];

        invariant(arg.size == 0 ||
                  (arg.data >= line.data && arg.data + arg.size <= line.data + line.size));
        if (!textuuid_parse(arg, uuid))
            invariant(textuuid_explain(out, arg) == OK);
    }
}

/* Returns a hash of all that came out. */
static uint64_t
run(struct bytes stream, size_t limit, size_t piece, struct buf *out)
{
    struct textline framer;
    size_t from = 0;
    size_t to = 0;
    uint64_t hash = 0;

    textline_init(&framer, limit);
    for (;;) {
        struct bytes input = { stream.data + from, to - from };
        struct bytes line;
        size_t consumed;
        enum textline_result result =
            textline_next(&framer, input, to == stream.size, &line, &consumed);

        invariant(consumed <= input.size);
        from += consumed;
        if (result == TEXTLINE_MORE) {
            invariant(to - from < limit && to < stream.size);
            to = stream.size - to > piece ? to + piece : stream.size;
            continue;
        }
        hash = hash * 31 + (uint64_t)result;
        for (size_t i = 0; i < line.size; i++)
            hash = hash * 31 + line.data[i];
        if (result == TEXTLINE_LINE)
            answer(line, out);
        if (result == TEXTLINE_END || result == TEXTLINE_NOT_UTF8)
            return hash;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = buf_init(1 << 22);
    struct bytes stream;
    size_t limit, piece;

    if (size < 2)
        return 0;
    limit = 2 + (size_t)(data[0] >> 2) * 8;
    piece = 1u + (data[0] & 3);
    stream = (struct bytes){ data + 1, size - 1 };
    invariant(run(stream, limit, piece, &out) == run(stream, limit, stream.size, &out));
    buf_fini(&out);
    return 0;
}
