/*
 * access.c - who may do what.
 *
 * INVARIANTS
 *   A1  Whatever is not permitted by a table below is denied: an unknown role, scope or action
 *       permits nothing.
 *   A2  The check looks at the user's record alone, never at what a token claims.
 */
#include "backend/auth/access.h"

#include <string.h>

#include "base/doc/bsonwalk.h"

#define BIT(action)  (1u << (action))
#define PERMITS_DATA (BIT(ACCESS_READ) | BIT(ACCESS_WRITE))

static const struct {
    const char *name;
    unsigned permits; /* BIT of each action */
} roles[ACCESS_ROLE_COUNT] = {
    [ACCESS_SERVER_ADMIN] = { "server_admin", BIT(ACCESS_ACTION_COUNT) - 1 },
    [ACCESS_TENANT_ADMIN] = { "tenant_admin",
        (BIT(ACCESS_ACTION_COUNT) - 1) & ~BIT(ACCESS_MANAGE_SERVER) },
    [ACCESS_DB_ADMIN] = { "db_admin", PERMITS_DATA | BIT(ACCESS_ADMIN) },
    [ACCESS_READ_WRITE] = { "read_write", PERMITS_DATA },
    [ACCESS_READ_ONLY] = { "read_only", BIT(ACCESS_READ) },
    [ACCESS_CLUSTER_PEER] = { "cluster_peer", 0 },
};

static const char *const action_name[ACCESS_ACTION_COUNT] = {
    [ACCESS_AUTHENTICATED] = "Authenticated",
    [ACCESS_READ] = "Read",
    [ACCESS_WRITE] = "Write",
    [ACCESS_ADMIN] = "Admin",
    [ACCESS_MANAGE_DATABASES] = "ManageDatabases",
    [ACCESS_MANAGE_USERS] = "ManageUsers",
    [ACCESS_MANAGE_SERVER] = "ManageServer",
};

/* How a kind of place is called in BSON and in text, and its names there. */
static const struct {
    const char *type, *text, *database_key, *collection_key;
} kinds[ACCESS_KIND_COUNT] = {
    [ACCESS_SERVER] = { "server", "Server", NULL, NULL },
    [ACCESS_TENANT] = { "tenant", "Tenant", NULL, NULL },
    [ACCESS_ALL_DATABASES] = { "all_databases", "AllDatabases", NULL, NULL },
    [ACCESS_DATABASE] = { "database", "Database", "name", NULL },
    [ACCESS_ALL_COLLECTIONS] = { "all_collections", "AllCollections", "database", NULL },
    [ACCESS_COLLECTION] = { "collection", "Collection", "database", "collection" },
};

static bool
covers(const struct access_place *scope, const struct access_place *place)
{
    bool same_database = strcmp(scope->database, place->database) == 0;

    switch (scope->kind) {
    case ACCESS_SERVER:
        return true;
    case ACCESS_TENANT:
        return place->kind != ACCESS_SERVER;
    case ACCESS_ALL_DATABASES:
        return place->kind != ACCESS_SERVER && place->kind != ACCESS_TENANT;
    case ACCESS_DATABASE:
        return same_database &&
               (place->kind == ACCESS_DATABASE || place->kind == ACCESS_ALL_COLLECTIONS ||
                   place->kind == ACCESS_COLLECTION);
    case ACCESS_ALL_COLLECTIONS:
        return same_database &&
               (place->kind == ACCESS_ALL_COLLECTIONS || place->kind == ACCESS_COLLECTION);
    case ACCESS_COLLECTION:
        return same_database && place->kind == ACCESS_COLLECTION &&
               strcmp(scope->collection, place->collection) == 0;
    case ACCESS_KIND_COUNT:
        break;
    }
    return false; /* A1 */
}

bool
access_permits(const struct access_principal *principal, enum access_action action,
    const struct access_place *place)
{
    if (action == ACCESS_AUTHENTICATED)
        return true;
    for (size_t i = 0; i < principal->grant_count; i++) {
        const struct access_grant *grant = &principal->grant[i];

        if ((roles[grant->role].permits & BIT(action)) != 0 && covers(&grant->scope, place))
            return true;
    }
    return false;
}

bool
access_touches_database(const struct access_principal *principal, const char *database)
{
    const struct access_place whole = { ACCESS_DATABASE, database, "" };

    for (size_t i = 0; i < principal->grant_count; i++) {
        const struct access_place *scope = &principal->grant[i].scope;

        if (covers(scope, &whole) || covers(&whole, scope))
            return true;
    }
    return false;
}

static err_t
print_quoted(struct buf *out, const char *name)
{
    TRY_RETURN(buf_append_byte(out, '"'));
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\')
            TRY_RETURN(buf_append_byte(out, '\\'));
        TRY_RETURN(buf_append_byte(out, (uint8_t)*name));
    }
    return buf_append_byte(out, '"');
}

