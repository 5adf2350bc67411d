/*
 * benchmongo.h - `gneiss bench` in MongoDB's wire protocol.
 */
#ifndef TOOLS_BENCHMONGO_H
#define TOOLS_BENCHMONGO_H

#include "tools/benchwire.h"

extern const struct benchwire_language benchmongo_language;

#endif
