/*
 * benchtext.h - `gneiss bench` in the text protocol.
 */
#ifndef TOOLS_BENCHTEXT_H
#define TOOLS_BENCHTEXT_H

#include "tools/benchwire.h"

extern const struct benchwire_language benchtext_language;

#endif
