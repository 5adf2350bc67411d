/*
 * benchdoc.c - the documents of `gneiss bench`.
 */
#include "tools/benchdoc.h"

#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"

#define AGE_SIZE 2

static const char *const tags[] = { "granite", "marble", "slate", "basalt" };
static const char words[] =
    "under pressure and heat the old rock turned slowly into bands of light "
    "and dark mineral, ";

void
benchdoc_print_name(uint64_t name, uint8_t digits[BENCHDOC_NAME_SIZE])
{
    for (size_t i = BENCHDOC_NAME_SIZE; i-- > 0; name /= 10)
        digits[i] = (uint8_t)('0' + name % 10);
}

static bool
read_name(const uint8_t digits[BENCHDOC_NAME_SIZE], uint64_t *name)
{
    *name = 0;
    for (size_t i = 0; i < BENCHDOC_NAME_SIZE; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        *name = *name * 10 + (uint64_t)(digits[i] - '0');
    }
    return true;
}

static void
print_age(uint8_t age, uint8_t digits[AGE_SIZE])
{
    digits[0] = (uint8_t)('0' + age / 10 % 10);
    digits[1] = (uint8_t)('0' + age % 10);
}

/* As many bytes of text as the document's text still lacks. */
static err_t
append_words(struct buf *out, size_t size)
{
    for (size_t put = 0; put < size;) {
        size_t most = sizeof words - 1;
        size_t part = size - put < most ? size - put : most;

        TRY_RETURN(buf_append(out, words, part));
        put += part;
    }
    return OK;
}

static err_t
make_json(struct benchdoc *doc, size_t size, struct bytes *text)
{
    struct buf *json = &doc->json;
    size_t at;

    TRY_RETURN(buf_append_text(json, "{\"active\":true,\"age\":"));
    doc->age_at = json->size;
    TRY_RETURN(buf_append_text(json, "42,\"name\":\"" BENCHDOC_NAME_START));
    doc->name_at = json->size;
    TRY_RETURN(buf_append_text(json, "000000000000\""));
    *text = (struct bytes){ NULL, 0 };
    if (size == 0)
        return buf_append_byte(json, '}');
    TRY_RETURN(buf_append_text(json, ",\"tags\":["));
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        TRY_RETURN(buf_printf(json, "%s\"%s\"", i > 0 ? "," : "", tags[i]));
    TRY_RETURN(buf_append_text(json, "],\"text\":\""));
    at = json->size;
    TRY_RETURN(append_words(json, size > at + 2 ? size - at - 2 : 1));
    *text = (struct bytes){ json->data + at, json->size - at };
    TRY_RETURN(buf_append_text(json, "\"}"));
    text->data = json->data + at;
    return OK;
}

static size_t
place_of(struct bytes document, const char *key)
{
    struct bsonvalue value = { .raw = document };

    (void)bsonwalk_get(document, key, &value); /* it was just put there */
    return (size_t)(value.raw.data - document.data);
}

static err_t
make_bson(struct benchdoc *doc, struct bytes text)
{
    struct bsonbuild build;
    struct bytes document;

    bsonbuild_begin(&build, &doc->bson);
    bsonbuild_int64(&build, "_id", 0);
    bsonbuild_bool(&build, "active", true);
    bsonbuild_int32(&build, "age", 0);
    bsonbuild_text(&build, "name", BENCHDOC_NAME_START "000000000000");
    if (text.size > 0) {
        bsonbuild_array_begin(&build, "tags");
        for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
            bsonbuild_text(&build, NULL, tags[i]);
        bsonbuild_array_end(&build);
        bsonbuild_string(&build, "text", text);
    }
    TRY_RETURN(bsonbuild_end(&build, &document));
    doc->bson_id_at = place_of(document, "_id");
    doc->bson_age_at = place_of(document, "age");
    doc->bson_name_at = place_of(document, "name") + 4 + strlen(BENCHDOC_NAME_START);
    return OK;
}

err_t
benchdoc_init(struct benchdoc *doc, size_t size)
{
    struct bytes text;

    memset(doc, 0, sizeof *doc);
    doc->json = doc->bson = buf_init(2 * BENCHDOC_SIZE_MOST);
    TRY_RETURN(make_json(doc, size, &text));
    return make_bson(doc, text);
}

void
benchdoc_fini(struct benchdoc *doc)
{
    buf_fini(&doc->json);
    buf_fini(&doc->bson);
}

err_t
benchdoc_append_members(const struct benchdoc *doc, struct buf *out, uint64_t name, uint8_t age)
{
    size_t at = out->size;

    TRY_RETURN(buf_append(out, doc->json.data + 1, doc->json.size - 1));
    print_age(age, out->data + at + doc->age_at - 1);
    benchdoc_print_name(name, out->data + at + doc->name_at - 1);
    return OK;
}

err_t
benchdoc_append_bson(
    const struct benchdoc *doc, struct buf *out, uint64_t id, uint64_t name, uint8_t age)
{
    int32_t age_word = age;
    size_t at = out->size;

    TRY_RETURN(buf_append(out, doc->bson.data, doc->bson.size));
    memcpy(out->data + at + doc->bson_id_at, &id, sizeof id);
    memcpy(out->data + at + doc->bson_age_at, &age_word, sizeof age_word);
    benchdoc_print_name(name, out->data + at + doc->bson_name_at);
    return OK;
}

/* Equal from `from` to `end`? */
static bool
same(const uint8_t *a, const uint8_t *b, size_t from, size_t end)
{
    return memcmp(a + from, b + from, end - from) == 0;
}

bool
benchdoc_match_members(const struct benchdoc *doc, struct bytes text, uint64_t *name)
{
    const uint8_t *ours = doc->json.data + 1;
    size_t size = doc->json.size - 1, age_at = doc->age_at - 1, name_at = doc->name_at - 1;

    return text.size >= size && same(ours, text.data, 0, age_at) &&
           same(ours, text.data, age_at + AGE_SIZE, name_at) &&
           same(ours, text.data, name_at + BENCHDOC_NAME_SIZE, size) &&
           read_name(text.data + name_at, name);
}

bool
benchdoc_match_bson(const struct benchdoc *doc, struct bytes document, uint64_t *id, uint64_t *name)
{
    const uint8_t *ours = doc->bson.data, *data = document.data;

    if (document.size != doc->bson.size || !same(ours, data, 0, doc->bson_id_at) ||
        !same(ours, data, doc->bson_id_at + sizeof *id, doc->bson_age_at) ||
        !same(ours, data, doc->bson_age_at + sizeof(int32_t), doc->bson_name_at) ||
        !same(ours, data, doc->bson_name_at + BENCHDOC_NAME_SIZE, document.size))
        return false;
    memcpy(id, data + doc->bson_id_at, sizeof *id);
    return read_name(data + doc->bson_name_at, name);
}
