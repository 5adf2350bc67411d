/*
 * tokens.c - access and refresh tokens.
 *
 * Form: <base64url(header)>.<base64url(claims)>.<base64url(signature)>, unpadded.
 *     HS256  {"typ":"JWT","alg":"HS256"}
 *     RS256  {"typ":"JWT","alg":"RS256","kid":"<16 hex>"}
 *     {"sub":…,"tenant":…,"roles":[…],"iat":n,"exp":n,"token_type":"access"|"refresh"}
 *
 * INVARIANTS
 *   J1  The algorithm is that of the keys on disk; a header that names another is refused before
 *       any key is used.
 *   J2  Nothing of the claims is looked at before the signature has been verified.
 *   J3  No signature leaves that does not fit.  A key for whose use memory was wanting once may
 *       sign wrongly from then on (OpenSSL's blinding, half renewed): it is read anew.
 */
#include "backend/auth/tokens.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

#define TOKEN_MAX     ((size_t)1 << 20)
#define SIGNATURE_MAX 1024

#define INVALID "invalid token: "

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const struct jsonparse_options strict_json = {
    .numbers = JSONPARSE_INT64, .extended = JSONPARSE_PLAIN, .depth_max = 16
};

/* ---------------------------------------------------------------- base64url */

static err_t
append_base64url(struct buf *out, struct bytes data)
{
    uint8_t *to;

    TRY_RETURN(buf_reserve(out, data.size / 3 * 4 + 4));
    to = out->data + out->size;
    for (size_t i = 0; i < data.size; i += 3) {
        size_t left = data.size - i;
        uint32_t word = (uint32_t)data.data[i] << 16;

        if (left > 1)
            word |= (uint32_t)data.data[i + 1] << 8;
        if (left > 2)
            word |= data.data[i + 2];
        *to++ = (uint8_t)digits[word >> 18];
        *to++ = (uint8_t)digits[word >> 12 & 63];
        if (left > 1)
            *to++ = (uint8_t)digits[word >> 6 & 63];
        if (left > 2)
            *to++ = (uint8_t)digits[word & 63];
    }
    out->size = (size_t)(to - out->data);
    return OK;
}

/* The bytes of an unpadded text, in the arena.  *reason: why it is none, or NULL. */
static err_t
decode_base64url(struct arena *arena, struct bytes text, struct bytes *data, const char **reason)
{
    uint8_t *to = arena_alloc(arena, text.size + 1);
    uint32_t word = 0;
    unsigned bits = 0;
    size_t size = 0;

    *reason = NULL;
    if (to == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < text.size; i++) {
        const char *digit = text.data[i] != '\0' ? strchr(digits, text.data[i]) : NULL;

        if (digit == NULL) {
            *reason = "a byte that is no digit";
            return OK;
        }
        word = word << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            to[size++] = (uint8_t)(word >> bits);
        }
    }
    if (bits == 6 || (word & ((1u << bits) - 1)) != 0)
        *reason = "a length or last digit that no bytes have";
    *data = (struct bytes){ to, size };
    return OK;
}

/* ---------------------------------------------------------------- signatures */

/* OpenSSL's queue says why an RSA signature was not found good.  One that does not fit is told by
   RSA; where memory is wanting it says so, or something of its own workings, or nothing. */
static bool
lacks_memory(void)
{
    unsigned long error;
    bool lacks = false, judged = false;

    while ((error = ERR_get_error()) != 0) {
        lacks |= ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
        judged |= ERR_GET_LIB(error) == ERR_LIB_RSA;
    }
    return lacks || !judged;
}

