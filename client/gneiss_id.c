/*
 * gneiss_id.c - values of _id.
 */
#include <string.h>

#include "base/doc/bsonwalk.h"
#include "client/gneiss.h"

struct gneiss_id
gneiss_id_value(unsigned char type, const void *payload, size_t size)
{
    struct gneiss_id id = { .data = payload, .size = size, .type = type };

    return id;
}

struct gneiss_id
gneiss_id_int64(int64_t number)
{
    uint64_t bits = (uint64_t)number;

    /* Byte by byte the compiler stores it as one number, where the caller wants it. */
    return (struct gneiss_id){ .size = sizeof number,
        .type = BSONTYPE_INT64,
        .room = { (uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24),
            (uint8_t)(bits >> 32), (uint8_t)(bits >> 40), (uint8_t)(bits >> 48),
            (uint8_t)(bits >> 56) } };
}

struct gneiss_id
gneiss_id_text(const char *text, size_t size)
{
    struct gneiss_id id = { .data = text, .size = size };

    return id;
}

struct gneiss_id
gneiss_id_string(const char *text)
{
    return gneiss_id_text(text, strlen(text));
}

struct gneiss_id
gneiss_id_oid(const unsigned char oid[12])
{
    struct gneiss_id id = { .size = 12, .type = BSONTYPE_OBJECTID };

    memcpy(id.room, oid, 12);
    return id;
}

struct gneiss_id
gneiss_id_uuid(const unsigned char uuid[16])
{
    struct gneiss_id id = { .size = 21, .type = BSONTYPE_BINARY };
    const int32_t size = 16;

    memcpy(id.room, &size, sizeof size);
    id.room[4] = BSONSUBTYPE_UUID;
    memcpy(id.room + 5, uuid, 16);
    return id;
}

bool
gneiss_id_of(struct gneiss_bson document, struct gneiss_id *id)
{
    struct bsonvalue value;

    if (!bsonwalk_get((struct bytes){ document.data, document.size }, "_id", &value))
        return false;
    *id = gneiss_id_value(value.type, value.raw.data, value.raw.size);
    return true;
}
