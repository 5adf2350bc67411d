/*
 * jsonplace.c - where a member stands in a JSON text.
 *
 * The text is valid, so this only has to count quotes and brackets; bytes that are not give a
 * wrong place, never one outside the text.
 */
#include "base/doc/jsonplace.h"

#include <stdint.h>
#include <string.h>

static size_t
skip_string(struct bytes text, size_t at)
{
    for (at++; at < text.size && text.data[at] != '"'; at++)
        at += text.data[at] == '\\';
    return at + 1 < text.size ? at + 1 : text.size;
}

static size_t
skip_blank(struct bytes text, size_t at)
{
    while (at < text.size && memchr(" \t\r\n", text.data[at], 4) != NULL)
        at++;
    return at;
}

static size_t
skip_value(struct bytes text, size_t at)
{
    size_t depth = 0;

    while (at < text.size) {
        uint8_t byte = text.data[at];

        if (byte == '"') {
            at = skip_string(text, at);
        } else if (byte == '{' || byte == '[') {
            depth++;
            at++;
        } else if (byte == '}' || byte == ']') {
            depth -= depth > 0;
            at++;
        } else if (depth > 0) {
            at++;
            continue;
        } else
            while (at < text.size && memchr(",]} \t\r\n", text.data[at], 7) == NULL)
                at++;
        if (depth == 0)
            break;
    }
    return at;
}

/* The members of that name in the object at `at`. */
static struct jsonparse_place
locate_one(struct bytes text, size_t at, const char *name)
{
    struct jsonparse_place place = { 0 };
    size_t name_size = strlen(name);

    if (at >= text.size || text.data[at] != '{')
        return place;
    at = skip_blank(text, at + 1);
    while (at < text.size && text.data[at] == '"') {
        size_t key = at + 1, key_end = skip_string(text, at), start, end;
        bool same = key_end - key == name_size + 1 && memcmp(text.data + key, name, name_size) == 0;

        start = skip_blank(text, skip_blank(text, key_end) + 1);
        end = skip_value(text, start);
        if (same) {
            place.count++;
            place.start = start;
            place.end = end;
            if (place.count == 2)
                place.second_key_end = key_end;
        }
        at = skip_blank(text, end);
        if (at < text.size && text.data[at] == ',')
            at = skip_blank(text, at + 1);
    }
    return place;
}

struct jsonparse_place
jsonplace_find(struct bytes text, const char *const *path, unsigned parts)
{
    struct jsonparse_place place = { .start = skip_blank(text, 0) };

    for (unsigned i = 0; i < parts; i++) {
        place = locate_one(text, place.start, path[i]);
        if (place.count == 0)
            break;
    }
    return place;
}
