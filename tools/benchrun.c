/*
 * benchrun.c - the clients of `gneiss bench`.
 *
 * One client alone waits in recv, several in epoll: so a request costs the generator two calls of
 * the system, or three.
 *
 * INVARIANTS
 *   B1  A client's operations are answered in the order of its ring; what stands in the ring has
 *       been appended to `out`.
 *   B2  Operations are begun only by a client whose ring is empty, so its requests leave together.
 */
#include "tools/benchrun.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/meter.h"

#define RECEIVE_SIZE ((size_t)64 << 10)
#define BUFFER_MAX   ((size_t)1 << 30)
#define TIMEOUT_MS   60000
#define EVENTS_MAX   64
#define BATCH_COUNT  1000
#define BATCH_BYTES  ((size_t)4 << 20)
#define SHOW_EVERY   256

struct benchrun_client {
    int fd;
    bool greeted;
    bool awaits_room; /* epoll is asked for EPOLLOUT too */
    struct buf in, out;
    size_t taken, sent;
    struct bench_op *ring; /* of run->pipeline, or what a greeting needs */
    unsigned size, first, count;
    int64_t began_ns; /* of the connection */
};

/* ---- one client ---- */

static err_t
broken(const struct benchrun *run)
{
    return err_set(ERR_HOST_UNREACHABLE, "the connection to %s broke: %s", run->wire.place.address,
        errno != 0 ? strerrordesc_np(errno) : "it was closed by the server");
}

