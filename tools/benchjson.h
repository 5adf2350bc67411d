/*
 * benchjson.h - `gneiss bench` in JSON lines.
 */
#ifndef TOOLS_BENCHJSON_H
#define TOOLS_BENCHJSON_H

#include "tools/benchwire.h"

extern const struct benchwire_language benchjson_language;

#endif
