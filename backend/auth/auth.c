/*
 * auth.c - what must be there before anybody can log in.
 */
#include "backend/auth/auth.h"

#include <string.h>

#include "backend/auth/nodeid.h"
#include "backend/auth/tokenkeys.h"
#include "backend/auth/users.h"
#include "base/clock.h"
#include "base/log.h"
#include "storage/collection/catalog.h"

#define SHORT_PASSWORD 8

static const struct access_grant everything = { ACCESS_SERVER_ADMIN, { ACCESS_SERVER, "", "" } };

static err_t
create_tenant(struct op *op, struct txn *txn, const char *tenant)
{
    bool exists;
    err_t err;

    catalog_enter();
    err = catalog_tenant_exists(op, txn, tenant, &exists);
    if (err == OK && !exists)
        err = catalog_create_tenant(op, txn, tenant);
    catalog_leave();
    return err;
}

static err_t
create_administrator(struct op *op, const char *password)
{
    struct users_user user = {
        .principal = { USERS_SYSTEM_TENANT, "admin", &everything, 1 },
        .created_ms = clock_wall_ms(),
        .enabled = true,
    };
    struct txn *txn;
    err_t err;

    if (strlen(password) < SHORT_PASSWORD)
        log_warn("the bootstrap password is shorter than %d characters", SHORT_PASSWORD);
    TRY_RETURN(users_set_password(&user, bytes_of(password)));
    TRY_RETURN(txn_begin(op, TXN_READ_COMMITTED, true, &txn));
    err = create_tenant(op, txn, USERS_SYSTEM_TENANT);
    if (err == OK)
        err = users_put(op, txn, &user);
    if (err != OK) {
        txn_abort(op, txn);
        return err;
    }
    TRY_RETURN(txn_commit(op, txn, true));
    log_info("created user admin in tenant %s", USERS_SYSTEM_TENANT);
    return OK;
}

err_t
auth_boot(struct op *op, const struct config *config, const char *bootstrap_password)
{
    bool any;

    TRY_RETURN(nodeid_prepare(config));
    TRY_RETURN(tokenkeys_prepare(config));
    TRY_RETURN(users_any_administrator(op, NULL, &any));
    if (any)
        return OK;
    if (bootstrap_password == NULL || bootstrap_password[0] == '\0')
        return err_set(ERR_CONFIG,
            "BootstrapRefused(\"no users on disk; pass --bootstrap-password <pw> (or set "
            "GRUMPYDB_BOOTSTRAP_PASSWORD) on first start to create the initial _system/admin "
            "account\")\nGNEISS_BOOTSTRAP_PASSWORD in the environment does the same");
    return create_administrator(op, bootstrap_password);
}

void
auth_reload(void)
{
    tokenkeys_forget();
}
