/*
 * users.c - users' records.
 *
 * Form of a row (kind "user", name "tenant/name"):
 *     {tenant, name, password: "$argon2id$…", scram256: {salt, iterations, storedKey, serverKey},
 *      roles: [{role, scope}], enabled, created_at: date}
 * and of the time of the last login, by itself so that noting it can undo no change of the record
 * (kind "login", same name): {at: date}.
 *
 * INVARIANTS
 *   U1  A password is compared while nothing is held: no statement, no transaction, no lock.
 *   U2  An unknown user, a disabled one and a wrong password cost the same and answer the same.
 */
#include "backend/auth/users.h"

#include <argon2.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/log.h"
#include "base/rand.h"
#include "storage/collection/catalog.h"

#define ARGON_ROUNDS     2
#define ARGON_MEMORY_KIB 19456
#define ARGON_LANES      1
#define ARGON_SALT       16
#define ARGON_HASH       32
#define NOTE_EVERY_MS    ((int64_t)3600 * 1000)

/* Of a password that nobody knows. */
static const char dummy_hash[] = "$argon2id$v=19$m=19456,t=2,p=1$hTpGhMEm6u8NT66acdv1AQ$"
                                 "Fv3sHGG3kXMqSxcSDT5BXzVGynWgXdSJcUBWT621KZ8";

/* "tenant/name" in the arena; NULL with *usable false: no user can be called so. */
static err_t
row_name(struct arena *arena, struct bytes tenant, struct bytes name, char **text, bool *usable)
{
    *text = NULL;
    *usable = tenant.size > 0 && name.size > 0 && tenant.size <= CATALOG_NAME_MAX / 2 &&
              name.size <= USERS_NAME_MAX && memchr(tenant.data, '\0', tenant.size) == NULL &&
              memchr(tenant.data, '/', tenant.size) == NULL &&
              memchr(name.data, '\0', name.size) == NULL;
    if (!*usable)
        return OK;
    *text = arena_printf(arena, "%.*s/%.*s", (int)tenant.size, (const char *)tenant.data,
        (int)name.size, (const char *)name.data);
    return *text != NULL ? OK : ERR_MEMORY;
}

/* ---------------------------------------------------------------- the record as BSON */

static err_t
damaged(const char *what)
{
    return err_set(ERR_CORRUPT, "a user's record has no good %s", what);
}

static err_t
read_text(struct arena *arena, struct bytes record, const char *key, const char **text)
{
    struct bsonvalue value;

    if (!bsonwalk_get(record, key, &value) || value.type != BSONTYPE_STRING)
        return damaged(key);
    *text = arena_string(arena, bsonvalue_string(&value));
    return *text != NULL ? OK : ERR_MEMORY;
}

static err_t
read_key(struct bytes scram, const char *key, uint8_t *data, size_t size)
{
    struct bsonvalue value;
    struct bytes binary;
    uint8_t subtype;

    if (!bsonwalk_get(scram, key, &value) || value.type != BSONTYPE_BINARY)
        return damaged(key);
    binary = bsonvalue_binary(&value, &subtype);
    if (binary.size != size)
        return damaged(key);
    memcpy(data, binary.data, size);
    return OK;
}

static err_t
read_scram(struct bytes scram, struct users_user *user)
{
    struct bsonvalue value;

    TRY_RETURN(read_key(scram, "salt", user->scram_salt, USERS_SCRAM_SALT));
    TRY_RETURN(read_key(scram, "storedKey", user->scram_stored_key, USERS_SCRAM_KEY));
    TRY_RETURN(read_key(scram, "serverKey", user->scram_server_key, USERS_SCRAM_KEY));
    if (!bsonwalk_get(scram, "iterations", &value) || value.type != BSONTYPE_INT32)
        return damaged("iterations");
    user->scram_rounds = bsonvalue_int32(&value);
    return OK;
}

