/*
 * test_tokens.c - tokens to the byte, and every way in which one is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/auth/tokens.h"

#define TEXT_MAX 4096

static char folder[64];
static struct config *config;
static struct arena *arena;

static const struct access_grant everything = { ACCESS_SERVER_ADMIN, { ACCESS_SERVER, "", "" } };
static const struct access_principal admin = { "_system", "admin", &everything, 1 };

static int
begin_with(const char *algorithm)
{
    (void)snprintf(folder, sizeof folder, "/tmp/test_tokens.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    config = config_create();
    arena = arena_create("test", 1 << 22);
    if (config == NULL || arena == NULL ||
        config_set(config, "server.data_dir", folder, "test") != OK ||
        config_set(config, "auth.jwt_algorithm", algorithm, "test") != OK ||
        tokenkeys_prepare(config) != OK)
        return -1;
    return 0;
}

static int
begin_rs256(void **state)
{
    (void)state;
    return begin_with("rs256");
}

static int
begin_hs256(void **state)
{
    (void)state;
    return begin_with("hs256");
}

static int
end(void **state)
{
    char command[128];

    (void)state;
    tokenkeys_forget();
    config_destroy(config);
    arena_destroy(arena);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static struct bytes
issue(struct buf *buf, enum tokens_kind kind)
{
    *buf = buf_init(1 << 20);
    assert_int_equal(tokens_issue(buf, config, &admin, kind), OK);
    return buf_bytes(buf);
}

static const char *
refusal_of(struct bytes token, enum tokens_kind kind)
{
    struct tokens_claims claims;
    const char *refusal;

    assert_int_equal(tokens_verify(arena, config, token, kind, &claims, &refusal), OK);
    return refusal;
}

/* One segment of a token, decoded. */
static void
decode(struct bytes token, unsigned number, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = (const char *)token.data, *end_ = at + token.size;
    unsigned word = 0, bits = 0;

    for (; number > 0; number--)
        at = (const char *)memchr(at, '.', (size_t)(end_ - at)) + 1;
    for (; at < end_ && *at != '.'; at++) {
        word = word << 6 | (unsigned)(strchr(digits, *at) - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *text++ = (char)(word >> bits);
        }
    }
    *text = '\0';
}

static void
header_and_claims_have_the_exact_order(void **state)
{
    const struct tokenkeys *keys;
    char text[TEXT_MAX], expected[TEXT_MAX];
    long long issued, expires;
    struct buf buf;
    struct bytes token = issue(&buf, TOKENS_ACCESS);

    (void)state;
    assert_int_equal(tokenkeys_get(config, &keys), OK);
    decode(token, 0, text);
    (void)snprintf(expected, sizeof expected, "{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"%s\"}",
        keys->rsa[0].kid);
    assert_string_equal(text, expected);
    decode(token, 1, text);
    assert_int_equal(
        sscanf(strstr(text, "\"iat\":"), "\"iat\":%lld,\"exp\":%lld", &issued, &expires), 2);
    assert_int_equal(expires - issued, 3600);
    (void)snprintf(expected, sizeof expected,
        "{\"sub\":\"admin\",\"tenant\":\"_system\",\"roles\":[{\"role\":\"server_admin\",\"scope\":"
        "{\"type\":\"server\"}}],\"iat\":%lld,\"exp\":%lld,\"token_type\":\"access\"}",
        issued, expires);
    assert_string_equal(text, expected);
    buf_fini(&buf);
}

static void
a_good_token_tells_who(void **state)
{
    struct tokens_claims claims;
    const char *refusal;
    struct buf buf;
    struct bytes token = issue(&buf, TOKENS_REFRESH);

    (void)state;
    assert_int_equal(tokens_verify(arena, config, token, TOKENS_REFRESH, &claims, &refusal), OK);
    assert_null(refusal);
    assert_true(bytes_is(claims.user, "admin"));
    assert_true(bytes_is(claims.tenant, "_system"));
    assert_string_equal(refusal_of(token, TOKENS_ACCESS), "invalid token: expected access token");
    buf_fini(&buf);
    token = issue(&buf, TOKENS_ACCESS);
    assert_string_equal(refusal_of(token, TOKENS_REFRESH), "invalid token: expected refresh token");
    buf_fini(&buf);
}

