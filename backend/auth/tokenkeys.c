/*
 * tokenkeys.c - the keys that sign and verify tokens, and their files.
 *
 * INVARIANTS
 *   K1  config.json is written after the keys that it names, each by file_replace: whatever it
 *       names is there.
 *   K2  A kid is sixteen hex digits before it becomes part of a path.
 *   K3  A kid is the first eight bytes of SHA-256 over the key's SubjectPublicKeyInfo, as found in
 *       the file: a key under another's name is refused.
 */
#include "backend/auth/tokenkeys.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/rand.h"

#define RSA_BITS      2048
#define FILE_SIZE_MAX ((size_t)64 << 10)
#define PATH_SIZE_MAX 4200

static _Thread_local struct tokenkeys kept;
static _Thread_local bool is_kept;

struct paths {
    char auth[PATH_SIZE_MAX], jwt[PATH_SIZE_MAX], keys[PATH_SIZE_MAX], config[PATH_SIZE_MAX],
        secret[PATH_SIZE_MAX];
};

static void
find_paths(const struct config *config, struct paths *paths)
{
    const char *data = config->server_data_dir;

    (void)snprintf(paths->auth, PATH_SIZE_MAX, "%s/_auth", data);
    (void)snprintf(paths->jwt, PATH_SIZE_MAX, "%s/_auth/jwt", data);
    (void)snprintf(paths->keys, PATH_SIZE_MAX, "%s/_auth/jwt/keys", data);
    (void)snprintf(paths->config, PATH_SIZE_MAX, "%s/_auth/jwt/config.json", data);
    (void)snprintf(paths->secret, PATH_SIZE_MAX, "%s/_auth/secret.key", data);
}

static err_t
key_path(const struct paths *paths, const char *kid, const char *suffix, char *path, size_t size)
{
    if (snprintf(path, size, "%s/%s%s", paths->keys, kid, suffix) >= (int)size)
        return err_set(ERR_CONFIG, "the path of the data directory is too long");
    return OK;
}

/* A secret that others can read is made ours alone. */
static err_t
tighten(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return errno == ENOENT ? OK : err_set_errno("could not look at %s", path);
    if ((status.st_mode & 077) == 0)
        return OK;
    if (chmod(path, 0600) != 0)
        return err_set_errno("could not take %s away from others", path);
    log_warn("%s could be read by others; it is 0600 now", path);
    return OK;
}

/* ---------------------------------------------------------------- RSA keys */

static err_t
print_kid(EVP_PKEY *key, char kid[TOKENKEYS_KID + 1])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(key, &der);

    if (size <= 0)
        return err_set(ERR_INTERNAL, "could not encode a public key");
    (void)SHA256(der, (size_t)size, digest);
    OPENSSL_free(der);
    hex_encode((struct bytes){ digest, TOKENKEYS_KID / 2 }, kid);
    return OK;
}

static err_t
write_key(const struct paths *paths, EVP_PKEY *key, const char *kid, bool private)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char path[PATH_SIZE_MAX + 64];
    char *data;
    long size;
    err_t err;

    if (memory == NULL ||
        (private ? PEM_write_bio_PKCS8PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL)
                 : PEM_write_bio_PUBKEY(memory, key)) != 1) {
        err = err_set(ERR_INTERNAL, "could not encode a key");
        goto out;
    }
    size = BIO_get_mem_data(memory, &data);
    TRY(key_path(paths, kid, private ? ".pem" : ".pub.pem", path, sizeof path));
    TRY(file_replace(path, data, (size_t)size, private ? 0600 : 0644));
out:
    BIO_free(memory);
    return err;
}

static err_t
make_key(const struct paths *paths, char kid[TOKENKEYS_KID + 1])
{
    EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);
    err_t err;

    if (key == NULL)
        return err_set(ERR_INTERNAL, "could not make an RSA key");
    TRY(print_kid(key, kid));
    TRY(write_key(paths, key, kid, true));
    TRY(write_key(paths, key, kid, false));
out:
    EVP_PKEY_free(key);
    return err;
}

/* The key that a text holds; NULL: none.  What is said to be none is looked at once more, for
   OpenSSL does not always tell that memory was wanting.  Errors: ERR_MEMORY. */
