/*
 * place.c - where a tool's documents are.
 */
#include "tools/place.h"

#include <stdio.h>
#include <string.h>

#include "base/net.h"

err_t
place_address(const char *uri, char room[300], const char **address)
{
    const char *scheme_end = strstr(uri, "://");
    const char *host = scheme_end != NULL ? scheme_end + 3 : uri;
    size_t size = strcspn(host, "/");

    if (scheme_end != NULL && strncmp(uri, "json://", 7) != 0)
        return err_set(ERR_BAD_VALUE,
            "'%s' cannot be used: documents go through the JSON listener, json://host:port", uri);
    if (size == 0 || size > 250)
        return err_set(ERR_BAD_VALUE, "'%s' names no host", uri);
    (void)snprintf(room, 300, "%.*s", (int)size, host);
    if (!net_address_valid(room))
        (void)snprintf(room, 300, "%.*s:6382", (int)size, host);
    if (!net_address_valid(room))
        return err_set(ERR_BAD_VALUE, "'%s' is no address", uri);
    *address = room;
    return OK;
}
