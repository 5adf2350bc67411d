/*
 * wire.c - a client of one server, told by lines what to do, says how long each took.
 *
 *     wire-LANGUAGE PORT DOCUMENTS
 *
 * One thread asks over any number of connections, each of which has its next requests under way as
 * soon as the last are answered; whatever the language, it is this loop.  With one connection it
 * waits in recv, with more in epoll_wait.  Lines and answers are those of worker.c:
 *
 *     connect - N PIPELINE      N connections, each asking PIPELINE requests at a time
 *     idle - N                  N more that say nothing
 *     get|insert|equal|range|mixed T COUNT SEED    mixed: four gets, then an update of one field
 *     cycle T COUNT SEED        connect, get, close, one after the other
 *     quit
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/die.h"
#include "bench/language.h"
#include "bench/stopwatch.h"

#define CONNECTIONS_MAX 1024
#define PIPELINE_MAX    64
#define ROOM            ((size_t)256 << 10)
#define LINE_SIZE       256
#define NARROW          25 /* ages of every other range; the rest have one more */
#define MIXED           5  /* every fifth is an update */

struct connection {
    int fd;
    unsigned waiting; /* replies that are to come */
    size_t have;
    uint8_t *room; /* ROOM bytes */
};

struct run {
    char verb[16], table[16];
    uint64_t count, seed;
    uint64_t asked, answered, documents, bytes, expected;
};

static struct documents documents;
static struct connection connections[CONNECTIONS_MAX];
static unsigned connected, pipeline = 1;
static int idle[CONNECTIONS_MAX];
static unsigned idling;
static int64_t next_id[3]; /* of docs, indexed, grow */
static uint64_t there;     /* documents in docs and indexed */
static uint16_t port;
static int poller = -1;

static int
dial(bool brief)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("could not connect to port %u: %s", port, strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    language_greet(fd, brief);
    return fd;
}

static void
reconnect(uint64_t count, uint64_t at_a_time)
{
    if (count > CONNECTIONS_MAX || at_a_time > PIPELINE_MAX || at_a_time == 0)
        die("at most %d connections and %d requests at a time", CONNECTIONS_MAX, PIPELINE_MAX);
    for (; connected > 0; connected--)
        (void)close(connections[connected - 1].fd);
    pipeline = (unsigned)at_a_time;
    for (; connected < count; connected++) {
        struct connection *connection = &connections[connected];
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = connected };

        if (connection->room == NULL && (connection->room = malloc(ROOM)) == NULL)
            die("out of memory");
        connection->fd = dial(false);
        connection->waiting = 0;
        connection->have = 0;
        if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event) != 0)
            die("epoll_ctl: %s", strerror(errno));
    }
}

static void
sit_idle(uint64_t count)
{
    if (count > CONNECTIONS_MAX)
        die("at most %d idle connections", CONNECTIONS_MAX);
    for (; idling > count; idling--)
        (void)close(idle[idling - 1]);
    for (; idling < count; idling++)
        idle[idling] = dial(false);
}

static struct language_work
think(struct run *run)
{
    uint64_t drawn = stopwatch_draw(&run->seed);
    unsigned table = run->table[0] == 'd' ? 0 : run->table[0] == 'i' ? 1 : 2;
    struct language_work work = { .verb = LANGUAGE_GET, .table = run->table };

    if (run->verb[0] == 'i') {
        work.verb = LANGUAGE_INSERT;
        work.id = next_id[table]++;
    } else if (run->verb[0] == 'e' || run->verb[0] == 'r') {
        uint32_t ages = run->verb[0] == 'e' ? 1 : NARROW + (uint32_t)(run->asked & 1);

        work.verb = LANGUAGE_RANGE;
        work.low = (int32_t)(drawn % (documents.ages - ages));
        work.high = work.low + (int32_t)ages - 1;
        run->expected += (uint64_t)ages * DOCUMENTS_PER_AGE;
    } else {
        work.id = (int64_t)(drawn % there);
        if (run->verb[0] == 'm' && run->asked % MIXED == MIXED - 1) {
            work.verb = LANGUAGE_UPDATE;
            work.low = work.high = (int32_t)(drawn >> 40);
        } else
            run->expected++;
    }
    run->asked++;
    return work;
}

