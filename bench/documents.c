/*
 * documents.c - one form, filled in with number, name, age and a flag.
 */
#include "bench/documents.h"

#include <stdio.h>
#include <string.h>

#include "bench/die.h"

#define NAME_AT   27 /* the eight characters of it */
#define ACTIVE_AT 53
#define SPREAD    7919 /* a prime: neighbours in _id are strangers in age */

static const char words[] = "granite gneiss schist marble slate quartz feldspar mica basalt chert ";

static size_t
put(uint8_t *out, size_t at, const void *data, size_t size)
{
    memcpy(out + at, data, size);
    return at + size;
}

static size_t
put_name(uint8_t *out, size_t at, uint8_t type, const char *name)
{
    out[at++] = type;
    return put(out, at, name, strlen(name) + 1);
}

static size_t
put_text(uint8_t *out, size_t at, const char *name, size_t length)
{
    int32_t size = (int32_t)length + 1;

    at = put_name(out, at, 0x02, name);
    at = put(out, at, &size, sizeof size);
    for (size_t i = 0; i < length; i++)
        out[at++] = (uint8_t)words[i % (sizeof words - 1)];
    out[at++] = '\0';
    return at;
}

static size_t
put_tags(uint8_t *out, size_t at)
{
    static const char *const places[] = { "0", "1", "2", "3", "4" };
    size_t start = at = put_name(out, at, 0x04, "tags");
    int32_t size;

    at += sizeof size;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        at = put_text(out, at, places[i], 4 + i);
    out[at++] = '\0';
    size = (int32_t)(at - start);
    memcpy(out + start, &size, sizeof size);
    return at;
}

void
documents_init(struct documents *documents, const char *kind, uint64_t count)
{
    size_t whole = strcmp(kind, "medium") == 0 ? 500 : strcmp(kind, "large") == 0 ? 4096 : 0;
    uint8_t *out = documents->form;
    size_t at = sizeof(int32_t);
    int32_t size;

    if (whole == 0 && strcmp(kind, "small") != 0)
        die("there are small, medium and large documents, none that are '%s'", kind);
    memset(documents, 0, sizeof *documents);
    documents->ages = (uint32_t)(count / DOCUMENTS_PER_AGE);
    at = put_name(out, at, 0x12, "_id") + sizeof(int64_t);
    at = put_text(out, at, "name", 8);
    at = put_name(out, at, 0x10, "age") + sizeof(int32_t);
    at = put_name(out, at, 0x08, "active") + 1;
    if (whole != 0) {
        at = put_tags(out, at);
        at = put_text(out, at, "text", whole - at - 12);
    }
    out[at++] = '\0';
    if (whole != 0 && at != whole)
        die("a %s document has %zu bytes in the place of %zu", kind, at, whole);
    size = (int32_t)at;
    memcpy(out, &size, sizeof size);
    documents->size = at;
}

int32_t
documents_age(const struct documents *documents, int64_t id)
{
    return documents->ages == 0 ? 0 : (int32_t)((uint64_t)id * SPREAD % documents->ages);
}

void
documents_make(const struct documents *documents, int64_t id, void *out)
{
    uint8_t *to = out;
    int32_t age = documents_age(documents, id);
    uint64_t rest = (uint64_t)id;

    memcpy(to, documents->form, documents->size);
    memcpy(to + DOCUMENTS_ID_AT, &id, sizeof id);
    to[NAME_AT] = 'u';
    for (unsigned i = 7; i > 0; i--, rest /= 10)
        to[NAME_AT + i] = (uint8_t)('0' + rest % 10);
    memcpy(to + DOCUMENTS_AGE_AT, &age, sizeof age);
    to[ACTIVE_AT] = (uint8_t)(id & 1);
}
