/*
 * gneiss_bson.c - JSON to BSON and back, for callers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"
#include "client/embed.h"

#define JSON_MAX ((size_t)256 << 20) /* of one document: every byte as \u00xx, and then some */

int
gneiss_bson_from_json(
    const char *text, size_t size, struct gneiss_bson *document, struct gneiss_error *error)
{
    struct buf out = buf_init((size_t)BSONVALUE_INTERNAL_SIZE_MAX + 1);
    struct bytes made;
    err_t err = jsonparse_document(
        &out, (struct bytes){ (const uint8_t *)text, size }, &jsonparse_import, &made);

    if (err != OK) {
        buf_fini(&out);
        return embed_error(error, err);
    }
    *document = (struct gneiss_bson){ out.data, made.size };
    return GNEISS_OK;
}

char *
gneiss_bson_to_json(struct gneiss_bson document, unsigned form)
{
    struct buf out = buf_init(JSON_MAX);
    unsigned flags = (form & GNEISS_CANONICAL ? (unsigned)JSONPRINT_CANONICAL : 0) |
                     (form & GNEISS_PRETTY ? (unsigned)JSONPRINT_PRETTY : 0);

    if (embed_check(document, false) != OK ||
        jsonprint_document(&out, embed_bytes(document), flags) != OK ||
        buf_append_byte(&out, '\0') != OK) {
        buf_fini(&out);
        return NULL;
    }
    return (char *)out.data;
}

void
gneiss_bson_free(struct gneiss_bson document)
{
    union {
        const void *borrowed;
        void *owned;
    } data = { document.data };

    free(data.owned);
}
