/*
 * ids.c - universally unique numbers.
 */
#include "base/ids.h"

#include <string.h>
#include <uuid/uuid.h>

_Static_assert(sizeof(struct uuid) == sizeof(uuid_t), "sixteen bytes, no holes");

struct uuid
ids_uuid(void)
{
    struct uuid uuid;

    uuid_generate_random(uuid.bytes);
    return uuid;
}

void
ids_format(const struct uuid *uuid, char text[IDS_TEXT_SIZE])
{
    uuid_unparse_lower(uuid->bytes, text);
}

bool
ids_parse(struct bytes text, struct uuid *uuid)
{
    char copy[IDS_TEXT_SIZE];

    if (text.size != IDS_TEXT_SIZE - 1)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return uuid_parse(copy, uuid->bytes) == 0;
}
