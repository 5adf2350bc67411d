/*
 * tokens.h - access and refresh tokens: JWT, RS256 or HS256.
 *
 * The exact bytes of header and claims are part of the protocol, so they are written here and
 * signed by OpenSSL.  A token says who somebody was when it was issued; what they may do is asked
 * of their record.  No locks.
 */
#ifndef BACKEND_AUTH_TOKENS_H
#define BACKEND_AUTH_TOKENS_H

#include "backend/auth/access.h"
#include "backend/auth/tokenkeys.h"

enum tokens_kind { TOKENS_ACCESS, TOKENS_REFRESH };

/* Append a token.  Errors: those of tokenkeys_get; ERR_MEMORY, ERR_INTERNAL. */
err_t tokens_issue(struct buf *out, const struct config *config,
    const struct access_principal *principal, enum tokens_kind kind) MUST_CHECK;

struct tokens_claims {
    struct bytes tenant, user; /* in the arena */
    int64_t expires_secs;      /* since 1970 */
    enum tokens_kind kind;
};

/* Verify strictly: one algorithm, exact kid, signature, required claims, expiry, kind.  *refusal
   NULL: it is good.  Otherwise the error's text ("token expired", "invalid token: …"), static or in
   the arena.  Errors: those of tokenkeys_get; ERR_MEMORY. */
err_t tokens_verify(struct arena *arena, const struct config *config, struct bytes token,
    enum tokens_kind kind, struct tokens_claims *claims, const char **refusal) MUST_CHECK;

#endif
