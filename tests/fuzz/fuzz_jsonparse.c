/* Any text: what is accepted is valid BSON, and what is printed is accepted again. */
#include <stdlib.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
round_trip(struct bytes json, const struct jsonparse_options *options)
{
    struct buf first = buf_init(64u << 20), second = buf_init(64u << 20);
    struct buf text = buf_init(64u << 20), again = buf_init(64u << 20);
    struct bsonwalk_limits limits = { 64u << 20, 200 };
    struct jsonparse_result result;

    if (jsonparse_value(&first, json, options, &result) != OK) {
        if (result.reason == NULL || result.position > json.size)
            abort();
    } else {
        if (result.value.type == BSONTYPE_DOCUMENT &&
            bsonwalk_validate(result.value.raw, &limits) != OK)
            abort();
        if (jsonprint_value(&text, &result.value, JSONPRINT_WIRE) != OK ||
            jsonparse_value(&second, buf_bytes(&text), options, &result) != OK ||
            jsonprint_value(&again, &result.value, JSONPRINT_WIRE) != OK ||
            !bytes_equal(buf_bytes(&text), buf_bytes(&again)))
            abort();
    }
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&text);
    buf_fini(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const path[] = { "a", "b" };
    struct bytes json = { data, size };

    round_trip(json, &jsonparse_text);
    round_trip(json, &jsonparse_lines);
    (void)jsonparse_locate(json, path, 2);
    return 0;
}
