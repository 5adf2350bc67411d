/*
 * bsonbuild.c - writing BSON, front to back.
 *
 * While a document is being built, the builder works on its own copy of data, size and
 * capacity (of the buf, or of a piece of the arena that is replaced by a larger one), so an
 * append is a compare and a few stores.
 *
 * INVARIANTS
 *   B1  After the first failure nothing is written any more.
 *   B2  level[0 … depth-1] are the documents that are open, level[depth-1] the innermost.
 */
#include "base/doc/bsonbuild.h"

#include <stdlib.h>

#include "base/doc/bsonwalk.h"
#include "base/panic.h"

#define ARENA_FIRST 256
#define INDEX_COUNT 1000

static void
fail(struct bsonbuild *build, err_t err)
{
    if (build->err == OK)
        build->err = err;
}

static err_t
grow_arena(struct bsonbuild *build, size_t more)
{
    size_t capacity = build->capacity > 0 ? build->capacity : ARENA_FIRST;
    uint8_t *data;

    if (more > BSONVALUE_INTERNAL_SIZE_MAX * (size_t)4)
        return err_set(ERR_TOO_LARGE, "document too large: %zu bytes (max %u)", build->size + more,
            BSONVALUE_DOCUMENT_SIZE_MAX);
    while (capacity - build->size < more)
        capacity *= 2;
    data = arena_alloc(build->arena, capacity);
    if (data == NULL)
        return ERR_MEMORY;
    if (build->size > 0)
        memcpy(data, build->data, build->size);
    build->data = data;
    build->capacity = capacity;
    return OK;
}

static err_t
grow_buf(struct bsonbuild *build, size_t more)
{
    build->buf->size = build->size;
    TRY_RETURN(buf_reserve(build->buf, more));
    build->data = build->buf->data;
    build->capacity = build->buf->capacity;
    return OK;
}

/* Room for `more` bytes, or NULL; what is behind it is not counted yet. */
static inline uint8_t *
room(struct bsonbuild *build, size_t more)
{
    if (build->err != OK)
        return NULL; /* B1 */
    if (build->capacity - build->size < more) {
        fail(build, build->buf != NULL ? grow_buf(build, more) : grow_arena(build, more));
        if (build->err != OK)
            return NULL;
    }
    return build->data + build->size;
}

/* "0" … "999", and their sizes, made by the first who asks. */
static _Thread_local struct {
    bool made;
    uint8_t size[INDEX_COUNT];
    char text[INDEX_COUNT][4];
} numbers;

static void
make_numbers(void)
{
    for (unsigned i = 0; i < INDEX_COUNT; i++) {
        unsigned at = 0;

        if (i >= 100)
            numbers.text[i][at++] = (char)('0' + i / 100);
        if (i >= 10)
            numbers.text[i][at++] = (char)('0' + i / 10 % 10);
        numbers.text[i][at++] = (char)('0' + i % 10);
        numbers.size[i] = (uint8_t)at;
    }
    numbers.made = true;
}

struct bytes
bsonbuild_index_key(uint32_t index, char *text)
{
    char *at = text + 11;

    if (!numbers.made)
        make_numbers();
    if (index < INDEX_COUNT)
        return (struct bytes){ (const uint8_t *)numbers.text[index], numbers.size[index] };
    *at = '\0';
    for (uint32_t rest = index; rest > 0; rest /= 10)
        *--at = (char)('0' + rest % 10);
    return (struct bytes){ (const uint8_t *)at, (size_t)(text + 11 - at) };
}

/* Type, key and room for the payload; NULL: failed. */
static inline uint8_t *
element(struct bsonbuild *build, uint8_t type, struct bytes key, size_t payload)
{
    struct bsonbuild_level *level = &build->level[build->depth - 1];
    char digits[12];
    uint8_t *at;

    if (level->array)
        key = bsonbuild_index_key(level->index, digits);
    else if (key.size > 0 && memchr(key.data, 0, key.size) != NULL) {
        if (build->err == OK)
            fail(build, err_set(ERR_BAD_VALUE, "a field name contains a NUL character"));
        return NULL;
    }
    at = room(build, key.size + payload + 2);
    if (at == NULL)
        return NULL;
    level->index++;
    *at++ = type;
    if (key.size > 0)
        memcpy(at, key.data, key.size);
    at[key.size] = 0;
    build->size += key.size + 2 + payload;
    return at + key.size + 1;
}

static void
begin(struct bsonbuild *build)
{
    build->err = OK;
    build->depth = 1;
    build->level[0] = (struct bsonbuild_level){ build->size, 0, false };
    if (room(build, 5) != NULL)
        build->size += 4;
}

