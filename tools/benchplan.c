/*
 * benchplan.c - workloads, and which document is next.
 *
 * INVARIANTS
 *   P1  Documents base … base + known - 1 are acknowledged; of those behind, `acknowledged` tells,
 * by the number's remainder.  At most BENCHPLAN_WINDOW are under way (clients times pipeline is
 *       less).
 *   P2  No name of an inserted document is one of a loaded document.
 */
#include "tools/benchplan.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

#define THETA         0.99
#define EPOCH_SECS    INT64_C(1767225600) /* 2026 */
#define SECOND_SHIFT  20                  /* a run may insert so many (2^) each second */
#define FOREIGN_NAMES UINT64_C(100000000000)

static const struct benchplan_workload workloads[] = {
    { .name = "get", .get = 100 },
    { .name = "insert", .insert = 100 },
    { .name = "update", .update = 100 },
    { .name = "delete", .delete = 100 },
    { .name = "scan", .scan = 100 },
    { .name = "index", .index = 100 },
    { .name = "range", .range = 100 },
    { .name = "mixed", .get = 80, .update = 10, .insert = 10 },
    { .name = "connect", .get = 100, .connects = true },
    { .name = "ycsb-a", .get = 50, .update = 50, .zipf = true },
    { .name = "ycsb-b", .get = 95, .update = 5, .zipf = true },
    { .name = "ycsb-c", .get = 100, .zipf = true },
    { .name = "ycsb-d", .get = 95, .insert = 5, .latest = true, .zipf = true },
    { .name = "ycsb-e", .scan = 95, .insert = 5, .zipf = true },
    { .name = "ycsb-f", .get = 50, .renew = 50, .zipf = true },
};
#define WORKLOAD_COUNT (sizeof workloads / sizeof workloads[0])

const struct benchplan_workload *
benchplan_find(const char *name)
{
    for (size_t i = 0; i < WORKLOAD_COUNT; i++)
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    return NULL;
}

/* ---- keys ---- */

static double
zeta(uint64_t n)
{
    double sum = 0;

    for (uint64_t i = 1; i <= n; i++)
        sum += pow((double)i, -THETA);
    return sum;
}

static void
zipf_init(struct benchplan_zipf *zipf, uint64_t n)
{
    zipf->n = n;
    zipf->alpha = 1 / (1 - THETA);
    zipf->zeta = zeta(n);
    zipf->half = pow(0.5, THETA);
    zipf->eta = (1 - pow(2 / (double)n, 1 - THETA)) / (1 - (1 + zipf->half) / zipf->zeta);
}

static uint64_t
zipf_next(const struct benchplan_zipf *zipf, struct rand *rand)
{
    double u = rand_unit(rand);
    double uz = u * zipf->zeta;
    uint64_t rank;

    if (uz < 1)
        return 0;
    if (uz < 1 + zipf->half)
        return 1;
    rank = (uint64_t)((double)zipf->n * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha));
    return rank < zipf->n ? rank : zipf->n - 1;
}

/* The number of the n-th document that there ever was. */
static uint64_t
id_of(const struct benchplan *plan, uint64_t n)
{
    return n < plan->docs ? n : plan->base + (n - plan->docs);
}

static uint64_t
choose(struct benchplan *plan)
{
    uint64_t rank;

    if (!plan->workload->zipf)
        return rand_below(&plan->rand, plan->docs);
    rank = zipf_next(&plan->zipf, &plan->rand);
    if (plan->workload->latest)
        return id_of(plan, plan->docs + plan->known - 1 - rank);
    return hash_u64(rank) % plan->docs; /* what is popular lies scattered */
}

uint64_t
benchplan_name(const struct benchplan *plan, uint64_t id)
{
    return id < plan->docs ? id % plan->names : FOREIGN_NAMES + id % FOREIGN_NAMES; /* P2 */
}

uint64_t
benchplan_namesakes(const struct benchplan *plan, uint64_t name, uint64_t names)
{
    uint64_t end = name + names < plan->names ? name + names : plan->names;
    uint64_t longer = plan->docs % plan->names; /* so many names have one document more */
    uint64_t longer_end = end < longer ? end : longer;

    if (name >= plan->names)
        return 0;
    return (end - name) * (plan->docs / plan->names) + (longer_end > name ? longer_end - name : 0);
}

/* ---- operations ---- */

void
benchplan_init(
    struct benchplan *plan, const struct benchplan_workload *workload, uint64_t docs, uint64_t seed)
{
    memset(plan, 0, sizeof *plan);
    plan->workload = workload;
    plan->docs = docs;
    plan->names = docs > BENCHPLAN_NAMESAKES ? docs / BENCHPLAN_NAMESAKES : 1;
    plan->base = (uint64_t)(clock_wall_ms() / 1000 - EPOCH_SECS) << SECOND_SHIFT;
    rand_init(&plan->rand, seed);
    if (workload->zipf)
        zipf_init(&plan->zipf, docs);
}

static enum bench_kind
choose_kind(struct benchplan *plan, bool *then_update)
{
    const struct benchplan_workload *workload = plan->workload;
    const struct {
        uint8_t share;
        enum bench_kind kind;
    } part[] = { { workload->get, BENCH_GET }, { workload->insert, BENCH_INSERT },
        { workload->update, BENCH_UPDATE }, { workload->delete, BENCH_DELETE },
        { workload->scan, BENCH_SCAN }, { workload->index, BENCH_INDEX },
        { workload->range, BENCH_RANGE } };
    uint64_t at = workload->get == 100 ? 0 : rand_below(&plan->rand, 100);

    *then_update = false;
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        if (at < part[i].share)
            return part[i].kind;
        at -= part[i].share;
    }
    *then_update = true; /* `renew` is the rest */
    return BENCH_GET;
}

static uint64_t
choose_name(struct benchplan *plan, uint64_t names)
{
    return rand_below(&plan->rand, plan->names > names ? plan->names - names + 1 : 1);
}

bool
benchplan_next(struct benchplan *plan, struct bench_op *op)
{
    memset(op, 0, sizeof *op);
    op->kind = choose_kind(plan, &op->then_update);
    op->age = (uint8_t)(10 + rand_below(&plan->rand, 90));
    op->length = 1;
    switch (op->kind) {
    case BENCH_INSERT:
        op->id = plan->base + plan->inserted++;
        break;
    case BENCH_DELETE:
        if (plan->deleted == plan->docs)
            return false;
        op->id = plan->deleted++;
        break;
    case BENCH_INDEX:
        op->name = choose_name(plan, 1);
        return true;
    case BENCH_RANGE:
        op->length = BENCHPLAN_RANGE_NAMES;
        op->name = choose_name(plan, BENCHPLAN_RANGE_NAMES);
        return true;
    case BENCH_SCAN:
        op->length = BENCHPLAN_SCAN_LENGTH;
        if (plan->workload->zipf)
            op->length = 1 + (uint32_t)rand_below(&plan->rand, BENCHPLAN_SCAN_LENGTH);
        op->id = choose(plan);
        break;
    default:
        op->id = choose(plan);
        break;
    }
    op->name = benchplan_name(plan, op->id);
    return true;
}

void
benchplan_done(struct benchplan *plan, const struct bench_op *op)
{
    if (op->kind != BENCH_INSERT)
        return;
    plan->acknowledged[(op->id - plan->base) % BENCHPLAN_WINDOW] = 1;
    while (plan->acknowledged[plan->known % BENCHPLAN_WINDOW] != 0) /* P1 */
        plan->acknowledged[plan->known++ % BENCHPLAN_WINDOW] = 0;
}
