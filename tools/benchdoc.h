/*
 * benchdoc.h - the documents of `gneiss bench`.
 *
 *     {"active":true,"age":42,"name":"user-000000000007"}                        small
 *     {"active":true,"age":42,"name":"user-000000000007","tags":[…],"text":"…"}  all others
 *
 * Members stand in bytewise order, so that every listener gives them back as they came.  All
 * documents of a run have the same size and differ in key, name and age only.
 */
#ifndef TOOLS_BENCHDOC_H
#define TOOLS_BENCHDOC_H

#include "base/buf.h"
#include "base/err.h"

#define BENCHDOC_SIZE_LEAST 160 /* of one with tags and text */
#define BENCHDOC_SIZE_MOST  ((size_t)1 << 20)
#define BENCHDOC_NAME_SIZE  12 /* digits */
#define BENCHDOC_NAME_START "user-"

struct benchdoc {
    struct buf json;
    size_t age_at, name_at; /* of the digits, in the text */
    struct buf bson;        /* with _id in front */
    size_t bson_id_at, bson_age_at, bson_name_at;
};

/* `size` of its text; 0: a small one.  After OK or an error benchdoc_fini. */
err_t benchdoc_init(struct benchdoc *doc, size_t size) MUST_CHECK;
void benchdoc_fini(struct benchdoc *doc);

/* Twelve digits. */
void benchdoc_print_name(uint64_t name, uint8_t digits[BENCHDOC_NAME_SIZE]);

/* The text behind its opening brace. */
err_t benchdoc_append_members(
    const struct benchdoc *doc, struct buf *out, uint64_t name, uint8_t age) MUST_CHECK;
err_t benchdoc_append_bson(const struct benchdoc *doc, struct buf *out, uint64_t id, uint64_t name,
    uint8_t age) MUST_CHECK;

/* Does `text` begin with one of our documents, whatever name and age it has?  The opening brace has
   been taken off. */
bool benchdoc_match_members(const struct benchdoc *doc, struct bytes text, uint64_t *name);
bool benchdoc_match_bson(
    const struct benchdoc *doc, struct bytes document, uint64_t *id, uint64_t *name);

#endif
