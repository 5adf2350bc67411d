/*
 * documents.h - the documents that every peer is given, byte for byte the same.
 *
 *     { _id: int64, name: "u0000123", age: int32, active: bool }             small, 55 bytes
 *     the same and tags: [5 short texts], text: "..."                       medium, 500 bytes
 *     the same, with a longer text                                          large, 4,096 bytes
 *
 * `age` is spread over the collection: each of documents/10 ages stands in ten documents, which
 * are as far from each other as can be.  All documents of a kind have the same size.
 */
#ifndef BENCH_DOCUMENTS_H
#define BENCH_DOCUMENTS_H

#include <stddef.h>
#include <stdint.h>

#define DOCUMENTS_ID_AT    9 /* where the int64 of _id stands */
#define DOCUMENTS_AGE_AT   41
#define DOCUMENTS_SIZE_MAX 4096
#define DOCUMENTS_PER_AGE  10

struct documents {
    size_t size;   /* of each */
    uint32_t ages; /* how many there are */
    uint8_t form[DOCUMENTS_SIZE_MAX];
};

/* kind: "small", "medium", "large"; `count`: of the collection that ages are spread over. */
void documents_init(struct documents *documents, const char *kind, uint64_t count);
/* Writes documents->size bytes. */
void documents_make(const struct documents *documents, int64_t id, void *out);
int32_t documents_age(const struct documents *documents, int64_t id);

#endif
