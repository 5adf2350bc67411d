/* Any two values of a document: memcmp of their keys is their order, in both directions. */
#include <stdlib.h>

#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"

#define VALUES_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
sign(int order)
{
    return (order > 0) - (order < 0);
}

static void
compare(const struct bsonvalue *a, const struct bsonvalue *b, struct buf *x, struct buf *y)
{
    int order = sign(bsonorder_compare(a, b));

    for (int descending = 0; descending < 2; descending++) {
        buf_clear(x);
        buf_clear(y);
        if (keystring_append(x, a, descending) != OK || keystring_append(y, b, descending) != OK)
            abort();
        if (sign(bytes_compare(buf_bytes(x), buf_bytes(y))) != (descending ? -order : order))
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bsonvalue value[VALUES_MAX];
    struct buf x = buf_init(64u << 20), y = buf_init(64u << 20);
    struct bsonwalk walk;
    unsigned count = 0;

    if (bsonwalk_validate((struct bytes){ data, size }, NULL) != OK ||
        bsonwalk_begin(&walk, (struct bytes){ data, size }) != OK)
        return 0;
    while (count < VALUES_MAX && bsonwalk_next(&walk, &value[count]))
        count++;
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < count; j++)
            compare(&value[i], &value[j], &x, &y);
    buf_fini(&x);
    buf_fini(&y);
    return 0;
}
