/*
 * shell.h - `gneiss shell`.
 */
#ifndef TOOLS_SHELL_H
#define TOOLS_SHELL_H

#include "tools/cli.h"

extern const struct cli_verb shell_verb;

#endif