void
bsonbuild_begin(struct bsonbuild *build, struct buf *out)
{
    build->data = out->data;
    build->size = build->before = out->size;
    build->capacity = out->capacity;
    build->buf = out;
    build->arena = NULL;
    begin(build);
}

void
bsonbuild_begin_arena(struct bsonbuild *build, struct arena *arena)
{
    build->data = NULL;
    build->size = build->before = build->capacity = 0;
    build->buf = NULL;
    build->arena = arena;
    begin(build);
}

err_t
bsonbuild_reserve(struct bsonbuild *build, size_t more)
{
    (void)room(build, more);
    return build->err;
}

void
bsonbuild_cancel(struct bsonbuild *build)
{
    if (build->buf != NULL)
        build->buf->size = build->before;
    build->depth = 0;
}

/* Write the innermost document's terminator and length. */
static void
seal(struct bsonbuild *build)
{
    size_t start = build->level[build->depth - 1].start;
    uint8_t *at = room(build, 1);
    uint32_t size;

    if (at == NULL)
        return;
    *at = 0;
    build->size++;
    if (build->size - start > INT32_MAX) {
        fail(build, err_set(ERR_TOO_LARGE, "document too large: %zu bytes (max %u)",
                        build->size - start, BSONVALUE_DOCUMENT_SIZE_MAX));
        return;
    }
    size = (uint32_t)(build->size - start);
    memcpy(build->data + start, &size, sizeof size);
}

err_t
bsonbuild_end(struct bsonbuild *build, struct bytes *document)
{
    invariant(build->depth == 1 || build->err != OK);
    if (build->err == OK)
        seal(build);
    if (build->err != OK) {
        bsonbuild_cancel(build);
        return build->err;
    }
    if (build->buf != NULL)
        build->buf->size = build->size;
    if (document != NULL)
        *document = (struct bytes){ build->data + build->level[0].start,
            build->size - build->level[0].start };
    build->depth = 0;
    return OK;
}

void
bsonbuild_open(struct bsonbuild *build, struct bytes key, bool array)
{
    uint8_t *at;

    if (build->err != OK)
        return;
    if (build->depth >= BSONVALUE_DEPTH_MAX) {
        fail(build,
            err_set(ERR_OVERFLOW, "a document nested deeper than %d levels", BSONVALUE_DEPTH_MAX));
        return;
    }
    at = element(build, array ? BSONTYPE_ARRAY : BSONTYPE_DOCUMENT, key, 4);
    if (at != NULL)
        build->level[build->depth++] =
            (struct bsonbuild_level){ (size_t)(at - build->data), 0, array };
}

void
bsonbuild_close(struct bsonbuild *build, bool array)
{
    if (build->err != OK)
        return;
    invariant(build->depth > 1 && build->level[build->depth - 1].array == array);
    seal(build);
    build->depth--;
}

void
bsonbuild_put_raw(struct bsonbuild *build, struct bytes key, uint8_t type, struct bytes payload)
{
    uint8_t *at = element(build, type, key, payload.size);

    if (at != NULL && payload.size > 0)
        memcpy(at, payload.data, payload.size);
}

void
bsonbuild_put_double(struct bsonbuild *build, struct bytes key, double number)
{
    uint8_t *at = element(build, BSONTYPE_DOUBLE, key, sizeof number);

    if (at != NULL)
        memcpy(at, &number, sizeof number);
}

void
bsonbuild_put_int32(struct bsonbuild *build, struct bytes key, int32_t number)
{
    uint8_t *at = element(build, BSONTYPE_INT32, key, sizeof number);

    if (at != NULL)
        memcpy(at, &number, sizeof number);
}

void
bsonbuild_put_int64(struct bsonbuild *build, struct bytes key, int64_t number)
{
    uint8_t *at = element(build, BSONTYPE_INT64, key, sizeof number);

    if (at != NULL)
        memcpy(at, &number, sizeof number);
}

void
bsonbuild_put_bool(struct bsonbuild *build, struct bytes key, bool truth)
{
    uint8_t *at = element(build, BSONTYPE_BOOL, key, 1);

    if (at != NULL)
        *at = truth;
}

void
bsonbuild_put_empty(struct bsonbuild *build, struct bytes key, uint8_t type)
{
    (void)element(build, type, key, 0);
}

void
bsonbuild_put_date(struct bsonbuild *build, struct bytes key, int64_t ms)
{
    uint8_t *at = element(build, BSONTYPE_DATE, key, sizeof ms);

    if (at != NULL)
        memcpy(at, &ms, sizeof ms);
}

void
bsonbuild_put_objectid(struct bsonbuild *build, struct bytes key, const uint8_t *oid)
{
    bsonbuild_put_raw(build, key, BSONTYPE_OBJECTID, (struct bytes){ oid, 12 });
}