static err_t
read_record(struct arena *arena, struct bytes record, struct users_user *user)
{
    struct bsonvalue value;
    const char *hash;

    TRY_RETURN(read_text(arena, record, "tenant", &user->principal.tenant));
    TRY_RETURN(read_text(arena, record, "name", &user->principal.name));
    TRY_RETURN(read_text(arena, record, "password", &hash));
    if (strlen(hash) >= sizeof user->hash)
        return damaged("password");
    memcpy(user->hash, hash, strlen(hash) + 1);
    if (!bsonwalk_get(record, "scram256", &value) || value.type != BSONTYPE_DOCUMENT)
        return damaged("scram256");
    TRY_RETURN(read_scram(value.raw, user));
    if (!bsonwalk_get(record, "roles", &value) || value.type != BSONTYPE_ARRAY)
        return damaged("roles");
    TRY_RETURN(access_read(arena, value.raw, &user->principal.grant, &user->principal.grant_count));
    if (!bsonwalk_get(record, "enabled", &value) || value.type != BSONTYPE_BOOL)
        return damaged("enabled");
    user->enabled = bsonvalue_bool(&value);
    if (!bsonwalk_get(record, "created_at", &value) || value.type != BSONTYPE_DATE)
        return damaged("created_at");
    user->created_ms = bsonvalue_int64(&value);
    return OK;
}

static err_t
build_record(struct arena *arena, const struct users_user *user, struct bytes *record)
{
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_text(&build, "tenant", user->principal.tenant);
    bsonbuild_text(&build, "name", user->principal.name);
    bsonbuild_text(&build, "password", user->hash);
    bsonbuild_document_begin(&build, "scram256");
    bsonbuild_binary(&build, "salt", BSONSUBTYPE_GENERIC,
        ((struct bytes){ user->scram_salt, USERS_SCRAM_SALT }));
    bsonbuild_int32(&build, "iterations", user->scram_rounds);
    bsonbuild_binary(&build, "storedKey", BSONSUBTYPE_GENERIC,
        ((struct bytes){ user->scram_stored_key, USERS_SCRAM_KEY }));
    bsonbuild_binary(&build, "serverKey", BSONSUBTYPE_GENERIC,
        ((struct bytes){ user->scram_server_key, USERS_SCRAM_KEY }));
    bsonbuild_document_end(&build);
    access_build(&build, "roles", user->principal.grant, user->principal.grant_count);
    bsonbuild_bool(&build, "enabled", user->enabled);
    bsonbuild_date(&build, "created_at", user->created_ms);
    return bsonbuild_end(&build, record);
}

err_t
users_find(struct op *op, struct txn *txn, struct bytes tenant, struct bytes name,
    struct users_user *user, bool *found)
{
    struct bytes record;
    char *row;
    err_t err;

    TRY_RETURN(row_name(op->arena, tenant, name, &row, found));
    if (!*found)
        return OK;
    catalog_enter();
    err = catalog_get(op, txn, "user", row, &record, found);
    catalog_leave();
    if (err == OK && *found)
        err = read_record(op->arena, record, user);
    return err;
}

err_t
users_put(struct op *op, struct txn *txn, const struct users_user *user)
{
    struct bytes record;
    bool usable;
    char *row;
    err_t err;

    TRY_RETURN(row_name(op->arena, bytes_of(user->principal.tenant), bytes_of(user->principal.name),
        &row, &usable));
    if (!usable)
        return err_set(ERR_BAD_VALUE, "nobody can be called so");
    TRY_RETURN(build_record(op->arena, user, &record));
    catalog_enter();
    err = catalog_put(op, txn, "user", row, record);
    catalog_leave();
    return err;
}

/* ---------------------------------------------------------------- passwords */

/* RFC 5802: SaltedPassword = PBKDF2; StoredKey = H(HMAC(SaltedPassword, "Client Key")). */
static bool
make_scram(struct users_user *user, struct bytes password)
{
    uint8_t salted[USERS_SCRAM_KEY], client[USERS_SCRAM_KEY];
    unsigned size = sizeof client;
    bool made;

    rand_secure(user->scram_salt, sizeof user->scram_salt);
    user->scram_rounds = USERS_SCRAM_ROUNDS;
    made = PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.size, user->scram_salt,
               USERS_SCRAM_SALT, USERS_SCRAM_ROUNDS, EVP_sha256(), sizeof salted, salted) == 1 &&
           HMAC(EVP_sha256(), salted, sizeof salted, (const uint8_t *)"Client Key", 10, client,
               &size) != NULL &&
           HMAC(EVP_sha256(), salted, sizeof salted, (const uint8_t *)"Server Key", 10,
               user->scram_server_key, &size) != NULL;
    if (made)
        (void)SHA256(client, sizeof client, user->scram_stored_key);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client, sizeof client);
    return made;
}

