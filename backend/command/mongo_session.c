/*
 * mongo_session.c - logical sessions, as far as they matter yet: cursors belong to them.
 */
#include "backend/command/mongo_fields.h"

#include "backend/command/cursors.h"
#include "base/doc/bsonwalk.h"
#include "base/ids.h"

#define UUID_SIZE 16

/* The key of {id: UUID}; 0: it is none. */
static uint64_t
key_of(struct bytes lsid)
{
    struct bsonvalue id;
    struct bytes uuid;
    uint8_t subtype;
    uint64_t key;

    if (!bsonwalk_get(lsid, "id", &id) || id.type != BSONTYPE_BINARY)
        return 0;
    uuid = bsonvalue_binary(&id, &subtype);
    if (uuid.size != UUID_SIZE)
        return 0;
    key = bsonvalue_load64(uuid.data) ^ bsonvalue_load64(uuid.data + 8);
    return key + (key == 0);
}

err_t
mongo_session_end(struct mongo_request *request, struct bsonbuild *reply)
{
    struct bsonwalk walk;
    struct bsonvalue lsid;

    (void)reply;
    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    if (request->value.type != BSONTYPE_ARRAY)
        return err_set(
            ERR_TYPE_MISMATCH, "%s wants an array of sessions", (const char *)request->name.data);
    TRY_RETURN(bsonwalk_begin(&walk, request->value.raw));
    while (bsonwalk_next(&walk, &lsid))
        if (lsid.type == BSONTYPE_DOCUMENT)
            cursors_end_owner(key_of(lsid.raw));
    return OK;
}

err_t
mongo_session_start(struct mongo_request *request, struct bsonbuild *reply)
{
    struct uuid uuid = ids_uuid();

    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    bsonbuild_document_begin(reply, "id");
    bsonbuild_binary(reply, "id", BSONSUBTYPE_UUID, ((struct bytes){ uuid.bytes, UUID_SIZE }));
    bsonbuild_document_end(reply);
    bsonbuild_int32(reply, "timeoutMinutes", MONGO_SESSION_MINUTES);
    return OK;
}

err_t
mongo_session_refresh(struct mongo_request *request, struct bsonbuild *reply)
{
    (void)reply;
    return mongo_fields_parse(request, NULL, NULL);
}
