/*
 * mongo_aggregate.c - pipelines that say in stages what find and count can do.
 *
 * Taken are  $match? $sort? $skip? $limit? $project?  in that order, and
 * $match? $skip? $limit? followed by {$group: {_id: <constant>, n: {$sum: 1}}} or {$count: "n"}:
 * what drivers send for countDocuments, and mongosh at its start.  $currentOp is mongo_ops.c's.
 * Everything else is refused.
 */
#include "backend/command/mongo_read.h"

#include "backend/command/mongo_ops.h"
#include "base/doc/bsonwalk.h"

struct aggregate {
    struct bytes pipeline, cursor;
    struct bsonvalue hint;
    bool explain;
};

static const struct mongo_field fields[] = {
    MONGO_FIELD("pipeline", MONGO_ARRAY, struct aggregate, pipeline),
    MONGO_FIELD("cursor", MONGO_DOCUMENT, struct aggregate, cursor),
    MONGO_FIELD("hint", MONGO_ANY, struct aggregate, hint),
    MONGO_FIELD("explain", MONGO_BOOLEAN, struct aggregate, explain),
    MONGO_FIELD_NAMED("allowDiskUse", MONGO_IGNORED),
    MONGO_FIELD_NAMED("bypassDocumentValidation", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

/* Stages in the order in which they may come. */
enum step { NOTHING, MATCH, SORT, SKIP, LIMIT, PROJECT, COUNT };

struct plan {
    struct run_query query;
    enum step step;         /* the last one seen */
    struct bsonvalue group; /* the constant _id of a count's document; EOO: it has none */
    struct bytes counter;   /* name of its sum; size 0: no count */
};

static err_t
refuse(const char *why)
{
    return err_set(ERR_COMMAND_NOT_SUPPORTED, "aggregation: %s is not supported yet", why);
}

/* {_id: <constant>, n: {$sum: 1}}. */
static err_t
take_group(struct bytes group, struct plan *plan)
{
    struct bsonwalk walk;
    struct bsonvalue field, sum;
    int64_t one;

    TRY_RETURN(bsonwalk_begin(&walk, group));
    if (!bsonwalk_next(&walk, &plan->group) || !bytes_is(plan->group.key, "_id") ||
        (!bsonvalue_is_number(plan->group.type) && plan->group.type != BSONTYPE_NULL))
        return refuse("a $group by anything but a constant");
    if (!bsonwalk_next(&walk, &field) || field.type != BSONTYPE_DOCUMENT ||
        bsonwalk_count(field.raw) != 1 || !bsonwalk_get(field.raw, "$sum", &sum) ||
        !bsonvalue_to_int64(&sum, false, &one) || one != 1)
        return refuse("a $group with anything but {$sum: 1}");
    plan->counter = field.key;
    if (bsonwalk_next(&walk, &field))
        return refuse("a $group with several sums");
    return OK;
}

static err_t
take_number(const struct bsonvalue *value, int64_t least, int64_t *number)
{
    if (!bsonvalue_to_int64(value, false, number) || *number < least)
        return err_set(ERR_FAILED_TO_PARSE,
            "invalid argument to %s stage: a number >= %jd is wanted",
            (const char *)value->key.data, (intmax_t)least);
    return OK;
}

static err_t
need_document(const struct bsonvalue *value)
{
    if (value->type == BSONTYPE_DOCUMENT)
        return OK;
    return err_set(
        ERR_FAILED_TO_PARSE, "the %s stage wants an object", (const char *)value->key.data);
}

static err_t
take_stage(const struct bsonvalue *stage, struct plan *plan)
{
    static const struct {
        const char *name;
        enum step step;
    } known[] = { { "$match", MATCH }, { "$sort", SORT }, { "$skip", SKIP }, { "$limit", LIMIT },
        { "$project", PROJECT }, { "$group", COUNT }, { "$count", COUNT } };
    enum step step = NOTHING;

    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        if (bytes_is(stage->key, known[i].name))
            step = known[i].step;
    if (step == NOTHING)
        return err_set(ERR_COMMAND_NOT_SUPPORTED, "aggregation: the stage %s is not supported yet",
            (const char *)stage->key.data);
    if (step <= plan->step || (step == COUNT && plan->step == PROJECT))
        return refuse("this order of stages");
    plan->step = step;
    if (step == SKIP)
        return take_number(stage, 0, &plan->query.skip);
    if (step == LIMIT)
        return take_number(stage, 1, &plan->query.limit);
    if (step == COUNT && bytes_is(stage->key, "$count")) {
        if (stage->type != BSONTYPE_STRING || bsonvalue_string(stage).size == 0)
            return err_set(ERR_FAILED_TO_PARSE, "the count field must be a non-empty string");
        plan->counter = bsonvalue_string(stage);
        return OK;
    }
    TRY_RETURN(need_document(stage));
    switch (step) {
    case MATCH:
        plan->query.filter = stage->raw;
        return OK;
    case SORT:
        plan->query.sort = stage->raw;
        return OK;
    case PROJECT:
        plan->query.projection = stage->raw;
        return OK;
    default:
        return take_group(stage->raw, plan);
    }
}

static err_t
make_plan(struct bytes pipeline, struct plan *plan)
{
    struct bsonwalk walk, inner;
    struct bsonvalue stage, only;

    TRY_RETURN(bsonwalk_begin(&walk, pipeline));
    while (bsonwalk_next(&walk, &stage)) {
        if (stage.type != BSONTYPE_DOCUMENT)
            return err_set(
                ERR_TYPE_MISMATCH, "Each element of the 'pipeline' array must be an object");
        TRY_RETURN(bsonwalk_begin(&inner, stage.raw));
        if (!bsonwalk_next(&inner, &only) || bsonwalk_next(&inner, &stage)) {
            err_t err = err_set(ERR_FAILED_TO_PARSE,
                "A pipeline stage specification object must contain exactly one field.");

            err_set_mongo(40323, NULL);
            return err;
        }
        TRY_RETURN(take_stage(&only, plan));
    }
    return OK;
}

/* One document with the count, or none if it is 0. */
static err_t
put_counted(struct mongo_request *request, const struct plan *plan, struct bsonbuild *reply)
{
    struct run_query query = plan->query;
    const char *ns;
    uint64_t count;

    query.sort = (struct bytes){ NULL, 0 };
    TRY_RETURN(verb_count(request->op, &request->ns, &query, NULL, &count));
    ns = arena_printf(request->op->arena, "%s.%s", request->ns.database, request->ns.collection);
    if (ns == NULL)
        return ERR_MEMORY;
    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_array_begin(reply, "firstBatch");
    if (count > 0) {
        const char *counter = arena_string(request->op->arena, plan->counter);

        if (counter == NULL)
            return ERR_MEMORY;
        bsonbuild_document_begin(reply, NULL);
        if (plan->group.type != BSONTYPE_EOO)
            bsonbuild_value(reply, "_id", &plan->group);
        mongo_read_put_count(reply, counter, count);
        bsonbuild_document_end(reply);
    }
    bsonbuild_array_end(reply);
    bsonbuild_int64(reply, "id", 0);
    bsonbuild_text(reply, "ns", ns);
    bsonbuild_document_end(reply);
    return OK;
}

static err_t
check(struct mongo_request *request, const struct aggregate *aggregate)
{
    struct bytes name;

    if (request->value.type != BSONTYPE_STRING)
        return refuse("a pipeline on a whole database");
    name = bsonvalue_string(&request->value);
    if (name.size == 0 || name.data[0] == '.' || memchr(name.data, '\0', name.size) != NULL)
        return err_set(ERR_INVALID_NAMESPACE, "Invalid collection name");
    if (aggregate->pipeline.size == 0)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'aggregate.pipeline' is missing but a required field");
    if (aggregate->explain)
        return refuse("explain");
    if (aggregate->cursor.size == 0)
        return err_set(ERR_FAILED_TO_PARSE,
            "The 'cursor' option is required, except for aggregate with the explain argument");
    request->ns.collection = arena_string(request->op->arena, name);
    return request->ns.collection != NULL ? OK : ERR_MEMORY;
}

err_t
mongo_aggregate(struct mongo_request *request, struct bsonbuild *reply)
{
    struct aggregate aggregate = { .explain = false };
    struct plan plan = { .step = NOTHING };
    struct bsonvalue size;
    int64_t batch = MONGO_FIRST_BATCH;

    TRY_RETURN(mongo_fields_parse(request, fields, &aggregate));
    if (mongo_ops_is_pipeline(aggregate.pipeline))
        return mongo_ops_pipeline(request, aggregate.pipeline, reply);
    TRY_RETURN(check(request, &aggregate));
    TRY_RETURN(make_plan(aggregate.pipeline, &plan));
    TRY_RETURN(mongo_fields_hint(request->op, &aggregate.hint, &plan.query.hint));
    if (plan.counter.size > 0)
        return put_counted(request, &plan, reply);
    if (bsonwalk_get(aggregate.cursor, "batchSize", &size) &&
        (!bsonvalue_to_int64(&size, false, &batch) || batch < 0))
        return err_set(ERR_BAD_VALUE, "cursor.batchSize must be a number >= 0");
    return mongo_read_query(request, &plan.query, batch, false, false, reply);
}