static err_t
parse_key(const char *data, size_t size, EVP_PKEY **key)
{
    *key = NULL;
    for (int tries = 0; *key == NULL && tries < 2; tries++) {
        BIO *memory = BIO_new_mem_buf(data, (int)size);

        if (memory == NULL)
            return err_set(ERR_MEMORY, "could not read a key: out of memory");
        *key = PEM_read_bio_PrivateKey(memory, NULL, NULL, NULL);
        BIO_free(memory);
    }
    return OK;
}

static err_t
read_key(const struct paths *paths, struct tokenkeys_rsa *rsa)
{
    char path[PATH_SIZE_MAX + 64], kid[TOKENKEYS_KID + 1];
    char *data = NULL;
    size_t size;
    bool found;
    err_t err;

    TRY(key_path(paths, rsa->kid, ".pem", path, sizeof path));
    TRY(file_slurp(path, FILE_SIZE_MAX, &data, &size, &found));
    if (found)
        TRY(parse_key(data, size, &rsa->key));
    if (rsa->key == NULL || EVP_PKEY_get_base_id(rsa->key) != EVP_PKEY_RSA) {
        err = err_set(ERR_CONFIG, "%s: %s", path, found ? "not an RSA key" : "is missing");
        goto out;
    }
    TRY(print_kid(rsa->key, kid));
    if (strcmp(kid, rsa->kid) != 0)
        err = err_set(ERR_CONFIG, "%s: holds the key %s", path, kid); /* K3 */
out:
    if (data != NULL)
        OPENSSL_cleanse(data, size);
    free(data);
    return err;
}

/* ---------------------------------------------------------------- config.json */

static err_t
read_kid(const char *path, struct bytes document, const char *key, char kid[TOKENKEYS_KID + 1])
{
    struct bsonvalue value;
    uint8_t decoded[TOKENKEYS_KID / 2];

    if (!bsonwalk_get(document, key, &value) || value.type != BSONTYPE_STRING ||
        !hex_decode(bsonvalue_string(&value), decoded, sizeof decoded)) /* K2 */
        return err_set(ERR_CONFIG, "%s: %s is no key's name", path, key);
    hex_encode((struct bytes){ decoded, sizeof decoded }, kid);
    return OK;
}

/* What config.json says.  *found false: there is none. */
static err_t
read_config(const struct paths *paths, struct tokenkeys *keys, bool *found)
{
    struct buf room = buf_init(FILE_SIZE_MAX);
    struct bsonvalue algorithm;
    struct bytes document, name;
    char *data = NULL;
    size_t size;
    err_t err;

    TRY(file_slurp(paths->config, FILE_SIZE_MAX, &data, &size, found));
    if (!*found)
        goto out;
    err = jsonparse_document(
        &room, (struct bytes){ (const uint8_t *)data, size }, &jsonparse_lines, &document);
    if (err != OK && err != ERR_MEMORY)
        err = err_set(ERR_CONFIG, "%s: is damaged", paths->config);
    TRY(err);
    if (!bsonwalk_get(document, "algorithm", &algorithm) || algorithm.type != BSONTYPE_STRING) {
        err = err_set(ERR_CONFIG, "%s: names no algorithm", paths->config);
        goto out;
    }
    name = bsonvalue_string(&algorithm);
    keys->symmetric = name.size == 5 && strncasecmp((const char *)name.data, "hs256", 5) == 0;
    if (keys->symmetric)
        goto out;
    if (name.size != 5 || strncasecmp((const char *)name.data, "rs256", 5) != 0) {
        err = err_set(ERR_CONFIG, "%s: an algorithm other than RS256 and HS256", paths->config);
        goto out;
    }
    TRY(read_kid(paths->config, document, "current_kid", keys->rsa[0].kid));
    TRY(read_kid(paths->config, document, "next_kid", keys->rsa[1].kid));
out:
    buf_fini(&room);
    free(data);
    return err;
}

static err_t
read_secret(const struct paths *paths, struct tokenkeys *keys, bool *found)
{
    char *data = NULL;
    size_t size;
    err_t err;

    TRY(file_slurp(paths->secret, FILE_SIZE_MAX, &data, &size, found));
    if (!*found)
        goto out;
    if (size != TOKENKEYS_SECRET)
        err = err_set(
            ERR_CONFIG, "%s: has %zu bytes and not %d", paths->secret, size, TOKENKEYS_SECRET);
    else
        memcpy(keys->secret, data, TOKENKEYS_SECRET);
    OPENSSL_cleanse(data, size);
out:
    free(data);
    return err;
}

