/*
 * toml.c - a reader for TOML 1.0.
 *
 * One pass over the bytes, recursive only into arrays and inline tables (bound:
 * TOML_DEPTH_MAX).  TOML forbids to define a thing twice, so each table remembers how it
 * came to be:
 *
 *   IMPLIED   named only on the way to another ([a.b] implies a)   may be given a header once
 *   DOTTED    made by a dotted key (a.b = 1 makes a)               more dotted keys, same table
 *   HEADED    has had its [header]                                 keys follow; no second header
 *   CLOSED    an inline table or array                             never changes again
 *   ELEMENTS  an array made by [[header]]                          more [[header]]s append
 *
 * INVARIANTS
 *   T1  `at` never passes `end`; every byte is looked at before it is taken.
 *   T2  A key is unique within its table.
 */
#include "base/toml.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/utf8.h"

enum { IMPLIED, DOTTED, HEADED, CLOSED, ELEMENTS };

#define TOKEN_MAX 128 /* of a number or date */

struct parser {
    struct arena *arena;
    const char *name;
    const uint8_t *at, *end;
    int line;
    int nodes;
    struct buf scratch; /* a string being put together */
    struct toml *root;
    struct toml *table; /* the one that plain keys go to now */
    uint32_t section;   /* of a header or inline table; a dotted table belongs to one */
    uint32_t sections;  /* how many there were */
};

/* Macros, so that an analyser sees that what they yield is an error. */
#define fail_at(p, line, ...) (note_failure((p), (line), __VA_ARGS__), ERR_CONFIG)
#define fail(p, ...)          fail_at(p, (p)->line, __VA_ARGS__)

