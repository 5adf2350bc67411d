/*
 * worker.c - one store, told by lines what to do, says how long each took.
 *
 *     worker DIRECTORY small|medium|large DOCUMENTS [CACHE]
 *
 * A line is a verb, a table (docs, indexed, grow), a count and a seed, and is answered by
 * "OPERATIONS SECONDS CPU-SECONDS DOCUMENTS BYTES": the wall clock, what all threads of this
 * process used of the processor meanwhile, and what was read.
 *
 *     batch T N        insert the next N documents, 1,000 a commit
 *     insert T N       the same, one a commit
 *     get T N SEED     N documents by _id, at random
 *     first T N SEED   each document at most once, in an order at random (after `reopen`)
 *     scan T N         all, N times
 *     equal T N SEED   N times the documents of one age
 *     range T N SEED   N times those of 25 or 26 ages in turn
 *     update T N SEED  N documents at random get a new age
 *     delete T N       the N documents that were inserted first
 *     durable T 0|1    whether commits of any table wait for the disk
 *     settle, reopen, quit
 *
 * Answers are looked at: a store that yields a wrong document ends the run.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "bench/die.h"
#include "bench/documents.h"
#include "bench/peer.h"
#include "bench/stopwatch.h"

#define BATCH      1000
#define NARROW     25 /* ages of every other range; the rest have one more */
#define LINE_SIZE  256
#define FIRST_STEP 7368787 /* a prime beyond any number of documents here that it divides */

static struct documents documents;
static struct peer_seen seen;
static const char *directory;
static uint64_t cache;
/* Documents `first` to `next` - 1 are in a table. */
static int64_t first[PEER_TABLES], next[PEER_TABLES];

struct order {
    char verb[16];
    enum peer_table table;
    uint64_t count, seed;
};

static void
expect(uint64_t found, uint64_t expected, const char *what)
{
    if (found != expected)
        die("%s: %" PRIu64 " in the place of %" PRIu64, what, found, expected);
}

static void
insert(const struct order *order, size_t batch)
{
    static uint8_t room[BATCH * DOCUMENTS_SIZE_MAX];
    struct peer_document made[BATCH];

    for (uint64_t done = 0; done < order->count; done += batch) {
        size_t count = order->count - done < batch ? (size_t)(order->count - done) : batch;

        for (size_t i = 0; i < count; i++) {
            int64_t id = next[order->table] + (int64_t)i;
            uint8_t *data = room + i * documents.size;

            documents_make(&documents, id, data);
            made[i] =
                (struct peer_document){ id, documents_age(&documents, id), data, documents.size };
        }
        peer_insert(order->table, made, count);
        next[order->table] += (int64_t)count;
    }
}

static void
get(const struct order *order)
{
    uint64_t state = order->seed, there = (uint64_t)(next[order->table] - first[order->table]);
    int64_t ids = 0;

    for (uint64_t i = 0; i < order->count; i++) {
        int64_t id = first[order->table] + (int64_t)(stopwatch_draw(&state) % there);

        ids += id;
        peer_get(order->table, id, &seen);
    }
    expect(seen.documents, order->count, "documents that were found");
    expect((uint64_t)seen.ids, (uint64_t)ids, "sum of the _ids that were found");
}

static void
get_each_once(const struct order *order)
{
    uint64_t there = (uint64_t)(next[order->table] - first[order->table]);
    uint64_t at = order->seed % there;

    for (uint64_t i = 0; i < order->count; i++, at = (at + FIRST_STEP) % there)
        peer_get(order->table, first[order->table] + (int64_t)at, &seen);
    expect(seen.documents, order->count, "documents that were found");
}

static void
scan(const struct order *order)
{
    for (uint64_t i = 0; i < order->count; i++)
        peer_scan(order->table, &seen);
    expect(seen.documents, order->count * (uint64_t)(next[order->table] - first[order->table]),
        "documents in the table");
}

static void
query(const struct order *order, bool wide)
{
    uint64_t state = order->seed, expected = 0;

    for (uint64_t i = 0; i < order->count; i++) {
        uint32_t ages = wide ? NARROW + (uint32_t)(i & 1) : 1;
        int32_t low = (int32_t)(stopwatch_draw(&state) % (documents.ages - ages));

        expected += (uint64_t)ages * DOCUMENTS_PER_AGE;
        peer_range(low, low + (int32_t)ages - 1, &seen);
    }
    expect(seen.documents, expected, "documents that were found by their age");
}

static void
update(const struct order *order)
{
    uint64_t state = order->seed, there = (uint64_t)(next[order->table] - first[order->table]);

    for (uint64_t i = 0; i < order->count; i++) {
        uint64_t drawn = stopwatch_draw(&state);

        peer_set_age(
            order->table, first[order->table] + (int64_t)(drawn % there), (int32_t)(drawn >> 40));
    }
}

static void delete (const struct order *order)
{
    for (uint64_t i = 0; i < order->count; i++)
        peer_delete(order->table, first[order->table]++);
}

static void
reopen(void)
{
    peer_close();
    peer_open(directory, cache);
}

static bool
is(const struct order *order, const char *verb)
{
    return strcmp(order->verb, verb) == 0;
}

static void
obey(const struct order *order)
{
    if (is(order, "batch"))
        insert(order, BATCH);
    else if (is(order, "insert"))
        insert(order, 1);
    else if (is(order, "get"))
        get(order);
    else if (is(order, "first"))
        get_each_once(order);
    else if (is(order, "scan"))
        scan(order);
    else if (is(order, "equal") || is(order, "range"))
        query(order, is(order, "range"));
    else if (is(order, "update"))
        update(order);
    else if (is(order, "delete"))
        delete (order);
    else if (is(order, "durable"))
        peer_set_durable(order->count != 0);
    else if (is(order, "settle"))
        peer_settle();
    else if (is(order, "reopen"))
        reopen();
    else
        die("there is no verb '%s'", order->verb);
}

static struct order
parse(const char *line)
{
    static const char *const names[PEER_TABLES] = { "docs", "indexed", "grow" };
    struct order order = { .count = 0 };
    char table[16] = "";

    if (sscanf(line, "%15s %15s %" SCNu64 " %" SCNu64, order.verb, table, &order.count,
            &order.seed) < 1)
        die("an empty line");
    for (unsigned i = 0; i < PEER_TABLES; i++)
        if (strcmp(table, names[i]) == 0)
            order.table = (enum peer_table)i;
    if (order.seed == 0)
        order.seed = 1; /* zero would only ever draw zeros */
    return order;
}

int
main(int argc, char **argv)
{
    static uint8_t room[DOCUMENTS_SIZE_MAX];
    char line[LINE_SIZE];

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it may be stopped when nobody is left to wake it */
    if (argc < 4)
        die("usage: worker DIRECTORY small|medium|large DOCUMENTS [CACHE]");
    directory = argv[1];
    documents_init(&documents, argv[2], strtoull(argv[3], NULL, 10));
    cache = argc > 4 ? strtoull(argv[4], NULL, 10) : PEER_CACHE;
    peer_open(directory, cache);
    (void)printf("ready\n");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "quit", 4) != 0) {
        struct order order = parse(line);
        struct stopwatch began;

        seen = (struct peer_seen){ .room = room };
        began = stopwatch_now();
        obey(&order);
        stopwatch_tell(began, order.count, seen.documents, seen.bytes);
    }
    peer_close();
    return EXIT_SUCCESS;
}