err_t
users_set_password(struct users_user *user, struct bytes password)
{
    uint8_t salt[ARGON_SALT];
    int result;

    if (password.size > USERS_PASSWORD_MAX)
        return err_set(
            ERR_BAD_VALUE, "a password of more than %d bytes cannot be used", USERS_PASSWORD_MAX);
    rand_secure(salt, sizeof salt);
    result = argon2id_hash_encoded(ARGON_ROUNDS, ARGON_MEMORY_KIB, ARGON_LANES, password.data,
        password.size, salt, sizeof salt, ARGON_HASH, user->hash, sizeof user->hash);
    if (result != ARGON2_OK)
        return err_set(ERR_INTERNAL, "could not hash a password: %s", argon2_error_message(result));
    if (!make_scram(user, password))
        return err_set(ERR_INTERNAL, "could not derive the keys of a password");
    return OK;
}

err_t
users_password_is(const struct users_user *user, struct bytes password, bool *right)
{
    const char *hash = user != NULL ? user->hash : dummy_hash;
    int result;

    if (password.size > USERS_PASSWORD_MAX)
        password.size = 0; /* nobody's; what is compared takes the same time */
    result = argon2id_verify(hash, password.data, password.size);
    *right = result == ARGON2_OK && user != NULL && user->enabled && password.size > 0; /* U2 */
    if (result == ARGON2_MEMORY_ALLOCATION_ERROR)
        return err_set(ERR_MEMORY, "could not allocate memory to compare a password");
    return OK;
}

/* Note that somebody has logged in, unless that was noted lately.  A failure is not worth a
   login. */
static err_t
note_login(struct op *op, const struct access_principal *principal)
{
    struct txn *txn = NULL;
    struct bsonbuild build;
    struct bsonvalue at;
    struct bytes record;
    bool found;
    char *row;
    err_t err;

    TRY_RETURN(
        row_name(op->arena, bytes_of(principal->tenant), bytes_of(principal->name), &row, &found));
    catalog_enter();
    TRY(catalog_get(op, NULL, "login", row, &record, &found));
    if (found && bsonwalk_get(record, "at", &at) && at.type == BSONTYPE_DATE &&
        clock_wall_ms() - bsonvalue_int64(&at) < NOTE_EVERY_MS)
        goto out;
    bsonbuild_begin_arena(&build, op->arena);
    bsonbuild_date(&build, "at", clock_wall_ms());
    TRY(bsonbuild_end(&build, &record));
    TRY(txn_begin(op, TXN_READ_COMMITTED, true, &txn));
    err = catalog_put(op, txn, "login", row, record);
    if (err == OK)
        err = txn_commit(op, txn, false);
    else
        txn_abort(op, txn);
out:
    catalog_leave();
    return err;
}

err_t
users_login(struct op *op, struct bytes tenant, struct bytes name, struct bytes password,
    struct users_user *user, bool *right)
{
    bool found;

    *right = false;
    TRY_RETURN(users_find(op, NULL, tenant, name, user, &found));
    TRY_RETURN(users_password_is(found ? user : NULL, password, right)); /* U1 */
    if (*right && note_login(op, &user->principal) != OK)
        log_warn("could not note the time of a login: %s", err_message());
    return OK;
}

err_t
users_any_administrator(struct op *op, struct txn *txn, bool *any)
{
    const char *const *names;
    const struct bytes *records;
    size_t count;
    err_t err;

    *any = false;
    catalog_enter();
    err = catalog_list(op, txn, "user", "", &names, &records, &count);
    catalog_leave();
    for (size_t i = 0; err == OK && i < count && !*any; i++) {
        struct users_user user;

        err = read_record(op->arena, records[i], &user);
        for (size_t j = 0; err == OK && j < user.principal.grant_count; j++)
            if (user.principal.grant[j].role == ACCESS_SERVER_ADMIN &&
                user.principal.grant[j].scope.kind == ACCESS_SERVER)
                *any = true;
    }
    return err;
}
