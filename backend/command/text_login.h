/*
 * text_login.h - LOGIN, TOKEN, REFRESH, WHOAMI.
 */
#ifndef BACKEND_COMMAND_TEXT_LOGIN_H
#define BACKEND_COMMAND_TEXT_LOGIN_H

#include "backend/command/text_run.h"

err_t text_login_login(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_login_token(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_login_refresh(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_login_whoami(struct text_run *run, const struct textcmd *command) MUST_CHECK;

#endif
