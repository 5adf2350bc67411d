/*
 * textname.c - names of things that are created.
 *
 * The checks come in the order of section 5.2: empty, too long, reserved, first odd character.
 */
#include "base/wire/textname.h"

#include <stdio.h>

#include "base/wire/textline.h"
#include "base/wire/textspace.h"

#define SYNTAX "only [a-z0-9_] allowed"

static bool
is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Bytes of the UTF-8 character that begins at `at`; 1 for anything odd. */
static size_t
character_size(struct bytes text, size_t at)
{
    uint8_t lead = text.data[at];
    size_t size = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

    return size <= text.size - at ? size : 1;
}

static const char *
too_long(size_t size, size_t size_max, char *room)
{
    (void)snprintf(room, TEXTNAME_TEXT_MAX, "invalid name: name too long: %zu chars (max %zu)",
        size, size_max);
    return room;
}

static const char *
odd_character(struct bytes name, size_t at, const char *allowed, char *room)
{
    (void)snprintf(room, TEXTNAME_TEXT_MAX, "invalid name: invalid character '%.*s': %s",
        (int)character_size(name, at), (const char *)name.data + at, allowed);
    return room;
}

const char *
textname_check(struct bytes name, char room[TEXTNAME_TEXT_MAX])
{
    if (name.size == 0)
        return "invalid name: name cannot be empty";
    if (name.size > TEXTNAME_SIZE_MAX)
        return too_long(name.size, TEXTNAME_SIZE_MAX, room);
    if (name.data[0] == '_' && !bytes_is(name, "_default") && !bytes_is(name, "_system"))
        return "invalid name: names starting with '_' are reserved";
    for (size_t i = 0; i < name.size; i++)
        if (!is_name_byte(name.data[i]))
            return odd_character(name, i, SYNTAX, room);
    return NULL;
}

/* Control characters (ASCII's and U+0080–009F), white space, and the '@'. */
static bool
is_odd_in_user(struct bytes name, size_t at)
{
    const uint8_t *end = name.data + name.size;
    uint8_t c = name.data[at];

    if (c < 0x80)
        return c <= ' ' || c == '@' || c == 0x7f;
    if (c == 0xc2 && at + 1 < name.size && name.data[at + 1] < 0xa0)
        return true;
    return textspace_size(name.data + at, end) > 0;
}

const char *
textname_check_user(struct bytes name, char room[TEXTNAME_TEXT_MAX])
{
    if (name.size == 0)
        return "invalid name: name cannot be empty";
    if (name.size > TEXTNAME_USER_SIZE_MAX)
        return too_long(name.size, TEXTNAME_USER_SIZE_MAX, room);
    if (!textline_is_utf8(name))
        return "invalid name: not UTF-8";
    for (size_t i = 0; i < name.size; i++)
        if (is_odd_in_user(name, i))
            return odd_character(
                name, i, "white space, '@' and control characters are not allowed", room);
    return NULL;
}
