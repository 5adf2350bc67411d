/*
 * bench.h - `gneiss bench`.
 */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include "tools/cli.h"

extern const struct cli_verb bench_verb;

#endif