static err_t
client_open(struct benchrun *run, struct benchrun_client *client)
{
    client->began_ns = clock_now_ns();
    client->greeted = client->awaits_room = false;
    buf_clear(&client->in);
    buf_clear(&client->out);
    client->taken = client->sent = 0;
    client->fd = socket(run->address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return err_set_errno("could not make a socket");
    if (connect(client->fd, (const struct sockaddr *)&run->address.storage, run->address.size) != 0)
        return err_set(ERR_HOST_UNREACHABLE, "could not connect to %s: %s", run->wire.place.address,
            strerrordesc_np(errno));
    net_set_nodelay(client->fd);
    return OK;
}

static err_t
client_init(struct benchrun *run, struct benchrun_client *client)
{
    client->fd = -1;
    client->in = client->out = buf_init(BUFFER_MAX);
    client->size = run->pipeline > 8 ? run->pipeline : 8;
    client->ring = calloc(client->size, sizeof *client->ring);
    return client->ring != NULL ? OK : err_set(ERR_MEMORY, "out of memory");
}

static void
client_close(struct benchrun_client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
}

static void
client_fini(struct benchrun_client *client)
{
    client_close(client);
    buf_fini(&client->in);
    buf_fini(&client->out);
    free(client->ring);
}

/* B1.  A banner comes unasked. */
static err_t
begin_op(struct benchrun *run, struct benchrun_client *client, const struct bench_op *op)
{
    struct bench_op begun = *op;

    begun.serial = ++run->serial;
    client->ring[(client->first + client->count++) % client->size] = begun;
    return op->kind == BENCH_BANNER ? OK : benchwire_ask(&run->wire, &begun, &client->out);
}

static err_t
begin_all(struct benchrun *run, struct benchrun_client *client, const enum bench_kind *kind)
{
    for (; *kind != BENCH_KIND_COUNT; kind++)
        TRY_RETURN(begin_op(run, client, &(struct bench_op){ .kind = *kind }));
    return OK;
}

/* Send what there is, without waiting; *whole: nothing is left. */
static err_t
client_send(struct benchrun *run, struct benchrun_client *client, bool *whole)
{
    while (client->sent < client->out.size) {
        ssize_t put = send(client->fd, client->out.data + client->sent,
            client->out.size - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (put >= 0)
            client->sent += (size_t)put;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            return broken(run);
    }
    *whole = client->sent == client->out.size;
    if (*whole) {
        buf_clear(&client->out);
        client->sent = 0;
    }
    return OK;
}

static err_t
client_receive(struct benchrun *run, struct benchrun_client *client, int flags)
{
    struct buf *in = &client->in;
    ssize_t got;

    if (client->taken == in->size) {
        buf_clear(in);
        client->taken = 0;
    }
    TRY_RETURN(buf_reserve(in, RECEIVE_SIZE));
    got = recv(client->fd, in->data + in->size, in->capacity - in->size, flags);
    if (got > 0) {
        in->size += (size_t)got;
        return OK;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return OK;
    if (got == 0)
        errno = 0;
    return broken(run);
}

/* ---- answers ---- */

static bool
counts(const struct bench_op *op)
{
    return op->kind < BENCH_BANNER;
}

static void
count(struct benchrun *run, struct benchrun_client *client, const struct bench_op *op,
    const struct benchwire_verdict *verdict, int64_t now_ns)
{
    bool connects = run->wire.plan.workload->connects;

    if (!verdict->good && run->errors++ == 0)
        (void)snprintf(run->why, sizeof run->why, "%s", verdict->why);
    benchplan_done(&run->wire.plan, op);
    run->documents += verdict->documents;
    if (op->then_update)
        return; /* it counts with its update */
    run->done++;
    benchtally_add(&run->tally, now_ns - (connects ? client->began_ns : op->began_ns));
}

/* Take all whole replies that have come.  A read may be followed by its update at once. */
static err_t
take_replies(struct benchrun *run, struct benchrun_client *client)
{
    int64_t now_ns = clock_now_ns();

    while (client->count > 0 && client->taken < client->in.size) {
        struct bytes in = { client->in.data + client->taken, client->in.size - client->taken };
        struct bench_op op = client->ring[client->first];
        struct benchwire_verdict verdict;
        size_t size = benchwire_reply(&run->wire, &op, in, &verdict);

        if (size == 0)
            break;
        client->taken += size;
        client->first = (client->first + 1) % client->size;
        client->count--;
        if (counts(&op))
            count(run, client, &op, &verdict, now_ns);
        else if (!verdict.good && op.kind != BENCH_DROP && op.kind != BENCH_DATABASE)
            return err_set(ERR_OPERATION_FAILED, "%s", verdict.why);
        if (op.then_update) {
            op.kind = BENCH_UPDATE;
            op.then_update = false;
            TRY_RETURN(begin_op(run, client, &op));
        }
    }
    return OK;
}

/* Until the ring is empty. */
static err_t
await_all(struct benchrun *run, struct benchrun_client *client)
{
    while (client->count > 0) {
        struct pollfd entry = { .fd = client->fd, .events = POLLIN };
        bool whole;

        TRY_RETURN(client_send(run, client, &whole));
        if (!whole)
            entry.events |= POLLOUT;
        if (poll(&entry, 1, TIMEOUT_MS) == 0)
            return err_set(ERR_MAX_TIME, "%s did not answer in time", run->wire.place.address);
        TRY_RETURN(client_receive(run, client, MSG_DONTWAIT));
        TRY_RETURN(take_replies(run, client));
    }
    return OK;
}

/* ---- loading ---- */

static err_t
do_one(struct benchrun *run, struct benchrun_client *client, enum bench_kind kind)
{
    TRY_RETURN(begin_op(run, client, &(struct bench_op){ .kind = kind }));
    return await_all(run, client);
}

static err_t
load_documents(struct benchrun *run, struct benchrun_client *client)
{
    size_t fitting = BATCH_BYTES / run->wire.doc.bson.size;
    uint64_t docs = run->wire.plan.docs, size = fitting < BATCH_COUNT ? fitting : BATCH_COUNT;
    struct meter meter;
    err_t err = OK;

    meter_begin(&meter, "documents loaded", docs, run->quiet);
    for (uint64_t at = 0; err == OK && at < docs; at += size) {
        struct bench_op op = { .kind = BENCH_LOAD, .id = at };

        op.length = (uint32_t)(docs - at < size ? docs - at : size);
        err = begin_op(run, client, &op);
        if (err == OK)
            err = await_all(run, client);
        meter_show(&meter, at, at);
    }
    (void)meter_end(&meter);
    return err;
}

/* The first connection: it may have to log in. */
static err_t
open_front(struct benchrun *run, struct benchrun_client *client)
{
    TRY_RETURN(net_resolve(run->wire.place.address, &run->address));
    TRY_RETURN(client_open(run, client));
    TRY_RETURN(begin_all(run, client, run->wire.language->setup));
    return await_all(run, client);
}

err_t
benchrun_load(struct benchrun *run, bool indexed)
{
    struct benchrun_client client = { .fd = -1 };
    err_t err;

    TRY(client_init(run, &client));
    TRY(open_front(run, &client));
    TRY(do_one(run, &client, BENCH_DROP));
    TRY(do_one(run, &client, BENCH_COLLECTION));
    TRY(load_documents(run, &client));
    if (indexed)
        TRY(do_one(run, &client, BENCH_MAKE_INDEX));
out:
    client_fini(&client);
    return err;
}

/* ---- working ---- */

static bool
may_begin(struct benchrun *run, int64_t now_ns)
{
    if (run->count > 0 ? run->begun >= run->count : now_ns >= run->until_ns)
        run->exhausted = true;
    return !run->exhausted;
}

/* B2. */
static err_t
begin_work(struct benchrun *run, struct benchrun_client *client)
{
    int64_t now_ns = clock_now_ns();

    for (unsigned i = 0; i < run->pipeline && may_begin(run, now_ns); i++) {
        struct bench_op op;

        if (!benchplan_next(&run->wire.plan, &op)) {
            run->exhausted = true;
            break;
        }
        op.began_ns = now_ns;
        run->begun++;
        TRY_RETURN(begin_op(run, client, &op));
    }
    return OK;
}

static err_t
watch(struct benchrun *run, struct benchrun_client *client, int operation)
{
    struct epoll_event event = { .data.ptr = client };

    if (run->epoll_fd < 0)
        return OK;
    event.events = client->awaits_room ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (epoll_ctl(run->epoll_fd, operation, client->fd, &event) != 0)
        return err_set_errno("could not watch a connection");
    return OK;
}

static err_t
push(struct benchrun *run, struct benchrun_client *client)
{
    bool whole = true;

    if (client->out.size > 0)
        TRY_RETURN(client_send(run, client, &whole));
    if (whole != client->awaits_room)
        return OK;
    client->awaits_room = !whole;
    return watch(run, client, EPOLL_CTL_MOD);
}

/* A connection of its own for the next operation. */
static err_t
open_again(struct benchrun *run, struct benchrun_client *client)
{
    client_close(client);
    if (!may_begin(run, clock_now_ns()))
        return OK;
    TRY_RETURN(client_open(run, client));
    TRY_RETURN(watch(run, client, EPOLL_CTL_ADD));
    return begin_all(run, client, run->wire.language->greeting);
}

/* All that was asked is answered: go on. */
static err_t
next_work(struct benchrun *run, struct benchrun_client *client)
{
    if (client->count > 0)
        return OK;
    if (client->greeted && run->wire.plan.workload->connects)
        TRY_RETURN(open_again(run, client));
    if (client->fd < 0 || client->count > 0)
        return OK;
    client->greeted = true;
    return begin_work(run, client);
}

static err_t
step(struct benchrun *run, struct benchrun_client *client, int flags)
{
    TRY_RETURN(client_receive(run, client, flags));
    TRY_RETURN(take_replies(run, client));
    TRY_RETURN(next_work(run, client));
    return client->fd >= 0 ? push(run, client) : OK;
}

static void
show(struct benchrun *run, struct meter *meter)
{
    double secs = (double)(clock_now_ns() - run->began_ns) / 1e9;
    uint64_t share =
        run->count > 0 ? run->done * 1000 / run->count : (uint64_t)(secs * 1000 / run->seconds);

    meter_show(meter, share < 1000 ? share : 1000, run->done);
}

static err_t
drive_one(struct benchrun *run, struct meter *meter)
{
    struct benchrun_client *client = run->client;

    for (uint64_t turn = 1; client->fd >= 0 && client->count > 0; turn++) {
        TRY_RETURN(step(run, client, client->awaits_room ? MSG_DONTWAIT : 0));
        if (turn % SHOW_EVERY == 0)
            show(run, meter);
    }
    return OK;
}

static err_t
drive_all(struct benchrun *run, struct meter *meter)
{
    struct epoll_event event[EVENTS_MAX];

    while (!run->exhausted || run->begun > run->done) {
        int count = epoll_wait(run->epoll_fd, event, EVENTS_MAX, TIMEOUT_MS);

        if (count == 0)
            return err_set(ERR_MAX_TIME, "%s did not answer in time", run->wire.place.address);
        for (int i = 0; i < count; i++)
            TRY_RETURN(step(run, event[i].data.ptr, MSG_DONTWAIT));
        show(run, meter);
    }
    return OK;
}

/* Connect and greet; those that work one by one, so that nobody floods the server's door. */
static err_t
open_clients(struct benchrun *run, struct benchrun_client *client, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        TRY_RETURN(client_open(run, &client[i]));
        TRY_RETURN(begin_all(run, &client[i], run->wire.language->greeting));
        TRY_RETURN(await_all(run, &client[i]));
    }
    return OK;
}

static err_t
make_clients(struct benchrun *run, struct benchrun_client **client, unsigned count)
{
    *client = calloc(count > 0 ? count : 1, sizeof **client);
    if (*client == NULL)
        return err_set(ERR_MEMORY, "out of memory");
    for (unsigned i = 0; i < count; i++)
        (*client)[i].fd = -1;
    for (unsigned i = 0; i < count; i++)
        TRY_RETURN(client_init(run, &(*client)[i]));
    return OK;
}

static err_t
work(struct benchrun *run)
{
    struct meter meter;
    err_t err = OK;

    run->began_ns = clock_now_ns();
    run->until_ns = run->began_ns + (int64_t)(run->seconds * 1e9);
    meter_begin(&meter, run->wire.plan.workload->name, 1000, run->quiet);
    for (unsigned i = 0; err == OK && i < run->clients; i++) {
        struct benchrun_client *client = &run->client[i];

        client->greeted = true;
        err = watch(run, client, EPOLL_CTL_ADD);
        if (err == OK)
            err = next_work(run, client);
        if (err == OK && client->fd >= 0)
            err = push(run, client);
    }
    if (err == OK)
        err = run->epoll_fd < 0 ? drive_one(run, &meter) : drive_all(run, &meter);
    run->took_secs = (double)(clock_now_ns() - run->began_ns) / 1e9;
    (void)meter_end(&meter);
    return err;
}

static void
free_clients(struct benchrun_client *client, unsigned count)
{
    for (unsigned i = 0; client != NULL && i < count; i++)
        client_fini(&client[i]);
    free(client);
}

err_t
benchrun_work(struct benchrun *run)
{
    struct benchrun_client front = { .fd = -1 };
    err_t err;

    run->epoll_fd = -1;
    TRY(client_init(run, &front));
    TRY(open_front(run, &front));
    client_close(&front);
    TRY(make_clients(run, &run->client, run->clients));
    TRY(make_clients(run, &run->idler, run->idle));
    TRY(open_clients(run, run->idler, run->idle));
    TRY(open_clients(run, run->client, run->clients));
    if (run->clients > 1) {
        run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (run->epoll_fd < 0)
            TRY(err_set_errno("could not make an epoll set"));
    }
    TRY(work(run));
out:
    client_fini(&front);
    free_clients(run->client, run->clients);
    free_clients(run->idler, run->idle);
    if (run->epoll_fd >= 0)
        (void)close(run->epoll_fd);
    return err;
}
