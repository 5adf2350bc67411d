/*
 * text_login.c - LOGIN, TOKEN, REFRESH, WHOAMI.
 *
 * A session is bound to the user where the password was proven on this connection, and to the
 * token's expiry where only a token was shown.
 *
 * INVARIANTS
 *   L1  The principal's strings live in run->arena, which is reset only when another principal
 *       takes its place.
 *   L2  A failed LOGIN or TOKEN leaves the principal that was there.
 */
#include "backend/command/text_login.h"

#include <stdio.h>

#include "backend/auth/tokens.h"
#include "backend/auth/users.h"
#include "base/clock.h"
#include "base/log.h"
#include "storage/collection/catalog.h"

static err_t
copy_text(struct arena *arena, const char *text, const char **copy)
{
    *copy = arena_string(arena, bytes_of(text));
    return *copy != NULL ? OK : ERR_MEMORY;
}

static err_t
copy_principal(
    struct arena *arena, const struct access_principal *from, struct access_principal **to)
{
    struct access_principal *copy = arena_alloc(arena, sizeof *copy);
    struct access_grant *grant = arena_alloc(arena, (from->grant_count + 1) * sizeof *grant);

    if (copy == NULL || grant == NULL)
        return ERR_MEMORY;
    TRY_RETURN(copy_text(arena, from->tenant, &copy->tenant));
    TRY_RETURN(copy_text(arena, from->name, &copy->name));
    for (size_t i = 0; i < from->grant_count; i++) {
        grant[i] = from->grant[i];
        TRY_RETURN(copy_text(arena, from->grant[i].scope.database, &grant[i].scope.database));
        TRY_RETURN(copy_text(arena, from->grant[i].scope.collection, &grant[i].scope.collection));
    }
    copy->grant = grant;
    copy->grant_count = from->grant_count;
    *to = copy;
    return OK;
}

/* Become this principal.  The selection is kept if the tenant is the same. */
static err_t
become(struct text_run *run, const struct access_principal *principal)
{
    struct access_principal *copy;
    bool same = run->principal != NULL && strcmp(run->principal->tenant, principal->tenant) == 0;

    run->principal = NULL;
    log_context.tenant = log_context.user = NULL;
    arena_reset(run->arena); /* L1 */
    if (!same)
        run->database[0] = '\0';
    TRY_RETURN(copy_principal(run->arena, principal, &copy));
    run->principal = copy;
    log_context.tenant = copy->tenant;
    log_context.user = copy->name;
    return OK;
}

static err_t
make_tenant(struct text_run *run, const char *tenant)
{
    struct txn *txn;
    bool exists;
    err_t err;

    catalog_enter();
    TRY(catalog_tenant_exists(run->op, NULL, tenant, &exists));
    if (exists)
        goto out;
    TRY(txn_begin(run->op, TXN_READ_COMMITTED, true, &txn));
    err = catalog_create_tenant(run->op, txn, tenant);
    if (err == OK) {
        err = txn_commit(run->op, txn, true);
    } else {
        txn_abort(run->op, txn);
        if (err == ERR_NAMESPACE_EXISTS)
            err = OK; /* another login was quicker */
    }
out:
    catalog_leave();
    return err;
}

err_t
text_login_login(struct text_run *run, const struct textcmd *command)
{
    struct users_user user;
    struct buf *out = run->out;
    bool right;

    TRY_RETURN(
        users_login(run->op, command->arg[0], command->arg[1], command->arg[2], &user, &right));
    if (!right)
        return text_run_refuse(run, "invalid credentials");
    TRY_RETURN(make_tenant(run, user.principal.tenant));
    TRY_RETURN(become(run, &user.principal));
    run->proven = true;
    run->valid_until_ms = clock_wall_ms() + run->config->auth_session_max_secs * 1000;
    TRY_RETURN(buf_append_text(out, "+TOKEN "));
    TRY_RETURN(tokens_issue(out, run->config, run->principal, TOKENS_ACCESS));
    TRY_RETURN(buf_append_byte(out, ' '));
    TRY_RETURN(tokens_issue(out, run->config, run->principal, TOKENS_REFRESH));
    return buf_append_text(out, "\r\n");
}

/* Verify a token and find its user as the record is now.  *good false: it has been answered. */
static err_t
find_bearer(struct text_run *run, struct bytes token, enum tokens_kind kind,
    struct tokens_claims *claims, struct users_user *user, bool *good)
{
    const char *refusal;
    bool found;

    *good = false;
    TRY_RETURN(tokens_verify(run->op->arena, run->config, token, kind, claims, &refusal));
    if (refusal != NULL)
        return text_run_refuse(run, "%s", refusal);
    TRY_RETURN(users_find(run->op, NULL, claims->tenant, claims->user, user, &found));
    if (!found || !user->enabled)
        return text_run_refuse(run, "invalid credentials");
    *good = true;
    return OK;
}

err_t
text_login_token(struct text_run *run, const struct textcmd *command)
{
    struct tokens_claims claims;
    struct users_user user;
    bool good, same;

    TRY_RETURN(find_bearer(run, command->arg[0], TOKENS_ACCESS, &claims, &user, &good));
    if (!good)
        return OK;
    same = run->principal != NULL && strcmp(run->principal->tenant, user.principal.tenant) == 0 &&
           strcmp(run->principal->name, user.principal.name) == 0;
    TRY_RETURN(become(run, &user.principal));
    if (!(same && run->proven && clock_wall_ms() <= run->valid_until_ms)) {
        run->proven = false;
        run->valid_until_ms = claims.expires_secs * 1000;
    }
    return textreply_simple(run->out, "OK");
}

err_t
text_login_refresh(struct text_run *run, const struct textcmd *command)
{
    struct tokens_claims claims;
    struct users_user user;
    bool good;

    TRY_RETURN(find_bearer(run, command->arg[0], TOKENS_REFRESH, &claims, &user, &good));
    if (!good)
        return OK;
    TRY_RETURN(buf_append_text(run->out, "+TOKEN "));
    TRY_RETURN(tokens_issue(run->out, run->config, &user.principal, TOKENS_ACCESS));
    return buf_append_text(run->out, "\r\n");
}

err_t
text_login_whoami(struct text_run *run, const struct textcmd *command)
{
    const struct access_principal *principal = run->principal;
    struct buf *line = &run->rows;

    (void)command;
    buf_clear(line);
    TRY_RETURN(buf_printf(line, "USER %s TENANT %s ROLES ", principal->name, principal->tenant));
    for (size_t i = 0; i < principal->grant_count; i++) {
        TRY_RETURN(buf_printf(
            line, "%s%s:", i > 0 ? "," : "", access_role_name(principal->grant[i].role)));
        TRY_RETURN(access_print(line, &principal->grant[i].scope));
    }
    return textreply_simple_bytes(run->out, buf_bytes(line));
}