err_t
access_print(struct buf *out, const struct access_place *place)
{
    TRY_RETURN(buf_append_text(out, kinds[place->kind].text));
    if (kinds[place->kind].database_key == NULL)
        return OK;
    TRY_RETURN(buf_printf(out, " { %s: ", kinds[place->kind].database_key));
    TRY_RETURN(print_quoted(out, place->database));
    if (kinds[place->kind].collection_key != NULL) {
        TRY_RETURN(buf_printf(out, ", %s: ", kinds[place->kind].collection_key));
        TRY_RETURN(print_quoted(out, place->collection));
    }
    return buf_append_text(out, " }");
}

err_t
access_explain(struct buf *out, const struct access_principal *principal, enum access_action action,
    const struct access_place *place)
{
    TRY_RETURN(buf_printf(out, "access denied: %s on ", action_name[action]));
    TRY_RETURN(access_print(out, place));
    return buf_printf(out, " denied for user '%s'", principal->name);
}

const char *
access_role_name(enum access_role role)
{
    return roles[role].name;
}

bool
access_role_named(struct bytes name, enum access_role *role)
{
    for (unsigned i = 0; i < ACCESS_ROLE_COUNT; i++)
        if (bytes_is(name, roles[i].name)) {
            *role = (enum access_role)i;
            return true;
        }
    return false;
}

void
access_build(
    struct bsonbuild *build, const char *key, const struct access_grant *grant, size_t count)
{
    bsonbuild_array_begin(build, key);
    for (size_t i = 0; i < count; i++) {
        const struct access_place *scope = &grant[i].scope;

        bsonbuild_document_begin(build, NULL);
        bsonbuild_text(build, "role", roles[grant[i].role].name);
        bsonbuild_document_begin(build, "scope");
        bsonbuild_text(build, "type", kinds[scope->kind].type);
        if (kinds[scope->kind].database_key != NULL)
            bsonbuild_text(build, kinds[scope->kind].database_key, scope->database);
        if (kinds[scope->kind].collection_key != NULL)
            bsonbuild_text(build, kinds[scope->kind].collection_key, scope->collection);
        bsonbuild_document_end(build);
        bsonbuild_document_end(build);
    }
    bsonbuild_array_end(build);
}

/* A name in a scope; one that holds a NUL can name nothing. */
static err_t
read_name(struct arena *arena, struct bytes scope, const char *key, const char **name)
{
    struct bsonvalue value;
    struct bytes text;

    *name = "";
    if (key == NULL)
        return OK;
    if (!bsonwalk_get(scope, key, &value) || value.type != BSONTYPE_STRING)
        return err_set(ERR_CORRUPT, "a scope without its %s", key);
    text = bsonvalue_string(&value);
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL)
        return err_set(ERR_CORRUPT, "a scope's %s holds a NUL", key);
    *name = arena_string(arena, text);
    return *name != NULL ? OK : ERR_MEMORY;
}

static err_t
read_scope(struct arena *arena, struct bytes scope, struct access_place *place)
{
    struct bsonvalue type;

    if (!bsonwalk_get(scope, "type", &type) || type.type != BSONTYPE_STRING)
        return err_set(ERR_CORRUPT, "a scope without a type");
    for (unsigned i = 0; i < ACCESS_KIND_COUNT; i++)
        if (bytes_is(bsonvalue_string(&type), kinds[i].type)) {
            place->kind = (enum access_kind)i;
            TRY_RETURN(read_name(arena, scope, kinds[i].database_key, &place->database));
            return read_name(arena, scope, kinds[i].collection_key, &place->collection);
        }
    return err_set(ERR_CORRUPT, "a scope of an unknown type");
}

err_t
access_read(
    struct arena *arena, struct bytes array, const struct access_grant **grant, size_t *count)
{
    struct access_grant *grants = arena_alloc(arena, (bsonwalk_count(array) + 1) * sizeof *grants);
    struct bsonvalue element, role, scope;
    struct bsonwalk walk;
    size_t done = 0;

    if (grants == NULL)
        return ERR_MEMORY;
    TRY_RETURN(bsonwalk_begin(&walk, array));
    while (bsonwalk_next(&walk, &element)) {
        if (element.type != BSONTYPE_DOCUMENT || !bsonwalk_get(element.raw, "role", &role) ||
            role.type != BSONTYPE_STRING || !bsonwalk_get(element.raw, "scope", &scope) ||
            scope.type != BSONTYPE_DOCUMENT)
            return err_set(ERR_CORRUPT, "a list of roles is not one");
        if (!access_role_named(bsonvalue_string(&role), &grants[done].role))
            continue; /* A1 */
        TRY_RETURN(read_scope(arena, scope.raw, &grants[done].scope));
        done++;
    }
    *grant = grants;
    *count = done;
    return bsonwalk_end(&walk);
}
