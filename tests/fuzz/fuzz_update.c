/*
 * fuzz_update.c - two BSON documents: an update and what it is applied to.  The result of valid
 * input is valid.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/query/update.h"
#include "base/doc/bsonwalk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bsonwalk_limits limits = { BSONVALUE_INTERNAL_SIZE_MAX, BSONVALUE_DEPTH_MAX };
    struct buf out = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    const struct update *update;
    struct bytes first, second;
    struct op op = { 0 };
    uint32_t length;
    bool changed;

    if (size < 10)
        return 0;
    memcpy(&length, data, sizeof length);
    if (length < 5 || length > size - 5)
        return 0;
    first = (struct bytes){ data, length };
    second = (struct bytes){ data + length, size - length };
    if (bsonwalk_validate(first, NULL) != OK || bsonwalk_validate(second, NULL) != OK)
        return 0;
    op.arena = arena_create("fuzz", 64u << 20);
    if (update_compile(op.arena, first, UPDATE_BY_SHAPE, &update) == OK &&
        update_apply(update, &op, second, &out, &changed) == OK &&
        bsonwalk_validate(buf_bytes(&out), &limits) != OK)
        abort();
    buf_fini(&out);
    arena_destroy(op.arena);
    return 0;
}