void
bsonbuild_put_string(struct bsonbuild *build, struct bytes key, struct bytes text)
{
    uint8_t *at = element(build, BSONTYPE_STRING, key, text.size + 5);
    uint32_t size = (uint32_t)text.size + 1;

    if (at == NULL)
        return;
    memcpy(at, &size, sizeof size);
    if (text.size > 0)
        memcpy(at + 4, text.data, text.size);
    at[4 + text.size] = 0;
}

void
bsonbuild_put_binary(struct bsonbuild *build, struct bytes key, uint8_t subtype, struct bytes data)
{
    uint8_t *at = element(build, BSONTYPE_BINARY, key, data.size + 5);
    uint32_t size = (uint32_t)data.size;

    if (at == NULL)
        return;
    memcpy(at, &size, sizeof size);
    at[4] = subtype;
    if (data.size > 0)
        memcpy(at + 5, data.data, data.size);
}

void
bsonbuild_put_timestamp(struct bsonbuild *build, struct bytes key, uint64_t stamp)
{
    uint8_t *at = element(build, BSONTYPE_TIMESTAMP, key, sizeof stamp);

    if (at != NULL)
        memcpy(at, &stamp, sizeof stamp);
}

void
bsonbuild_put_regex(
    struct bsonbuild *build, struct bytes key, struct bytes pattern, struct bytes options)
{
    uint8_t *at = element(build, BSONTYPE_REGEX, key, pattern.size + options.size + 2);

    if (at == NULL)
        return;
    if (pattern.size > 0)
        memcpy(at, pattern.data, pattern.size);
    at[pattern.size] = 0;
    at += pattern.size + 1;
    if (options.size > 0)
        memcpy(at, options.data, options.size);
    at[options.size] = 0;
}

void
bsonbuild_element(struct bsonbuild *build, const struct bsonvalue *value)
{
    bsonbuild_put_raw(build, value->key, value->type, value->raw);
}

void
bsonbuild_elements(struct bsonbuild *build, struct bytes document)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    if (build->err != OK)
        return;
    fail(build, bsonwalk_begin(&walk, document));
    while (build->err == OK && bsonwalk_next(&walk, &value))
        bsonbuild_put_raw(build, value.key, value.type, value.raw);
    if (build->err == OK)
        fail(build, bsonwalk_end(&walk));
}

/* Sorted copies.  Members are sorted by name, those of one name stay in their order. */

static int
compare_members(const void *a, const void *b)
{
    const struct bsonvalue *left = a, *right = b;
    int order = bytes_compare(left->key, right->key);

    return order != 0 ? order
                      : (left->key.data > right->key.data) - (left->key.data < right->key.data);
}

static void
put_sorted(struct bsonbuild *build, const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue item;

    if (value->type == BSONTYPE_DOCUMENT) {
        bsonbuild_open(build, value->key, false);
        if (build->err != OK)
            return;
        bsonbuild_elements_sorted(build, value->raw);
        bsonbuild_close(build, false);
    } else if (value->type == BSONTYPE_ARRAY) {
        bsonbuild_open(build, value->key, true);
        if (build->err != OK)
            return;
        fail(build, bsonwalk_begin(&walk, value->raw));
        while (build->err == OK && bsonwalk_next(&walk, &item))
            put_sorted(build, &item);
        if (build->err == OK)
            fail(build, bsonwalk_end(&walk));
        bsonbuild_close(build, true);
    } else
        bsonbuild_put_raw(build, value->key, value->type, value->raw);
}

/* Recursion is bounded: bsonbuild_open fails at BSONVALUE_DEPTH_MAX. */
void
bsonbuild_elements_sorted(struct bsonbuild *build, struct bytes document)
{
    struct bsonvalue few[16], *members = few;
    struct bsonvalue value;
    size_t count, filled = 0;
    struct bsonwalk walk;

    if (build->err != OK)
        return;
    fail(build, bsonwalk_begin(&walk, document));
    if (build->err != OK)
        return;
    count = bsonwalk_count(document);
    if (count > sizeof few / sizeof few[0]) {
        members = malloc(count * sizeof *members);
        if (members == NULL) {
            fail(build, err_set(ERR_MEMORY, "could not allocate %zu members", count));
            return;
        }
    }
    while (bsonwalk_next(&walk, &value)) {
        invariant(filled < count);
        members[filled++] = value;
    }
    fail(build, bsonwalk_end(&walk));
    qsort(members, count, sizeof *members, compare_members);
    for (size_t i = 0; i < count && build->err == OK; i++)
        put_sorted(build, &members[i]);
    if (members != few)
        free(members);
}