/* As many requests as may be under way, in one write. */
static void
ask(struct connection *connection, struct run *run)
{
    static uint8_t out[PIPELINE_MAX * LANGUAGE_ASK_MAX];
    size_t size = 0;

    while (connection->waiting < pipeline && run->asked < run->count) {
        struct language_work work = think(run);

        size += language_ask(&work, &documents, out + size);
        connection->waiting++;
    }
    if (size > 0)
        language_send(connection->fd, out, size);
}

/* Read what is there; true: all is answered. */
static bool
hear(struct connection *connection, struct run *run)
{
    ssize_t got =
        recv(connection->fd, connection->room + connection->have, ROOM - connection->have, 0);
    size_t at = 0, used;

    if (got <= 0)
        die("the server closed the connection: %s", got < 0 ? strerror(errno) : "its end");
    run->bytes += (uint64_t)got;
    connection->have += (size_t)got;
    while (connection->waiting > 0 && (used = language_answer(connection->room + at,
                                           connection->have - at, &run->documents)) > 0) {
        at += used;
        connection->waiting--;
        run->answered++;
    }
    connection->have -= at;
    if (connection->have > 0)
        memmove(connection->room, connection->room + at, connection->have);
    return connection->waiting == 0;
}

static void
converse(struct run *run)
{
    struct epoll_event events[CONNECTIONS_MAX];

    if (connected == 0)
        die("connect first");
    for (unsigned i = 0; i < connected; i++)
        ask(&connections[i], run);
    while (run->answered < run->count) {
        int ready = 1;

        if (connected == 1)
            events[0].data.u32 = 0;
        else
            ready = epoll_wait(poller, events, CONNECTIONS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];

            if (hear(connection, run))
                ask(connection, run);
        }
    }
}

static void
cycle(struct run *run)
{
    struct connection connection = { .room = malloc(ROOM) };
    uint8_t out[LANGUAGE_ASK_MAX * 2];

    while (run->answered < run->count) {
        struct language_work work = think(run);

        work.brief = true;
        connection.fd = dial(true);
        connection.waiting = 1;
        connection.have = 0;
        language_send(connection.fd, out, language_ask(&work, &documents, out));
        while (!hear(&connection, run))
            ;
        (void)close(connection.fd);
    }
    free(connection.room);
}

static void
obey(struct run *run)
{
    if (strcmp(run->verb, "connect") == 0)
        reconnect(run->count, run->seed);
    else if (strcmp(run->verb, "idle") == 0)
        sit_idle(run->count);
    else if (strcmp(run->verb, "cycle") == 0)
        cycle(run);
    else
        converse(run);
    if (run->documents != run->expected)
        die("%" PRIu64 " documents came in the place of %" PRIu64, run->documents, run->expected);
}

int
main(int argc, char **argv)
{
    char line[LINE_SIZE];

    if (argc != 3)
        die("usage: wire-LANGUAGE PORT DOCUMENTS");
    port = (uint16_t)strtoul(argv[1], NULL, 10);
    there = strtoull(argv[2], NULL, 10);
    documents_init(&documents, "small", there);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1: %s", strerror(errno));
    (void)printf("ready\n");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "quit", 4) != 0) {
        struct run run = { .seed = 0 };
        struct stopwatch began;

        if (sscanf(line, "%15s %15s %" SCNu64 " %" SCNu64, run.verb, run.table, &run.count,
                &run.seed) < 1)
            die("an empty line");
        run.seed += run.seed == 0; /* zero would only ever draw zeros */
        began = stopwatch_now();
        obey(&run);
        stopwatch_tell(began, run.count, run.documents, run.bytes);
    }
    return EXIT_SUCCESS;
}