/* One RSA verification.  *sure false: nothing is known, memory was wanting. */
static bool
rsa_fits(EVP_PKEY *key, struct bytes text, struct bytes signature, bool *sure)
{
    EVP_MD_CTX *context;
    bool begun, fits;

    ERR_clear_error();
    context = EVP_MD_CTX_new();
    begun = context != NULL && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1;
    fits = begun &&
           EVP_DigestVerify(context, signature.data, signature.size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    *sure = fits || (begun && !lacks_memory());
    return fits;
}

/* ---------------------------------------------------------------- issuing */

static err_t
append_claims(struct buf *json, const struct config *config,
    const struct access_principal *principal, enum tokens_kind kind)
{
    int64_t now = clock_wall_ms() / 1000;
    int64_t life = kind == TOKENS_ACCESS ? config->auth_access_token_ttl_secs
                                         : config->auth_refresh_token_ttl_secs;
    struct buf bson = buf_init(TOKEN_MAX);
    struct bsonbuild build;
    struct bytes claims;
    err_t err;

    bsonbuild_begin(&build, &bson);
    bsonbuild_text(&build, "sub", principal->name);
    bsonbuild_text(&build, "tenant", principal->tenant);
    access_build(&build, "roles", principal->grant, principal->grant_count);
    bsonbuild_int64(&build, "iat", now);
    bsonbuild_int64(&build, "exp", now + life);
    bsonbuild_text(&build, "token_type", kind == TOKENS_ACCESS ? "access" : "refresh");
    TRY(bsonbuild_end(&build, &claims));
    TRY(jsonprint_document(json, claims, JSONPRINT_RELAXED));
out:
    buf_fini(&bson);
    return err;
}

static bool
rsa_sign(EVP_PKEY *key, struct bytes text, uint8_t *signature, size_t *size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL &&
                EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestSign(context, signature, size, text.data, text.size) == 1;

    EVP_MD_CTX_free(context);
    return done;
}

/* Sign `text` into `signature`, which has SIGNATURE_MAX bytes.  *fits: see J3. */
static err_t
sign(const struct tokenkeys *keys, struct bytes text, uint8_t *signature, size_t *size, bool *fits)
{
    unsigned length = SIGNATURE_MAX;
    bool sure = false;

    *size = SIGNATURE_MAX;
    if (keys->symmetric) {
        sure = *fits = HMAC(EVP_sha256(), keys->secret, TOKENKEYS_SECRET, text.data, text.size,
                           signature, &length) != NULL;
        *size = length;
    } else if (rsa_sign(keys->rsa[0].key, text, signature, size)) {
        *fits = rsa_fits(keys->rsa[0].key, text, (struct bytes){ signature, *size }, &sure);
    }
    /* The keys were tried when they were read: what can be wanting is memory. */
    return sure ? OK : err_set(ERR_MEMORY, "could not sign a token: out of memory");
}

static err_t
issue(struct buf *out, const struct config *config, const struct access_principal *principal,
    enum tokens_kind kind, bool *fits)
{
    struct buf json = buf_init(TOKEN_MAX);
    const struct tokenkeys *keys;
    uint8_t signature[SIGNATURE_MAX];
    size_t start = out->size, size;
    err_t err;

    TRY(tokenkeys_get(config, &keys));
    if (keys->symmetric)
        TRY(buf_append_text(&json, "{\"typ\":\"JWT\",\"alg\":\"HS256\"}"));
    else
        TRY(buf_printf(
            &json, "{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"%s\"}", keys->rsa[0].kid));
    TRY(append_base64url(out, buf_bytes(&json)));
    TRY(buf_append_byte(out, '.'));
    buf_clear(&json);
    TRY(append_claims(&json, config, principal, kind));
    TRY(append_base64url(out, buf_bytes(&json)));
    TRY(sign(keys, (struct bytes){ out->data + start, out->size - start }, signature, &size, fits));
    TRY(buf_append_byte(out, '.'));
    TRY(append_base64url(out, (struct bytes){ signature, size }));
out:
    buf_fini(&json);
    return err;
}

err_t
tokens_issue(struct buf *out, const struct config *config, const struct access_principal *principal,
    enum tokens_kind kind)
{
    size_t start = out->size;
    bool fits = false;
    err_t err = OK;

    for (int tries = 0; err == OK && !fits && tries < 2; tries++) {
        out->size = start;
        err = issue(out, config, principal, kind, &fits);
        if (err == OK && !fits)
            tokenkeys_forget(); /* J3 */
    }
    if (err == OK && !fits)
        err = err_set(ERR_INTERNAL, "could not sign a token: the signature does not fit the key");
    if (err != OK)
        out->size = start;
    return err;
}

/* ---------------------------------------------------------------- verifying */

struct verifier {
    struct arena *arena;
    const struct tokenkeys *keys;
    const char *refusal;                    /* NULL: nothing against it so far */
    struct bytes header, claims, signature; /* as typed */
    EVP_PKEY *key;                          /* RS256 */
};

/* False: not three segments. */
static bool
split(struct verifier *v, struct bytes token)
{
    const uint8_t *end = token.data + token.size;
    const uint8_t *first = token.size > 0 ? memchr(token.data, '.', token.size) : NULL;
    const uint8_t *second =
        first != NULL && first + 1 < end ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;

    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return false;
    v->header = (struct bytes){ token.data, (size_t)(first - token.data) };
    v->claims = (struct bytes){ first + 1, (size_t)(second - first - 1) };
    v->signature = (struct bytes){ second + 1, (size_t)(end - second - 1) };
    return true;
}

/* Note why it is refused: two texts put together. */
static err_t
refuse(struct verifier *v, const char *text, const char *more)
{
    v->refusal = arena_printf(v->arena, "%s%s", text, more);
    return v->refusal != NULL ? OK : ERR_MEMORY;
}

/* A segment as a BSON document in the arena. */
static err_t
decode_json(struct verifier *v, struct bytes segment, const char *base64_text,
    const char *json_text, struct bytes *document)
{
    struct buf bson = buf_init(TOKEN_MAX);
    const char *reason;
    struct bytes json;
    uint8_t *copy;
    err_t err;

    TRY(decode_base64url(v->arena, segment, &json, &reason));
    if (reason != NULL) {
        TRY(refuse(v, base64_text, reason));
        goto out;
    }
    err = jsonparse_document(&bson, json, &strict_json, document);
    if (err == ERR_MEMORY)
        goto out;
    if (err != OK) {
        TRY(refuse(v, json_text, err_message()));
        goto out;
    }
    copy = arena_copy(v->arena, document->data, document->size);
    if (copy == NULL)
        err = ERR_MEMORY;
    document->data = copy;
out:
    buf_fini(&bson);
    return err;
}

static bool
get_string(struct bytes document, const char *key, struct bytes *text)
{
    struct bsonvalue value;

    if (!bsonwalk_get(document, key, &value) || value.type != BSONTYPE_STRING)
        return false;
    *text = bsonvalue_string(&value);
    return true;
}

static bool
get_whole(struct bytes document, const char *key, int64_t *number)
{
    struct bsonvalue value;

    return bsonwalk_get(document, key, &value) && bsonvalue_to_int64(&value, false, number);
}

/* Which key?  J1. */
static err_t
check_header(struct verifier *v)
{
    bool symmetric = v->keys->symmetric;
    struct bytes header, algorithm, kid;
    char *copy;

    TRY_RETURN(
        decode_json(v, v->header, symmetric ? INVALID "Base64 error: " : INVALID "bad header: ",
            symmetric ? INVALID "JSON error: " : INVALID "bad header: ", &header));
    if (v->refusal != NULL)
        return OK;
    if (!get_string(header, "alg", &algorithm))
        return refuse(
            v, symmetric ? INVALID "JSON error: " : INVALID "bad header: ", "missing field `alg`");
    if (!symmetric) {
        if (!get_string(header, "kid", &kid))
            return refuse(v, INVALID "missing kid in header", "");
        for (unsigned i = 0; i < TOKENKEYS_RSA; i++)
            if (bytes_is(kid, v->keys->rsa[i].kid))
                v->key = v->keys->rsa[i].key;
        if (v->key == NULL) {
            copy = arena_string(v->arena, kid);
            return copy != NULL ? refuse(v, INVALID "kid not found in keyring: ", copy)
                                : ERR_MEMORY;
        }
    }
    if (!bytes_is(algorithm, symmetric ? "HS256" : "RS256"))
        return refuse(v, INVALID "InvalidAlgorithm", "");
    return OK;
}

/* Does it fit?  One that is said not to is looked at once more, for OpenSSL does not always tell
   that memory was wanting.  Errors: ERR_MEMORY: it could not be found out. */
static err_t
signature_fits(const struct verifier *v, struct bytes text, struct bytes signature, bool *fits)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    unsigned size = sizeof digest;
    bool sure;

    if (v->keys->symmetric) {
        sure = HMAC(EVP_sha256(), v->keys->secret, TOKENKEYS_SECRET, text.data, text.size, digest,
                   &size) != NULL;
        *fits = sure && signature.size == size && CRYPTO_memcmp(digest, signature.data, size) == 0;
    } else {
        *fits = rsa_fits(v->key, text, signature, &sure) ||
                (sure && rsa_fits(v->key, text, signature, &sure));
    }
    return sure ? OK : err_set(ERR_MEMORY, "could not verify a token: out of memory");
}

