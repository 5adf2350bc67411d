/*
 * tokenkeys.h - the keys that sign and verify tokens, and their files.
 *
 *     <data>/_auth/jwt/config.json          algorithm, current_kid, next_kid, lifetimes
 *     <data>/_auth/jwt/keys/<kid>.pem       PKCS#8, 0600; <kid>.pub.pem SPKI, 0644
 *     <data>/_auth/secret.key               HS256: 32 raw bytes, 0600, and no config.json
 *
 * Each process reads them when it first needs them.  No locks.
 */
#ifndef BACKEND_AUTH_TOKENKEYS_H
#define BACKEND_AUTH_TOKENKEYS_H

#include <openssl/evp.h>

#include "base/config.h"

#define TOKENKEYS_KID    16 /* hex digits */
#define TOKENKEYS_SECRET 32
#define TOKENKEYS_RSA    2 /* current and next */

struct tokenkeys_rsa {
    char kid[TOKENKEYS_KID + 1];
    EVP_PKEY *key; /* [0] with its private part */
};
struct tokenkeys {
    bool symmetric; /* HS256 by the secret; else RS256 */
    uint8_t secret[TOKENKEYS_SECRET];
    struct tokenkeys_rsa rsa[TOKENKEYS_RSA]; /* current, next */
};

/* Make keys where there are none, and tighten modes that are too loose.  At start, by one process.
   The choice on disk wins over the configuration.  A crash in between leaves files that the next
   start does not mind.  Errors: ERR_IO, ERR_DISK_FULL, ERR_CONFIG: what is there cannot be used. */
err_t tokenkeys_prepare(const struct config *config) MUST_CHECK;

/* This process's copy, read at the first call.  Errors: ERR_CONFIG, ERR_IO. */
err_t tokenkeys_get(const struct config *config, const struct tokenkeys **keys) MUST_CHECK;
/* Read them anew at the next call (SIGHUP), and give the memory back. */
void tokenkeys_forget(void);

#endif
