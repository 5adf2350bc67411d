/*
 * datadir.h - `gneiss init`, `check`, `inspect`: data directories, without a server.
 */
#ifndef TOOLS_DATADIR_H
#define TOOLS_DATADIR_H

#include "tools/cli.h"

extern const struct cli_verb datadir_init_verb, datadir_check_verb, datadir_inspect_verb;

#endif