static void
any_changed_byte_is_noticed(void **state)
{
    struct buf buf;
    struct bytes token = issue(&buf, TOKENS_ACCESS);

    (void)state;
    for (size_t i = 0; i < token.size; i += 7) {
        uint8_t before = buf.data[i];

        buf.data[i] = before == 'A' ? 'B' : 'A';
        assert_non_null(refusal_of(token, TOKENS_ACCESS));
        buf.data[i] = before;
    }
    assert_null(refusal_of(token, TOKENS_ACCESS));
    buf_fini(&buf);
}

static void
bad_tokens_are_told_apart(void **state)
{
    struct buf buf;
    struct bytes token = issue(&buf, TOKENS_ACCESS);
    char *text = malloc(token.size + 64);

    (void)state;
    assert_non_null(text);
    assert_string_equal(refusal_of(bytes_of("x"), TOKENS_ACCESS), "invalid token: InvalidToken");
    assert_string_equal(
        refusal_of(bytes_of("a.b.c.d"), TOKENS_ACCESS), "invalid token: InvalidToken");
    assert_memory_equal(refusal_of(bytes_of("!.b.c"), TOKENS_ACCESS),
        "invalid token: bad header: ", strlen("invalid token: bad header: "));
    /* {"typ":"JWT","alg":"HS256"}: no kid; {"alg":"none","kid":"00"} */
    assert_string_equal(
        refusal_of(bytes_of("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.AA"), TOKENS_ACCESS),
        "invalid token: missing kid in header");
    assert_string_equal(
        refusal_of(bytes_of("eyJhbGciOiJub25lIiwia2lkIjoiMDAifQ.e30.AA"), TOKENS_ACCESS),
        "invalid token: kid not found in keyring: 00");
    memcpy(text, token.data, token.size);
    (void)snprintf((char *)memrchr(text, '.', token.size) + 1, 16, "AAAA");
    assert_string_equal(
        refusal_of(bytes_of(text), TOKENS_ACCESS), "invalid token: InvalidSignature");
    free(text);
    buf_fini(&buf);
}

static void
an_expired_token_is_expired(void **state)
{
    struct buf buf;
    struct bytes token;

    (void)state;
    assert_int_equal(config_set(config, "auth.access_token_ttl_secs", "1", "test"), OK);
    config->auth_access_token_ttl_secs = -10;
    token = issue(&buf, TOKENS_ACCESS);
    assert_string_equal(refusal_of(token, TOKENS_ACCESS), "token expired");
    buf_fini(&buf);
}

static void
secrets_are_tightened_at_the_next_start(void **state)
{
    const struct tokenkeys *keys;
    char path[256];
    struct stat status;

    (void)state;
    assert_int_equal(tokenkeys_get(config, &keys), OK);
    (void)snprintf(path, sizeof path, "%s/_auth/jwt/keys/%s.pem", folder, keys->rsa[0].kid);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(tokenkeys_prepare(config), OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void
keys_on_disk_win_over_the_configuration(void **state)
{
    const struct tokenkeys *keys;
    struct buf buf;
    struct bytes token;

    (void)state;
    assert_int_equal(config_set(config, "auth.jwt_algorithm", "rs256", "test"), OK);
    assert_int_equal(tokenkeys_prepare(config), OK);
    tokenkeys_forget();
    assert_int_equal(tokenkeys_get(config, &keys), OK);
    assert_true(keys->symmetric);
    token = issue(&buf, TOKENS_ACCESS);
    assert_memory_equal(token.data, "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.", 37);
    assert_null(refusal_of(token, TOKENS_ACCESS));
    /* {"typ":"JWT","alg":"RS256"} */
    assert_string_equal(
        refusal_of(bytes_of("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.AA"), TOKENS_ACCESS),
        "invalid token: InvalidAlgorithm");
    buf_fini(&buf);
}

int
main(void)
{
    const struct CMUnitTest rs256[] = {
        cmocka_unit_test(header_and_claims_have_the_exact_order),
        cmocka_unit_test(a_good_token_tells_who),
        cmocka_unit_test(any_changed_byte_is_noticed),
        cmocka_unit_test(bad_tokens_are_told_apart),
        cmocka_unit_test(secrets_are_tightened_at_the_next_start),
        cmocka_unit_test(an_expired_token_is_expired),
    };
    const struct CMUnitTest hs256[] = {
        cmocka_unit_test(keys_on_disk_win_over_the_configuration),
    };
    int failed = cmocka_run_group_tests(rs256, begin_rs256, end);

    return failed + cmocka_run_group_tests(hs256, begin_hs256, end);
}
