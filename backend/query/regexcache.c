/*
 * regexcache.c - compiled regular expressions, a few for each process.
 *
 * The table has SLOTS entries; a reference remembers the slot it was given, and an entry keeps
 * pattern and options to tell whether it is still the same.  Victims are taken in turn.
 *
 * INVARIANTS
 *  R1  An entry with code has a copy of the pattern; `data` fits every pattern (no captures
 *      wanted).
 *  R2  A match is bounded: MATCH_LIMIT steps, DEPTH_LIMIT levels, so no client's pattern can hold
 *      a process for long.
 *
 * IF A PROCESS DIES: everything here was its own.
 */
#include "backend/query/regexcache.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#define SLOTS       32
#define MATCH_LIMIT 1000000
#define DEPTH_LIMIT 10000
#define HEAP_KB_MAX 16384
#define PATTERN_MAX 32764 /* MongoDB's */

struct entry {
    pcre2_code *code;
    uint8_t *pattern;
    size_t size;
    uint32_t options;
};

static _Thread_local struct entry table[SLOTS];
static _Thread_local uint32_t turn;
static _Thread_local pcre2_match_data *data;
static _Thread_local pcre2_match_context *limits;

static bool
fits(const struct entry *entry, const struct regexcache_ref *ref)
{
    return entry->code != NULL && entry->options == ref->options &&
           bytes_equal((struct bytes){ entry->pattern, entry->size }, ref->pattern);
}

static err_t
prepare(void)
{
    if (data == NULL)
        data = pcre2_match_data_create(1, NULL);
    if (limits == NULL) {
        limits = pcre2_match_context_create(NULL);
        if (limits != NULL) {
            pcre2_set_match_limit(limits, MATCH_LIMIT); /* R2 */
            pcre2_set_depth_limit(limits, DEPTH_LIMIT);
            pcre2_set_heap_limit(limits, HEAP_KB_MAX);
        }
    }
    if (data == NULL || limits == NULL)
        return err_set(ERR_MEMORY, "could not prepare regular expressions: out of memory");
    return OK;
}

static void
empty(struct entry *entry)
{
    pcre2_code_free(entry->code);
    free(entry->pattern);
    *entry = (struct entry){ 0 };
}

/* Compile into the next slot. */
static err_t
load(struct regexcache_ref *ref)
{
    struct entry *entry;
    PCRE2_SIZE where;
    int failure;

    TRY_RETURN(prepare());
    ref->slot = turn++ % SLOTS;
    entry = &table[ref->slot];
    empty(entry);
    entry->pattern = malloc(ref->pattern.size + 1);
    if (entry->pattern == NULL)
        return err_set(ERR_MEMORY, "could not compile a regular expression: out of memory");
    if (ref->pattern.size > 0)
        memcpy(entry->pattern, ref->pattern.data, ref->pattern.size);
    entry->size = ref->pattern.size;
    entry->options = ref->options;
    entry->code = pcre2_compile(entry->pattern, entry->size, ref->options, &failure, &where, NULL);
    if (entry->code == NULL) {
        PCRE2_UCHAR text[128];
        err_t err;

        (void)pcre2_get_error_message(failure, text, sizeof text);
        err = err_set(ERR_BAD_VALUE, "Regular expression is invalid: %s", (const char *)text);
        err_set_mongo(51091, NULL);
        empty(entry);
        return err;
    }
    (void)pcre2_jit_compile(entry->code, PCRE2_JIT_COMPLETE); /* without it: interpreted */
    return OK;
}

static err_t
read_options(struct bytes options, uint32_t *bits)
{
    *bits = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
    for (size_t i = 0; i < options.size; i++)
        switch (options.data[i]) {
        case 'i':
            *bits |= PCRE2_CASELESS;
            break;
        case 'm':
            *bits |= PCRE2_MULTILINE;
            break;
        case 's':
            *bits |= PCRE2_DOTALL;
            break;
        case 'x':
            *bits |= PCRE2_EXTENDED;
            break;
        case 'u':
            break;
        default: {
            err_t err = err_set(ERR_BAD_VALUE, "invalid flag in regex options: %c",
                options.data[i] >= 32 && options.data[i] < 127 ? options.data[i] : '?');

            err_set_mongo(51108, NULL);
            return err;
        }
        }
    return OK;
}

err_t
regexcache_make(
    struct arena *arena, struct bytes pattern, struct bytes options, struct regexcache_ref **ref)
{
    struct regexcache_ref *made = arena_zalloc(arena, sizeof *made);

    if (made == NULL)
        return ERR_MEMORY;
    if (pattern.size > PATTERN_MAX) {
        err_t err = err_set(ERR_BAD_VALUE, "Regular expression is invalid: too long");

        err_set_mongo(51091, NULL);
        return err;
    }
    made->pattern.data = arena_copy(arena, pattern.data, pattern.size);
    if (made->pattern.data == NULL)
        return ERR_MEMORY;
    made->pattern.size = pattern.size;
    TRY_RETURN(read_options(options, &made->options));
    for (uint32_t i = 0; i < SLOTS; i++)
        if (fits(&table[i], made)) {
            made->slot = i;
            *ref = made;
            return OK;
        }
    TRY_RETURN(load(made));
    *ref = made;
    return OK;
}

err_t
regexcache_match(struct regexcache_ref *ref, struct bytes text, bool *matches)
{
    int result;

    *matches = false;
    if (!fits(&table[ref->slot], ref))
        TRY_RETURN(load(ref));
    result = pcre2_match(table[ref->slot].code, text.size > 0 ? text.data : (PCRE2_SPTR) "",
        text.size, 0, 0, data, limits);
    if (result >= 0)
        *matches = true;
    else if (result != PCRE2_ERROR_NOMATCH) {
        err_t err = err_set(ERR_BAD_VALUE,
            "Error occurred while executing the regular expression: it needs too much work");

        err_set_mongo(51156, NULL);
        return err;
    }
    return OK;
}

void
regexcache_forget(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        empty(&table[i]);
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    data = NULL;
    limits = NULL;
}
