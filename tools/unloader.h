/*
 * unloader.h - `gneiss export`.
 */
#ifndef TOOLS_UNLOADER_H
#define TOOLS_UNLOADER_H

#include "tools/cli.h"

extern const struct cli_verb unloader_verb;

#endif
