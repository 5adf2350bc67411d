/*
 * users.h - users' records, one for all languages.
 *
 * A record is a row of the catalog (kind "user", name "tenant/name"): the password as an argon2id
 * PHC string, SCRAM-SHA-256 keys for MongoDB drivers, grants, and whether it is enabled.  Passwords
 * are in no record, log or message.  No locks of its own; verifying a password takes some 30 ms and
 * 19 MiB, and must be done while nothing is held: users_login sees to it.
 */
#ifndef BACKEND_AUTH_USERS_H
#define BACKEND_AUTH_USERS_H

#include "backend/auth/access.h"
#include "base/op.h"
#include "storage/txn/txn.h"

#define USERS_SYSTEM_TENANT "_system"
#define USERS_HASH_MAX      128 /* a PHC string, NUL included */
#define USERS_SCRAM_SALT    16
#define USERS_SCRAM_KEY     32
#define USERS_SCRAM_ROUNDS  15000
#define USERS_PASSWORD_MAX  4096 /* bytes; more is no password of anybody */
#define USERS_NAME_MAX      128

struct users_user {
    struct access_principal principal;
    char hash[USERS_HASH_MAX];
    uint8_t scram_salt[USERS_SCRAM_SALT];
    uint8_t scram_stored_key[USERS_SCRAM_KEY], scram_server_key[USERS_SCRAM_KEY];
    int32_t scram_rounds;
    int64_t created_ms;
    bool enabled;
};

/* Read a record, committed or the transaction's own (txn may be NULL); strings in op's arena.
   Tenant and name may be any bytes: what cannot be a name is not found.  Errors: those of the
   catalog; ERR_CORRUPT. */
err_t users_find(struct op *op, struct txn *txn, struct bytes tenant, struct bytes name,
    struct users_user *user, bool *found) MUST_CHECK;
/* Write it, new or not. */
err_t users_put(struct op *op, struct txn *txn, const struct users_user *user) MUST_CHECK;

/* Give it a new password: both kinds of keys.  Errors: ERR_BAD_VALUE: too long; ERR_INTERNAL. */
err_t users_set_password(struct users_user *user, struct bytes password) MUST_CHECK;
/* Is it this one?  NULL: an unknown user, which takes just as long and is never right.
   Errors: ERR_MEMORY: it could not be compared. */
err_t users_password_is(
    const struct users_user *user, struct bytes password, bool *right) MUST_CHECK;

/* Look up, verify with nothing held, and note the time of login (at most once an hour, not waiting
   for the disk).  *right false: unknown, disabled, or another password: the caller must not tell
   which. */
err_t users_login(struct op *op, struct bytes tenant, struct bytes name, struct bytes password,
    struct users_user *user, bool *right) MUST_CHECK;

/* Does anybody hold server_admin on Server? */
err_t users_any_administrator(struct op *op, struct txn *txn, bool *any) MUST_CHECK;

#endif
