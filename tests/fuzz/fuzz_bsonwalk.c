/* Any bytes: walking and printing stay inside; what is valid can be walked to its end. */
#include <stdlib.h>

#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"
#include "base/doc/keystring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk_all(struct bytes document, unsigned depth)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    if (depth > BSONVALUE_DEPTH_MAX || bsonwalk_begin(&walk, document) != OK)
        return;
    while (bsonwalk_next(&walk, &value)) {
        if (value.type == BSONTYPE_DOCUMENT || value.type == BSONTYPE_ARRAY)
            walk_all(value.raw, depth + 1);
        (void)bsonvalue_truth(&value);
    }
    (void)!bsonwalk_end(&walk);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = buf_init(64u << 20);
    struct bytes document = { data, size };
    bool valid = bsonwalk_validate(document, NULL) == OK;

    walk_all(document, 0);
    for (unsigned flags = 0; flags < 8; flags++)
        if (jsonprint_document(&out, document, flags) != OK && valid)
            abort();
    if (size > 0) {
        struct bsonvalue value = bsonvalue_of_document(document);

        if (keystring_append(&out, &value, true) != OK && valid)
            abort();
        if (bsonorder_compare(&value, &value) != 0)
            abort();
    }
    buf_fini(&out);
    return 0;
}