static err_t
check_signature(struct verifier *v)
{
    struct bytes text = { v->header.data, v->header.size + 1 + v->claims.size };
    struct bytes signature;
    const char *reason;
    bool fits;

    TRY_RETURN(decode_base64url(v->arena, v->signature, &signature, &reason));
    if (reason != NULL)
        return refuse(v, INVALID "Base64 error: ", reason);
    TRY_RETURN(signature_fits(v, text, signature, &fits));
    if (!fits)
        return refuse(v, INVALID "InvalidSignature", "");
    return OK;
}

static err_t
check_claims(struct verifier *v, enum tokens_kind kind, struct tokens_claims *claims)
{
    struct bytes document, type;
    struct bsonvalue roles;
    int64_t issued;

    TRY_RETURN(
        decode_json(v, v->claims, INVALID "Base64 error: ", INVALID "JSON error: ", &document));
    if (v->refusal != NULL)
        return OK;
    if (!get_whole(document, "exp", &claims->expires_secs))
        return refuse(v, INVALID "Missing required claim: ", "exp");
    if (!get_string(document, "sub", &claims->user))
        return refuse(v, INVALID "Missing required claim: ", "sub");
    if (!get_string(document, "tenant", &claims->tenant))
        return refuse(v, INVALID "Missing required claim: ", "tenant");
    if (!bsonwalk_get(document, "roles", &roles) || roles.type != BSONTYPE_ARRAY)
        return refuse(v, INVALID "Missing required claim: ", "roles");
    if (!get_whole(document, "iat", &issued))
        return refuse(v, INVALID "Missing required claim: ", "iat");
    if (claims->expires_secs < clock_wall_ms() / 1000)
        return refuse(v, "token expired", "");
    claims->kind = get_string(document, "token_type", &type) && !bytes_is(type, "access")
                       ? TOKENS_REFRESH
                       : TOKENS_ACCESS;
    if (claims->kind != kind)
        return refuse(
            v, INVALID "expected ", kind == TOKENS_ACCESS ? "access token" : "refresh token");
    return OK;
}

err_t
tokens_verify(struct arena *arena, const struct config *config, struct bytes token,
    enum tokens_kind kind, struct tokens_claims *claims, const char **refusal)
{
    struct verifier v = { .arena = arena };
    err_t err;

    TRY(tokenkeys_get(config, &v.keys));
    if (!split(&v, token)) {
        v.refusal = INVALID "InvalidToken";
        goto out;
    }
    TRY(check_header(&v));
    if (v.refusal == NULL)
        TRY(check_signature(&v));
    if (v.refusal == NULL)
        TRY(check_claims(&v, kind, claims)); /* J2 */
out:
    *refusal = v.refusal;
    return err;
}
