/*
 * access.h - who may do what: roles, scopes, and the one check before every command.
 *
 * A *grant* is a role within a scope.  A command is an *action* on a *place*.  It is permitted if
 * one grant's role permits the action and its scope covers the place.  Scopes lie inside the user's
 * own tenant, but for the server's.  No locks; names are NUL-terminated and belong to the caller.
 */
#ifndef BACKEND_AUTH_ACCESS_H
#define BACKEND_AUTH_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/doc/bsonbuild.h"

enum access_action {
    ACCESS_AUTHENTICATED, /* whoever has logged in */
    ACCESS_READ,
    ACCESS_WRITE,
    ACCESS_ADMIN,
    ACCESS_MANAGE_DATABASES,
    ACCESS_MANAGE_USERS,
    ACCESS_MANAGE_SERVER,
    ACCESS_ACTION_COUNT
};

enum access_role {
    ACCESS_SERVER_ADMIN,
    ACCESS_TENANT_ADMIN,
    ACCESS_DB_ADMIN,
    ACCESS_READ_WRITE,
    ACCESS_READ_ONLY,
    ACCESS_CLUSTER_PEER,
    ACCESS_ROLE_COUNT
};

enum access_kind {
    ACCESS_SERVER,
    ACCESS_TENANT,
    ACCESS_ALL_DATABASES,
    ACCESS_DATABASE,
    ACCESS_ALL_COLLECTIONS,
    ACCESS_COLLECTION,
    ACCESS_KIND_COUNT
};

/* A scope, or what a command works on. */
struct access_place {
    enum access_kind kind;
    const char *database;   /* DATABASE, ALL_COLLECTIONS, COLLECTION; "" otherwise */
    const char *collection; /* COLLECTION; "" otherwise */
};

struct access_grant {
    enum access_role role;
    struct access_place scope;
};

/* Who asks: as the user's record is now, not as a token once said. */
struct access_principal {
    const char *tenant, *name;
    const struct access_grant *grant;
    size_t grant_count;
};

bool access_permits(const struct access_principal *principal, enum access_action action,
    const struct access_place *place);

/* Does some grant's scope cover the database, or lie inside it? */
bool access_touches_database(const struct access_principal *principal, const char *database);

/* Append "access denied: Read on Collection { … } denied for user 'ro'".  Errors: ERR_MEMORY. */
err_t access_explain(struct buf *out, const struct access_principal *principal,
    enum access_action action, const struct access_place *place) MUST_CHECK;

/* Append a scope as people read it: Server, Database { name: "d1" }.  Errors: ERR_MEMORY. */
err_t access_print(struct buf *out, const struct access_place *place) MUST_CHECK;

const char *access_role_name(enum access_role role);
bool access_role_named(struct bytes name, enum access_role *role);

/* Grants as BSON, in users' records and (printed as JSON) in tokens:
   [{role: "read_write", scope: {type: "database", name: "mydb"}}]. */
void access_build(
    struct bsonbuild *build, const char *key, const struct access_grant *grant, size_t count);
/* The other way; grants in the arena.  Errors: ERR_CORRUPT where it is no such array; unknown roles
   are left out, they permit nothing here. */
err_t access_read(struct arena *arena, struct bytes array, const struct access_grant **grant,
    size_t *count) MUST_CHECK;

#endif
