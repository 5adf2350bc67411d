/*
 * daemon.h - `gneiss start`, `stop`, `status`, `reload`: the server of a data directory.
 */
#ifndef TOOLS_DAEMON_H
#define TOOLS_DAEMON_H

#include "tools/cli.h"

extern const struct cli_verb daemon_start_verb, daemon_stop_verb, daemon_status_verb,
    daemon_reload_verb;

#endif