__attribute__((format(printf, 3, 4))) static void
note_failure(const struct parser *p, int line, const char *format, ...)
{
    char why[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    (void)err_set(ERR_CONFIG, "%s:%d: %s", p->name, line, why);
}

static int
peek(const struct parser *p)
{
    return p->at < p->end ? *p->at : -1;
}

static bool
looking_at(const struct parser *p, const char *text)
{
    size_t size = strlen(text);

    return (size_t)(p->end - p->at) >= size && memcmp(p->at, text, size) == 0;
}

static bool
take(struct parser *p, const char *text)
{
    if (!looking_at(p, text))
        return false;
    p->at += strlen(text);
    return true;
}

static void
skip_blanks(struct parser *p)
{
    while (peek(p) == ' ' || peek(p) == '\t')
        p->at++;
}

/* A line's end, if it stands here. */
static bool
take_newline(struct parser *p)
{
    if (!take(p, "\n") && !take(p, "\r\n"))
        return false;
    p->line++;
    return true;
}

static err_t
skip_comment(struct parser *p)
{
    if (peek(p) != '#')
        return OK;
    while (p->at < p->end && !looking_at(p, "\n") && !looking_at(p, "\r\n")) {
        if ((*p->at < 0x20 && *p->at != '\t') || *p->at == 0x7f)
            return fail(p, "a comment may not hold the control character 0x%02x", *p->at);
        p->at++;
    }
    return OK;
}

/* Blanks, comments and line ends, as between the elements of an array. */
static err_t
skip_space(struct parser *p)
{
    do {
        skip_blanks(p);
        TRY_RETURN(skip_comment(p));
    } while (take_newline(p));
    return OK;
}

static err_t
expect_line_end(struct parser *p)
{
    skip_blanks(p);
    TRY_RETURN(skip_comment(p));
    if (p->at == p->end || take_newline(p))
        return OK;
    return fail(p, "something follows where the line should end");
}

const char *
toml_type_name(enum toml_type type)
{
    static const char *const names[] = { "a string", "an integer", "a number with a fraction",
        "true or false", "a date or time", "an array", "a table" };

    return names[type];
}

/* ---- the tree ---- */

static uint32_t
hash_key(struct bytes key)
{
    return (uint32_t)hash_bytes(key.data, key.size, 0);
}

static struct toml *
find(const struct toml *table, struct bytes key)
{
    uint32_t hash = hash_key(key);

    for (struct toml *member = table->first; member != NULL; member = member->next)
        if (member->hash == hash && bytes_equal(member->key, key))
            return member;
    return NULL;
}

const struct toml *
toml_get(const struct toml *table, const char *key)
{
    return find(table, bytes_of(key));
}

static err_t
add(struct parser *p, struct toml *parent, struct bytes key, enum toml_type type,
    struct toml **made)
{
    struct toml *node;

    if (++p->nodes > TOML_NODES_MAX)
        return fail(p, "there are more than %d keys and values", TOML_NODES_MAX);
    node = arena_zalloc(p->arena, sizeof *node);
    if (node == NULL)
        return ERR_MEMORY;
    node->type = type;
    node->line = p->line;
    node->key = key;
    node->hash = hash_key(key);
    if (parent != NULL && parent->last != NULL)
        parent->last->next = node;
    else if (parent != NULL)
        parent->first = node;
    if (parent != NULL)
        parent->last = node;
    *made = node;
    return OK;
}

/* ---- strings ---- */

static err_t
keep(struct parser *p, struct bytes *text)
{
    char *copy = arena_string(p->arena, buf_bytes(&p->scratch));

    if (copy == NULL)
        return ERR_MEMORY;
    *text = (struct bytes){ (const uint8_t *)copy, p->scratch.size };
    return OK;
}

static err_t
parse_code_point(struct parser *p, int digits)
{
    uint32_t code_point = 0;
    uint8_t bytes[4];
    size_t size;

    for (int i = 0; i < digits; i++) {
        int value = hex_digit(peek(p));

        if (value < 0)
            return fail(p, "\\%c wants %d hexadecimal digits", digits == 4 ? 'u' : 'U', digits);
        if (code_point > 0x10ffff)
            return fail(p, "\\U%08x… is no character", (unsigned)code_point);
        code_point = code_point << 4 | (uint32_t)value;
        p->at++;
    }
    size = utf8_encode(code_point, bytes);
    if (size == 0)
        return fail(p, "U+%04X is no character", (unsigned)code_point);
    return buf_append(&p->scratch, bytes, size);
}

/* Behind a backslash at the end of a line everything blank is left out. */
static bool
take_line_ending_backslash(struct parser *p)
{
    const uint8_t *before = p->at;

    skip_blanks(p);
    if (!take_newline(p)) {
        p->at = before;
        return false;
    }
    do
        skip_blanks(p);
    while (take_newline(p));
    return true;
}

static err_t
parse_escape(struct parser *p, bool multiline)
{
    static const char from[] = "btnfr\"\\";
    static const char to[] = "\b\t\n\f\r\"\\";
    int c = peek(p);
    const char *found = c > 0 ? strchr(from, c) : NULL;

    if (multiline && take_line_ending_backslash(p))
        return OK;
    if (c >= 0)
        p->at++;
    if (c == 'u' || c == 'U')
        return parse_code_point(p, c == 'u' ? 4 : 8);
    if (found == NULL)
        return fail(p, "there is no such escape: a backslash is written \\\\, or use '…'");
    return buf_append_byte(&p->scratch, (uint8_t)to[found - from]);
}

/* One character of a string, a line end included if it may hold one. */
static err_t
parse_plain(struct parser *p, bool multiline)
{
    const uint8_t *before = p->at;

    if (multiline && take_newline(p))
        return buf_append(&p->scratch, before, (size_t)(p->at - before));
    if (*before == '\n' || *before == '\r')
        return fail(p, "a string is not closed at the end of its line");
    if ((*before < 0x20 && *before != '\t') || *before == 0x7f)
        return fail(p, "a string may not hold the control character 0x%02x", *before);
    p->at++;
    return buf_append_byte(&p->scratch, *before);
}

/* Up to two quotes may stand before the three that close a multi-line string. */
static err_t
close_multiline(struct parser *p, uint8_t quote, bool *closed)
{
    size_t count = 0;

    while (count < 5 && p->at < p->end && *p->at == quote) {
        p->at++;
        count++;
    }
    *closed = count >= 3;
    for (size_t i = *closed ? 3 : 0; i < count; i++)
        TRY_RETURN(buf_append_byte(&p->scratch, quote));
    return OK;
}

static err_t
parse_string(struct parser *p, bool may_be_multiline, struct bytes *text)
{
    uint8_t quote = *p->at;
    const char *three = quote == '"' ? "\"\"\"" : "'''";
    bool multiline = may_be_multiline && take(p, three);
    int line = p->line;

    buf_clear(&p->scratch);
    if (multiline)
        (void)take_newline(p);
    else
        p->at++;
    while (p->at < p->end) {
        bool closed = true;

        if (*p->at == quote && multiline) {
            TRY_RETURN(close_multiline(p, quote, &closed));
        } else if (*p->at == quote) {
            p->at++;
        } else if (*p->at == '\\' && quote == '"') {
            p->at++;
            closed = false;
            TRY_RETURN(parse_escape(p, multiline));
        } else {
            closed = false;
            TRY_RETURN(parse_plain(p, multiline));
        }
        if (closed)
            return keep(p, text);
    }
    return fail_at(p, line, "a string is not closed");
}

/* ---- keys ---- */

static bool
is_bare(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static err_t
parse_key_part(struct parser *p, struct bytes *part)
{
    const uint8_t *start = p->at;

    if (peek(p) == '"' || peek(p) == '\'')
        return parse_string(p, false, part);
    while (is_bare(peek(p)))
        p->at++;
    if (p->at == start)
        return fail(p, "a key is expected here");
    buf_clear(&p->scratch);
    TRY_RETURN(buf_append(&p->scratch, start, (size_t)(p->at - start)));
    return keep(p, part);
}

/* a.b."c d": `parts` of them, at most TOML_DEPTH_MAX. */
static err_t
parse_key(struct parser *p, struct bytes parts[TOML_DEPTH_MAX], size_t *count)
{
    *count = 0;
    do {
        if (*count == TOML_DEPTH_MAX)
            return fail(p, "a key has more than %d parts", TOML_DEPTH_MAX);
        skip_blanks(p);
        TRY_RETURN(parse_key_part(p, &parts[(*count)++]));
        skip_blanks(p);
    } while (take(p, "."));
    return OK;
}

static err_t
fail_twice(const struct parser *p, const struct toml *old)
{
    return fail(p, "%.*s stands already in line %d", (int)(old->key.size < 64 ? old->key.size : 64),
        (const char *)old->key.data, old->line);
}

/* ---- values ---- */

static err_t parse_value(struct parser *p, struct toml *parent, struct bytes key, int depth);

static bool
is_digits(const char *text, const char *pattern)
{
    for (; *pattern != '\0'; pattern++, text++)
        if (*pattern == 'd' ? *text < '0' || *text > '9' : *text != *pattern)
            return false;
    return true;
}

/* hh:mm:ss[.fraction]; what is left behind it, or NULL. */
static const char *
match_time(const char *text)
{
    if (!is_digits(text, "dd:dd:dd"))
        return NULL;
    text += 8;
    if (text[0] == '.' && is_digits(text + 1, "d"))
        for (text++; *text >= '0' && *text <= '9'; text++)
            ;
    return text;
}

static bool
is_datetime(const char *text)
{
    if (!is_digits(text, "dddd-dd-dd")) {
        const char *rest = match_time(text);

        return rest != NULL && *rest == '\0';
    }
    text += 10;
    if (*text == '\0')
        return true;
    if (*text != 'T' && *text != 't' && *text != ' ')
        return false;
    text = match_time(text + 1);
    if (text == NULL)
        return false;
    if (*text == 'Z' || *text == 'z')
        return text[1] == '\0';
    if (*text == '+' || *text == '-')
        return is_digits(text + 1, "dd:dd") && text[6] == '\0';
    return *text == '\0';
}

static bool
is_digit_of(const char *token, char c)
{
    return (c >= '0' && c <= '9') || (token[0] == '0' && token[1] == 'x' &&
                                         ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

/* Drop the underscores, each of which must stand between two digits. */
static bool
join_digits(const char *token, char *out)
{
    for (size_t i = 0; token[i] != '\0'; i++) {
        if (token[i] != '_')
            *out++ = token[i];
        else if (i == 0 || !is_digit_of(token, token[i - 1]) || !is_digit_of(token, token[i + 1]))
            return false;
    }
    *out = '\0';
    return true;
}

static bool
parse_integer(const char *text, int64_t *value)
{
    const char *body = text + (*text == '+' || *text == '-');
    int base = strncmp(text, "0x", 2) == 0   ? 16
               : strncmp(text, "0o", 2) == 0 ? 8
               : strncmp(text, "0b", 2) == 0 ? 2
                                             : 10;
    char *end;

    if (base != 10)
        body = text + 2;
    else if (body[0] == '0' && body[1] != '\0')
        return false; /* no leading zeros */
    if (*body == '\0')
        return false;
    for (const char *c = body; *c != '\0'; c++) {
        int digit = hex_digit(*c);

        if (digit < 0 || digit >= base)
            return false;
    }
    errno = 0;
    *value = strtoll(base == 10 ? text : body, &end, base);
    return errno == 0 && *end == '\0';
}

static bool
parse_float(const char *text, double *value)
{
    const char *at = text + (*text == '+' || *text == '-');
    bool fraction = false;
    char *end;

    if (strcmp(at, "inf") == 0 || strcmp(at, "nan") == 0) {
        double magnitude = *at == 'i' ? HUGE_VAL : (double)NAN;

        *value = *text == '-' ? -magnitude : magnitude;
        return true;
    }
    if (*at < '0' || *at > '9' || (at[0] == '0' && at[1] >= '0' && at[1] <= '9'))
        return false;
    while (*at >= '0' && *at <= '9')
        at++;
    if (*at == '.') {
        fraction = true;
        if (!is_digits(++at, "d"))
            return false;
        while (*at >= '0' && *at <= '9')
            at++;
    }
    if (*at == 'e' || *at == 'E') {
        fraction = true;
        at++;
        at += *at == '+' || *at == '-';
        if (!is_digits(at, "d"))
            return false;
        while (*at >= '0' && *at <= '9')
            at++;
    }
    if (!fraction || *at != '\0')
        return false;
    *value = strtod(text, &end);
    return *end == '\0';
}

/* Number, date or word: everything up to what may follow a value. */
static err_t
read_token(struct parser *p, char token[TOKEN_MAX])
{
    size_t size = 0;

    while (p->at < p->end) {
        int c = *p->at;
        bool date_blank = c == ' ' && size == 10 && token[4] == '-' && p->end - p->at > 1 &&
                          p->at[1] >= '0' && p->at[1] <= '9';

        if (!is_bare(c) && c != '+' && c != '.' && c != ':' && !date_blank)
            break;
        if (size == TOKEN_MAX - 1)
            return fail(p, "a value is too long; a string wants quotes");
        token[size++] = (char)c;
        p->at++;
    }
    token[size] = '\0';
    if (size == 0)
        return fail(p, "a value is expected here");
    return OK;
}

static err_t
parse_scalar(struct parser *p, struct toml *node)
{
    char token[TOKEN_MAX], joined[TOKEN_MAX];

    TRY_RETURN(read_token(p, token));
    if (strcmp(token, "true") == 0 || strcmp(token, "false") == 0) {
        node->type = TOML_BOOL;
        node->boolean = token[0] == 't';
    } else if (is_datetime(token)) {
        node->type = TOML_DATETIME;
        buf_clear(&p->scratch);
        TRY_RETURN(buf_append_text(&p->scratch, token));
        TRY_RETURN(keep(p, &node->text));
    } else if (join_digits(token, joined) && parse_integer(joined, &node->integer)) {
        node->type = TOML_INTEGER;
    } else if (join_digits(token, joined) && parse_float(joined, &node->number)) {
        node->type = TOML_FLOAT;
    } else {
        return fail(p, "'%s' is no value; a string wants quotes", token);
    }
    return OK;
}

static err_t
parse_array(struct parser *p, struct toml *array, int depth)
{
    int line = p->line;

    p->at++;
    for (;;) {
        TRY_RETURN(skip_space(p));
        if (take(p, "]"))
            return OK;
        if (p->at == p->end)
            return fail_at(p, line, "an array is not closed");
        TRY_RETURN(parse_value(p, array, (struct bytes){ NULL, 0 }, depth + 1));
        TRY_RETURN(skip_space(p));
        if (!take(p, ",") && peek(p) != ']')
            return fail(p, "a comma or ] is expected in the array that begins in line %d", line);
    }
}

static err_t parse_pair(struct parser *p, struct toml *table, int depth);

static err_t
parse_inline_table(struct parser *p, struct toml *table, int depth)
{
    uint32_t outer = p->section;

    p->at++;
    p->section = ++p->sections;
    skip_blanks(p);
    if (!take(p, "}")) {
        for (;;) {
            TRY_RETURN(parse_pair(p, table, depth + 1));
            skip_blanks(p);
            if (take(p, "}"))
                break;
            if (!take(p, ","))
                return fail(p, "a comma or } is expected in an inline table");
        }
    }
    p->section = outer;
    return OK;
}

/* An inline table is closed with all that dotted keys made inside it, which the section
   number does: no later key can be of the same section. */
static err_t
parse_value(struct parser *p, struct toml *parent, struct bytes key, int depth)
{
    struct toml *node;

    if (depth > TOML_DEPTH_MAX)
        return fail(p, "nested more than %d deep", TOML_DEPTH_MAX);
    TRY_RETURN(add(p, parent, key, TOML_STRING, &node));
    switch (peek(p)) {
    case '"':
    case '\'':
        return parse_string(p, true, &node->text);
    case '[':
        node->type = TOML_ARRAY;
        node->state = CLOSED;
        return parse_array(p, node, depth);
    case '{':
        node->type = TOML_TABLE;
        node->state = CLOSED;
        return parse_inline_table(p, node, depth);
    default:
        return parse_scalar(p, node);
    }
}

/* ---- lines ---- */

/* The state of a table that dotted keys made names the section too, so that a later section
   cannot add to it. */
static uint32_t
dotted_state(const struct parser *p)
{
    return DOTTED | p->section << 3;
}

static err_t
parse_pair(struct parser *p, struct toml *table, int depth)
{
    struct bytes parts[TOML_DEPTH_MAX] = { { NULL, 0 } };
    struct toml *old;
    size_t count;

    TRY_RETURN(parse_key(p, parts, &count));
    for (size_t i = 0; i + 1 < count; i++) {
        struct toml *inner = find(table, parts[i]);

        if (inner == NULL) {
            TRY_RETURN(add(p, table, parts[i], TOML_TABLE, &inner));
            inner->state = dotted_state(p);
        } else if (inner->type != TOML_TABLE || inner->state != dotted_state(p)) {
            return fail_twice(p, inner);
        }
        table = inner;
    }
    old = find(table, parts[count - 1]);
    if (old != NULL)
        return fail_twice(p, old); /* T2 */
    if (!take(p, "="))
        return fail(p, "= is expected behind a key");
    skip_blanks(p);
    return parse_value(p, table, parts[count - 1], depth + (int)count);
}

/* One step of a header's path: into a table, or into the newest element of an array. */
static err_t
descend(struct parser *p, struct toml **table, struct bytes part)
{
    struct toml *inner = find(*table, part);

    if (inner == NULL)
        return add(p, *table, part, TOML_TABLE, table); /* IMPLIED */
    if (inner->type == TOML_ARRAY && inner->state == ELEMENTS)
        inner = inner->last;
    if (inner->type != TOML_TABLE || inner->state == CLOSED)
        return fail_twice(p, inner);
    *table = inner;
    return OK;
}

static err_t
open_table(struct parser *p, struct toml *parent, struct bytes name)
{
    struct toml *table = find(parent, name);

    if (table == NULL)
        TRY_RETURN(add(p, parent, name, TOML_TABLE, &table));
    else if (table->type != TOML_TABLE || table->state != IMPLIED)
        return fail_twice(p, table);
    table->state = HEADED;
    table->line = p->line;
    p->table = table;
    return OK;
}

static err_t
open_element(struct parser *p, struct toml *parent, struct bytes name)
{
    struct toml *array = find(parent, name);

    if (array == NULL) {
        TRY_RETURN(add(p, parent, name, TOML_ARRAY, &array));
        array->state = ELEMENTS;
    } else if (array->type != TOML_ARRAY || array->state != ELEMENTS) {
        return fail_twice(p, array);
    }
    TRY_RETURN(add(p, array, (struct bytes){ NULL, 0 }, TOML_TABLE, &p->table));
    p->table->state = HEADED;
    return OK;
}

static err_t
parse_header(struct parser *p)
{
    struct bytes parts[TOML_DEPTH_MAX] = { { NULL, 0 } };
    struct toml *table = p->root;
    bool element = take(p, "[[");
    size_t count;

    if (!element)
        p->at++;
    p->section = ++p->sections;
    TRY_RETURN(parse_key(p, parts, &count));
    if (!take(p, element ? "]]" : "]"))
        return fail(p, "%s is expected behind a table's name", element ? "]]" : "]");
    for (size_t i = 0; i + 1 < count; i++)
        TRY_RETURN(descend(p, &table, parts[i]));
    return element ? open_element(p, table, parts[count - 1])
                   : open_table(p, table, parts[count - 1]);
}

static err_t
parse_document(struct parser *p)
{
    TRY_RETURN(add(p, NULL, (struct bytes){ NULL, 0 }, TOML_TABLE, &p->root));
    p->root->state = HEADED;
    p->table = p->root;
    for (;;) {
        TRY_RETURN(skip_space(p));
        if (p->at == p->end)
            return OK;
        if (peek(p) == '[')
            TRY_RETURN(parse_header(p));
        else
            TRY_RETURN(parse_pair(p, p->table, 0));
        TRY_RETURN(expect_line_end(p));
    }
}

static int
count_lines(const uint8_t *text, size_t size)
{
    int lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines;
}

err_t
toml_parse(struct arena *arena, const char *name, struct bytes text, struct toml **root)
{
    struct parser p = { .arena = arena, .name = name, .line = 1 };
    size_t valid = utf8_valid_prefix(text);
    err_t err;

    *root = NULL;
    p.scratch = buf_init(TOML_SIZE_MAX);
    if (text.size > TOML_SIZE_MAX)
        return fail(&p, "the file is larger than %zu bytes", TOML_SIZE_MAX);
    if (valid < text.size)
        return fail_at(&p, count_lines(text.data, valid), "this is not UTF-8");
    p.at = text.data;
    p.end = text.data + text.size;
    (void)take(&p, "\xef\xbb\xbf"); /* a byte order mark */
    TRY(parse_document(&p));
    *root = p.root;
out:
    buf_fini(&p.scratch);
    return err;
}
