/*
 * model.h - what a collection is: an array of documents, looked at one by one.
 *
 * No index, no plan, no cleverness: filters, orders, updates and unique keys are what MongoDB's
 * documents say, tried on every document.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include "tests/model/value.h"

#define MODEL_COLLECTIONS 2
#define MODEL_SLOTS       400 /* a document's _id says its slot */
#define MODEL_PARTS       3   /* fields of a sort or an index */
#define MODEL_CONDITIONS  3
#define MODEL_CHANGES     3
#define MODEL_IN          4 /* values of an $in */
#define MODEL_STORY       6
#define MODEL_NUMBER_MAX  (INT64_C(1) << 45) /* sums and products beyond are not tried */

/* In the order of their names. */
enum model_field {
    FIELD_ID,
    FIELD_A,
    FIELD_B,
    FIELD_D, /* {x, y}, or a list of such */
    FIELD_M, /* a list of scalars, or one */
    FIELD_N,
    FIELD_P, /* a text, to make the document large */
    FIELD_U,
    FIELD_W, /* a list of numbers that are to be unique */
    MODEL_FIELDS
};
enum model_path {
    PATH_ID,
    PATH_A,
    PATH_B,
    PATH_D,
    PATH_DX,
    PATH_DY,
    PATH_M,
    PATH_N,
    PATH_P,
    PATH_U,
    PATH_W,
    MODEL_PATHS
};
extern const char *const model_path_names[MODEL_PATHS];
enum model_field model_field_of(enum model_path path);

struct doc {
    bool there;
    uint8_t count;
    uint8_t order[MODEL_FIELDS]; /* fields as they stand; the first is _id */
    struct value field[MODEL_FIELDS];
    uint32_t size; /* of its BSON, and a hash of it */
    uint64_t hash;
    uint64_t story[MODEL_STORY]; /* the operations that changed this slot last */
};

struct pattern {
    unsigned count;
    struct {
        enum model_path path;
        int direction;
    } part[MODEL_PARTS];
};
struct model_index {
    const char *name;
    struct pattern pattern;
    bool unique, sparse, scalar_only;
};
#define MODEL_INDEXES 13
extern const struct model_index model_indexes[MODEL_INDEXES]; /* the first is _id_ */

struct collection {
    bool there;
    uint32_t indexes; /* bits */
    unsigned count;   /* of documents */
    struct doc doc[MODEL_SLOTS];
};

enum model_operator { OP_EQ, OP_NE, OP_GT, OP_GTE, OP_LT, OP_LTE, OP_IN, OP_EXISTS, OP_SIZE };
struct condition {
    enum model_path path;
    enum model_operator op;
    unsigned count; /* of values; more than one for OP_IN only */
    struct value value[MODEL_IN];
};
struct filter {
    unsigned count;
    bool either; /* $or, else $and */
    bool plain;  /* write it as {path: …, path: …} */
    struct condition condition[MODEL_CONDITIONS];
};

enum model_verb {
    DO_SET,
    DO_UNSET,
    DO_INC,
    DO_MUL,
    DO_MIN,
    DO_MAX,
    DO_PUSH,
    DO_ADD,
    DO_PULL,
    DO_POP,
    DO_RENAME,
    MODEL_VERBS
};
struct change {
    enum model_verb verb;
    enum model_path path, to;
    struct value value;
};
struct update {
    bool replace;
    struct doc replacement;
    unsigned count; /* of changes, each of another field */
    struct change change[MODEL_CHANGES];
};
enum outcome {
    OUTCOME_DONE,
    OUTCOME_REFUSED, /* an error, and nothing is changed */
    OUTCOME_BEYOND   /* more than the model can hold: not to be tried */
};

/* A key in an index, or a place in an order. */
struct model_key {
    struct element part[MODEL_PARTS];
};

/* The _id of a slot; `form` chooses among those that are equal. */
struct scalar model_id(unsigned slot, unsigned form);
/* Append or replace a field; size and hash are model_finish's. */
void model_set(struct doc *doc, enum model_field field, const struct value *value);
void model_finish(struct doc *doc);
void model_bson(struct bson_out *out, const struct doc *doc);
uint64_t model_hash(const uint8_t *data, size_t size);

/* One that is not there matches nothing. */
bool model_match(const struct doc *doc, const struct filter *filter);
void model_place(const struct doc *doc, const struct pattern *pattern, struct model_key *place);
int model_compare(
    const struct pattern *pattern, const struct model_key *a, const struct model_key *b);
bool model_holds(const struct model_index *index, const struct doc *doc); /* is it in there? */

enum outcome model_update(const struct doc *before, const struct update *update, struct doc *after);
/* Would it have a key of a unique index that another document has? */
bool model_clashes(const struct collection *collection, unsigned slot, const struct doc *doc);
bool model_clashes_in(
    const struct collection *collection, unsigned index, unsigned slot, const struct doc *doc);

void model_put_filter(struct bson_out *out, const struct filter *filter);
void model_put_pattern(struct bson_out *out, const char *name, const struct pattern *pattern);
void model_put_update(struct bson_out *out, const struct update *update);
void model_put_index(struct bson_out *out, const struct model_index *index);

#endif
