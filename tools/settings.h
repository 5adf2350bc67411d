/*
 * settings.h - `gneiss config`: every setting there is.
 */
#ifndef TOOLS_SETTINGS_H
#define TOOLS_SETTINGS_H

#include "tools/cli.h"

extern const struct cli_verb settings_verb;

#endif
