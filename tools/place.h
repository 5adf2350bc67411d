/*
 * place.h - where a tool's documents are: --data DIR, or --uri json://host:port.
 */
#ifndef TOOLS_PLACE_H
#define TOOLS_PLACE_H

#include "base/err.h"

#define PLACE_JSON_DEFAULT "127.0.0.1:6382"

/* The address in "json://host:port", "json://host" or "host:port".  `room` keeps what has to be
   completed.  Errors: ERR_BAD_VALUE. */
err_t place_address(const char *uri, char room[300], const char **address) MUST_CHECK;

#endif
