/*
 * loader.h - `gneiss import`.
 */
#ifndef TOOLS_LOADER_H
#define TOOLS_LOADER_H

#include "tools/cli.h"

extern const struct cli_verb loader_verb;

#endif