static void
forget(struct tokenkeys *keys)
{
    for (unsigned i = 0; i < TOKENKEYS_RSA; i++)
        EVP_PKEY_free(keys->rsa[i].key);
    OPENSSL_cleanse(keys, sizeof *keys);
}

/* *found false: there are no keys at all. */
static err_t
load(const struct paths *paths, struct tokenkeys *keys, bool *found)
{
    bool configured, secret;
    err_t err;

    *keys = (struct tokenkeys){ .symmetric = false };
    TRY(read_config(paths, keys, &configured));
    TRY(read_secret(paths, keys, &secret));
    if (!configured)
        keys->symmetric = secret;
    *found = configured || secret;
    if (configured && keys->symmetric && !secret)
        TRY(err_set(ERR_CONFIG, "%s: is missing", paths->secret));
    for (unsigned i = 0; *found && !keys->symmetric && i < TOKENKEYS_RSA; i++)
        TRY(read_key(paths, &keys->rsa[i]));
out:
    if (err != OK)
        forget(keys);
    return err;
}

/* ---------------------------------------------------------------- the first start */

static err_t
create_rsa(const struct config *config, const struct paths *paths)
{
    char kid[TOKENKEYS_RSA][TOKENKEYS_KID + 1];
    char text[512];
    bool made;
    int size;

    TRY_RETURN(file_make_dir(paths->jwt, 0700, &made));
    TRY_RETURN(file_make_dir(paths->keys, 0700, &made));
    for (unsigned i = 0; i < TOKENKEYS_RSA; i++)
        TRY_RETURN(make_key(paths, kid[i]));
    size = snprintf(text, sizeof text,
        "{\n  \"algorithm\": \"RS256\",\n  \"current_kid\": \"%s\",\n  \"next_kid\": \"%s\",\n"
        "  \"access_ttl_secs\": %jd,\n  \"refresh_ttl_secs\": %jd\n}\n",
        kid[0], kid[1], (intmax_t)config->auth_access_token_ttl_secs,
        (intmax_t)config->auth_refresh_token_ttl_secs);
    return file_replace(paths->config, text, (size_t)size, 0600); /* K1 */
}

static err_t
create(const struct config *config, const struct paths *paths, bool symmetric)
{
    uint8_t secret[TOKENKEYS_SECRET];

    if (!symmetric)
        return create_rsa(config, paths);
    rand_secure(secret, sizeof secret);
    return file_replace(paths->secret, secret, sizeof secret, 0600);
}

err_t
tokenkeys_prepare(const struct config *config)
{
    bool symmetric = strcasecmp(config->auth_jwt_algorithm, "hs256") == 0;
    char path[PATH_SIZE_MAX + 64];
    struct tokenkeys keys;
    struct paths paths;
    bool found, made;

    find_paths(config, &paths);
    TRY_RETURN(file_make_dir(paths.auth, 0700, &made));
    TRY_RETURN(tighten(paths.secret));
    TRY_RETURN(load(&paths, &keys, &found));
    if (!found)
        return create(config, &paths, symmetric);
    if (symmetric != keys.symmetric)
        log_warn("auth.jwt_algorithm is %s, but the data directory has keys for %s: they are used",
            config->auth_jwt_algorithm, keys.symmetric ? "HS256" : "RS256");
    for (unsigned i = 0; !keys.symmetric && i < TOKENKEYS_RSA; i++)
        if (key_path(&paths, keys.rsa[i].kid, ".pem", path, sizeof path) != OK ||
            tighten(path) != OK)
            log_warn("%s", err_message());
    forget(&keys);
    return OK;
}

err_t
tokenkeys_get(const struct config *config, const struct tokenkeys **keys)
{
    struct paths paths;
    bool found;

    if (!is_kept) {
        find_paths(config, &paths);
        TRY_RETURN(load(&paths, &kept, &found));
        if (!found)
            return err_set(ERR_CONFIG, "there are no keys for tokens in %s", paths.auth);
        is_kept = true;
    }
    *keys = &kept;
    return OK;
}

void
tokenkeys_forget(void)
{
    if (is_kept)
        forget(&kept);
    is_kept = false;
}
