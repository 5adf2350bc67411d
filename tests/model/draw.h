/*
 * draw.h - documents, filters, orders and updates at random, from a seed.
 *
 * Values are few, so that they meet.
 */
#ifndef TESTS_MODEL_DRAW_H
#define TESTS_MODEL_DRAW_H

#include "tests/model/model.h"

/* Begin a stream: each operation has its own, so that a story can be told from its number. */
void draw_seed(uint64_t seed, uint64_t operation);
uint64_t draw_below(uint64_t bound);
bool draw_once_in(unsigned times);

struct doc draw_doc(unsigned slot);
struct filter draw_filter(void);
/* `slot`'s _id, in one of its forms. */
struct filter draw_id_filter(unsigned slot);
/* Often by a path of the filter, so that one index can serve both. */
struct pattern draw_sort(const struct filter *filter, bool *total);
/* `many`: only changes whose outcome for unique keys does not hang on the order of documents. */
struct update draw_update(unsigned slot, bool many);

#endif
