/*
 * relaxed.c - JSON as people type it.
 */
#include "tools/relaxed.h"

#include <ctype.h>
#include <string.h>

size_t
relaxed_string_size(struct bytes text)
{
    if (text.size == 0 || (text.data[0] != '"' && text.data[0] != '\''))
        return 0;
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == '\\')
            i++;
        else if (text.data[i] == text.data[0])
            return i + 1;
    }
    return 0;
}

static struct bytes
from(struct bytes text, size_t start)
{
    return (struct bytes){ text.data + start, text.size - start };
}

size_t
relaxed_cut(struct bytes text, char mark)
{
    unsigned depth = 0;

    for (size_t i = 0; i < text.size; i++) {
        size_t string = relaxed_string_size(from(text, i));
        char byte = (char)text.data[i];

        if (string > 0)
            i += string - 1;
        else if (depth == 0 && byte == mark)
            return i;
        else if (byte == '{' || byte == '[' || byte == '(')
            depth++;
        else if (depth > 0 && (byte == '}' || byte == ']' || byte == ')'))
            depth--;
    }
    return text.size;
}

/* A string in single quotes, in double ones. */
static err_t
append_single(struct buf *out, struct bytes string)
{
    TRY_RETURN(buf_append_byte(out, '"'));
    for (size_t i = 1; i + 1 < string.size; i++) {
        uint8_t byte = string.data[i];

        if (byte == '\\' && i + 2 < string.size) {
            i++;
            if (string.data[i] != '\'')
                TRY_RETURN(buf_append_byte(out, '\\'));
            TRY_RETURN(buf_append_byte(out, string.data[i]));
        } else if (byte == '"') {
            TRY_RETURN(buf_append(out, "\\\"", 2));
        } else {
            TRY_RETURN(buf_append_byte(out, byte));
        }
    }
    return buf_append_byte(out, '"');
}

static bool
is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static size_t
space_size(struct bytes text)
{
    size_t size = 0;

    while (size < text.size && is_space(text.data[size]))
        size++;
    return size;
}

/* Bytes of a name [A-Za-z_$][A-Za-z0-9_$]* that a colon follows; 0: it is none. */
static size_t
key_size(struct bytes text)
{
    size_t size = 0, after;

    while (size < text.size &&
           (isalnum(text.data[size]) || text.data[size] == '_' || text.data[size] == '$'))
        size++;
    if (size == 0 || isdigit(text.data[0]))
        return 0;
    after = size + space_size(from(text, size));
    return after < text.size && text.data[after] == ':' ? size : 0;
}

/* Is the comma at the front one that nothing but the end of an object or array follows? */
static bool
is_trailing(struct bytes text)
{
    size_t after;

    if (text.data[0] != ',')
        return false;
    after = 1 + space_size(from(text, 1));
    return after < text.size && (text.data[after] == '}' || text.data[after] == ']');
}

err_t
relaxed_strict(struct buf *out, struct bytes text)
{
    bool at_key = false; /* behind { or , where a key may stand */

    for (size_t i = 0; i < text.size;) {
        struct bytes rest = from(text, i);
        size_t string = relaxed_string_size(rest), key = at_key ? key_size(rest) : 0;
        size_t used = 1;

        if (string > 0) {
            used = string;
            TRY_RETURN(rest.data[0] == '\''
                           ? append_single(out, (struct bytes){ rest.data, string })
                           : buf_append(out, rest.data, string));
        } else if (key > 0) {
            used = key;
            TRY_RETURN(buf_printf(out, "\"%.*s\"", (int)key, (const char *)rest.data));
        } else if (is_space(rest.data[0])) {
            TRY_RETURN(buf_append_byte(out, ' '));
        } else if (!is_trailing(rest)) {
            TRY_RETURN(buf_append_byte(out, rest.data[0]));
        }
        if (!is_space(rest.data[0]))
            at_key = rest.data[0] == '{' || rest.data[0] == ',';
        i += used;
    }
    return OK;
}
