/*
 * json_call.c - one request of the JSON-lines language while it is being answered.
 */
#include "backend/command/json_call.h"

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"

#define DATABASE_NAME_MAX  63
#define NAMESPACE_SIZE_MAX 255

bool
json_call_member(const struct json_call *call, const char *name, struct bsonvalue *value)
{
    return bsonwalk_get(call->command, name, value) && value->type != BSONTYPE_NULL;
}

bool
json_call_flag(const struct json_call *call, const char *name, bool otherwise)
{
    struct bsonvalue value;

    return json_call_member(call, name, &value) ? bsonvalue_bool(&value) : otherwise;
}

int64_t
json_call_number(const struct json_call *call, const char *name, int64_t otherwise)
{
    struct bsonvalue value;
    int64_t number;

    if (json_call_member(call, name, &value) && bsonvalue_to_int64(&value, false, &number))
        return number;
    return otherwise;
}

err_t
json_call_refuse(struct json_call *call, const char *name)
{
    struct bsonvalue value;

    if (!json_call_member(call, name, &value))
        return OK;
    return json_call_say(
        call, ERR_COMMAND_NOT_SUPPORTED, "Query execution error: %s is not offered yet", name);
}

static struct bytes
text_member(const struct json_call *call, const char *member)
{
    struct bsonvalue value;

    return json_call_member(call, member, &value) ? bsonvalue_string(&value)
                                                  : (struct bytes){ NULL, 0 };
}

err_t
json_call_name(struct json_call *call, const char *member, const char **name)
{
    struct bytes text = text_member(call, member);

    *name = NULL;
    if (text.size == 0 || text.size > CATALOG_NAME_MAX || memchr(text.data, 0, text.size) != NULL)
        return OK;
    *name = arena_string(call->op->arena, text);
    return *name != NULL ? OK : ERR_MEMORY;
}

static bool
has_any(struct bytes text, const char *letters, size_t count)
{
    for (size_t i = 0; i < text.size; i++)
        if (memchr(letters, text.data[i], count) != NULL)
            return true;
    return false;
}

err_t
json_call_check_database(struct json_call *call, struct bytes name)
{
    static const char forbidden[] = "/\\.\"$*<>:|? "; /* and the NUL at its end */
    const char *reason = NULL;

    if (name.size == 0)
        reason = "a database needs a name";
    else if (name.size > DATABASE_NAME_MAX)
        reason = "a database's name has at most 63 bytes";
    else if (has_any(name, forbidden, sizeof forbidden))
        reason = "a database's name has no / \\ . \" $ * < > : | ?, blank or NUL";
    return reason == NULL ? OK
                          : json_call_say(call, ERR_INVALID_NAMESPACE, "Invalid name: %s", reason);
}

err_t
json_call_check_collection(struct json_call *call, struct bytes database, struct bytes name)
{
    const char *reason = NULL;

    TRY_RETURN(json_call_check_database(call, database));
    if (name.size == 0)
        reason = "a collection needs a name";
    else if (has_any(name, "$", 2))
        reason = "a collection's name has no $ or NUL";
    else if (name.size >= 7 && memcmp(name.data, "system.", 7) == 0)
        reason = "a collection's name does not begin with system.";
    else if (database.size + 1 + name.size > NAMESPACE_SIZE_MAX)
        reason = "database and collection have at most 255 bytes together";
    return reason == NULL ? OK
                          : json_call_say(call, ERR_INVALID_NAMESPACE, "Invalid name: %s", reason);
}

static err_t
missing(struct json_call *call, const char *what, struct bytes name)
{
    bool database = what[0] == 'D';

    return json_call_say(call, database ? ERR_DATABASE_NOT_FOUND : ERR_NAMESPACE_NOT_FOUND,
        "%s not found: %.*s", what, (int)name.size, (const char *)name.data);
}

/* Within a statement. */
static err_t
look(struct json_call *call, bool *database_there, bool *collection_there)
{
    const struct catalog_collection *collection = NULL;
    const struct verb_ns *ns = &call->ns;

    *database_there = *collection_there = false;
    if (ns->database == NULL)
        return OK;
    if (ns->collection != NULL)
        TRY_RETURN(
            catalog_find(call->op, NULL, ns->tenant, ns->database, ns->collection, &collection));
    *database_there = *collection_there = collection != NULL;
    if (collection == NULL)
        return catalog_database_exists(call->op, NULL, ns->tenant, ns->database, database_there);
    return OK;
}

err_t
json_call_resolve(struct json_call *call, enum json_call_access access, bool *there)
{
    struct bytes database = text_member(call, "database");
    struct bytes collection = text_member(call, "collection");
    bool collection_there;
    err_t err;

    call->ns.tenant = call->tenant;
    TRY_RETURN(json_call_name(call, "database", &call->ns.database));
    TRY_RETURN(json_call_name(call, "collection", &call->ns.collection));
    *there = true;
    if (access == JSON_CALL_MAKE)
        return json_call_check_collection(call, database, collection);
    catalog_enter();
    err = look(call, there, &collection_there);
    catalog_leave();
    if (err != OK || collection_there)
        return err;
    if (*there)
        return missing(call, "Collection", collection);
    return access == JSON_CALL_CHANGE ? missing(call, "Database", database) : OK;
}

err_t
json_call_database(struct json_call *call, const char *member, bool *there)
{
    err_t err;

    call->ns.tenant = call->tenant;
    *there = false;
    TRY_RETURN(json_call_name(call, member, &call->ns.database));
    if (call->ns.database == NULL)
        return OK;
    catalog_enter();
    err = catalog_database_exists(call->op, NULL, call->tenant, call->ns.database, there);
    catalog_leave();
    return err;
}

struct verb_write
json_call_write(const struct json_call *call)
{
    return (struct verb_write){ .durable = json_call_flag(call, "durable", true) };
}

err_t
json_call_put_pair(struct json_call *call, const char *key, struct bytes value)
{
    TRY_RETURN(buf_printf(call->out, "{\"%s\":", key));
    TRY_RETURN(jsonprint_string(call->out, value));
    return buf_append_byte(call->out, '}');
}
