/*
 * auth.h - what must be there before anybody can log in.
 */
#ifndef BACKEND_AUTH_AUTH_H
#define BACKEND_AUTH_AUTH_H

#include "base/config.h"
#include "base/op.h"

/* After recovery, by one process with a slot: the node's identity, the keys of tokens, and, if
   nobody holds server_admin, user `admin` of tenant `_system` with this password.  Each step may be
   repeated after a crash.  Errors: ERR_CONFIG "BootstrapRefused(…)": nobody could ever log in;
   those of files and of the catalog. */
err_t auth_boot(
    struct op *op, const struct config *config, const char *bootstrap_password) MUST_CHECK;

/* SIGHUP: keys may have been rotated. */
void auth_reload(void);

#endif
