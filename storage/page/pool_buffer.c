/*
 * pool_buffer.c - descriptors, the table of pages, pins.
 *
 *      buckets      descriptors (64 bytes)                        pages
 *      +----+       +-----------------------------------------+   +---------+
 *      | 3 -|------>| tag  state  version  content  next  io  |   | 8 KiB   |
 *      +----+       +-----------------------------------------+   +---------+
 *
 * Life of a buffer, by (tag, VALID, io):
 *
 *   none, -, -  --enter-->  page, -, -  --io_begin-->  page, -, io  --io_end-->  page, VALID, -
 *       ^                       |                                                     |
 *       +---------leave---------+-----------------------leave-------------------------+
 *
 * INVARIANTS
 *   B1  A buffer that has a page is in its page's chain, exactly once; one that has none is in no
 *       chain.
 *   B2  The page of a buffer changes only under the exclusive lock of the page's partition, by
 *       who holds its one pin.  So a pin taken under the partition's lock, or one taken by
 *       compare and swap from a state that is VALID and whose tag is looked at afterwards, holds
 *       the page fast.
 *   B3  `version` is even exactly while the buffer is VALID and nobody is changing its bytes.
 *       The tag changes only while it is odd: a peek that saw the tag, and the same even version
 *       before and after, has seen that page.
 *   B4  A process counts in `pins` once, however often it has pinned the buffer; the rest is
 *       private.
 *   B5  Pins are added and dropped by compare and swap only, and not while FROZEN is set.
 *   B6  `io` is taken by a pinned process, by one compare and swap that also says whose it is.
 *
 * IF A PROCESS DIES
 *   with a pin in its ledger, certain or not: the buffer is frozen, and the pins of all others
 *       are counted in their ledgers.  A process that meets a frozen buffer leaves INTENT until
 *       it is thawed, so the count is exact.
 *   reading a page: `io` names it; it is taken off and the sleepers are woken.  The buffer is
 *       not VALID, and whoever wants the page reads it anew.  `version` may be even already;
 *       whoever reads makes it odd before the bytes change.
 *   writing a page: the same; DIRTY was not cleared yet.
 *   in enter or leave: it was in a critical section; everything is rebuilt from the log.
 *   between leave and enter: the buffer has no page and one pin, which is dropped; the clock
 *       finds it.
 *   counting pins for another: `counter` names it, and whoever goes on with its work counts again.
 */
#include "storage/page/pool_buffer.h"

#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/delay.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "base/sanitizer.h"
#include "shmem/proc.h"
#include "storage/page/datafile.h"

#define CHAIN_MAX    64u        /* steps of a glance: it may have strayed into another chain */
#define DOUBT_NS_MAX 6000000000 /* longer than a census may last */
#define PAGE_ALIGN   4096u
#define LEAST_COUNT  16u

struct held {
    buffer_t buffer;
    uint32_t count;
    unsigned entry; /* of the ledger */
};

struct pool_buffer_shared *pool_buffer_shared;
#define shared pool_buffer_shared

static _Thread_local struct held held[LEDGER_MAX]; /* B4; in the order of taking */
static _Thread_local unsigned held_count;
static _Thread_local buffer_t io_buffer; /* being read or written by this process; 0: none */
static _Thread_local unsigned io_entry;  /* of the ledger, for it */

/* ---- region ---- */

static uint32_t
buffers_of(const struct config *config)
{
    uint64_t count = (uint64_t)config->shared_buffers / wal_page_size;

    invariant(wal_page_size >= PAGE_SIZE_MIN && wal_page_size <= PAGE_SIZE_MAX);
    return count < LEAST_COUNT ? LEAST_COUNT : count > 1u << 30 ? 1u << 30 : (uint32_t)count;
}

static uint32_t
buckets_of(uint32_t count)
{
    uint32_t buckets = POOL_BUFFER_PARTITIONS;

    while (buckets < count * 2)
        buckets *= 2;
    return buckets;
}

size_t
pool_buffer_region_size(const struct config *config)
{
    size_t count = buffers_of(config);

    return sizeof *shared + count * sizeof(struct buffer) +
           buckets_of((uint32_t)count) * sizeof(uint32_t) + PAGE_ALIGN + count * wal_page_size;
}

static enum lockrank
rank_of(fileno_t file)
{
    return file == DATAFILE_CLOG || file == DATAFILE_CSN ? RANK_CLOG_PAGE : RANK_PAGE;
}

static err_t release_pin(unsigned slot, uint64_t id, enum ledger_state state);
static err_t release_io(unsigned slot, uint64_t id, enum ledger_state state);
static err_t verify_pin(unsigned slot, uint64_t id, enum ledger_state state);
static err_t verify_io(unsigned slot, uint64_t id, enum ledger_state state);

void
pool_buffer_region_init(void *zeroed, const struct config *config)
{
    uintptr_t at = (uintptr_t)zeroed + sizeof *shared;

    shared = zeroed;
    shared->count = buffers_of(config);
    shared->bucket_mask = buckets_of(shared->count) - 1;
    shared->buffers = (struct buffer *)at;
    at += shared->count * sizeof(struct buffer);
    shared->buckets = (_Atomic uint32_t *)at;
    at += ((size_t)shared->bucket_mask + 1) * sizeof(uint32_t);
    shared->pages = (uint8_t *)((at + PAGE_ALIGN - 1) & ~(uintptr_t)(PAGE_ALIGN - 1));
    for (uint32_t i = 0; i < POOL_BUFFER_PARTITIONS; i++)
        lwlock_init(&shared->partitions[i].lock, RANK_POOL_TABLE);
    for (uint32_t i = 0; i < shared->count; i++) {
        atomic_init(&shared->buffers[i].version, 1); /* B3 */
        lwlock_init(&shared->buffers[i].content, RANK_PAGE);
        condition_init(&shared->buffers[i].idle);
    }
    held_count = 0;
    io_buffer = 0;
    ledger_set_undo(LEDGER_PIN, (struct ledger_undo){ release_pin, verify_pin });
    ledger_set_undo(LEDGER_IO, (struct ledger_undo){ release_io, verify_io });
}

/* ---- the table ---- */

struct lwlock *
pool_buffer_partition(uint64_t tag)
{
    return &shared->partitions[pool_buffer_bucket(tag) % POOL_BUFFER_PARTITIONS].lock;
}

buffer_t
pool_buffer_glance_on(buffer_t number, uint64_t tag)
{
    for (uint32_t steps = 0; number != 0 && steps < CHAIN_MAX; steps++) {
        struct buffer *buffer = pool_buffer_at(number);

        if (atomic_load_explicit(&buffer->tag, memory_order_acquire) == tag)
            return number;
        number = atomic_load_explicit(&buffer->next, memory_order_acquire);
    }
    return 0;
}

buffer_t
pool_buffer_find(uint64_t tag)
{
    buffer_t number =
        atomic_load_explicit(&shared->buckets[pool_buffer_bucket(tag)], memory_order_relaxed);

    while (number != 0 &&
           atomic_load_explicit(&pool_buffer_at(number)->tag, memory_order_relaxed) != tag)
        number = atomic_load_explicit(&pool_buffer_at(number)->next, memory_order_relaxed);
    return number;
}

void
pool_buffer_enter(buffer_t number, uint64_t tag)
{
    struct buffer *buffer = pool_buffer_at(number);
    _Atomic uint32_t *bucket = &shared->buckets[pool_buffer_bucket(tag)];
    enum lockrank rank = rank_of(pool_buffer_id(tag).file);

    invariant(lwlock_held(pool_buffer_partition(tag), LW_EXCLUSIVE));
    invariant(atomic_load_explicit(&buffer->tag, memory_order_relaxed) == 0);
    invariant((atomic_load_explicit(&buffer->version, memory_order_relaxed) & 1) == 1); /* B3 */
    crit_begin();
    if (buffer->content.rank != rank)
        lwlock_init(&buffer->content, rank); /* nobody else has it pinned, so none uses the lock */
    atomic_store_explicit(
        &buffer->next, atomic_load_explicit(bucket, memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&buffer->tag, tag, memory_order_release);
    atomic_store_explicit(bucket, number, memory_order_release);
    crit_end();
}

/* Take a buffer out of its chain; in a critical section. */
static void
unchain(buffer_t number, uint64_t tag)
{
    _Atomic uint32_t *link = &shared->buckets[pool_buffer_bucket(tag)];
    struct buffer *buffer = pool_buffer_at(number);
    buffer_t at;

    while ((at = atomic_load_explicit(link, memory_order_relaxed)) != number) {
        invariant(at != 0); /* B1 */
        link = &pool_buffer_at(at)->next;
    }
    atomic_store_explicit(
        link, atomic_load_explicit(&buffer->next, memory_order_relaxed), memory_order_release);
}

bool
pool_buffer_leave(buffer_t number, bool discard)
{
    struct buffer *buffer = pool_buffer_at(number);
    uint64_t tag = atomic_load_explicit(&buffer->tag, memory_order_relaxed);
    struct lwlock *lock = pool_buffer_partition(tag);
    uint32_t state;
    bool done = true;

    if (tag == 0)
        return true;
    lwlock_acquire(lock, LW_EXCLUSIVE);
    crit_begin();
    state = atomic_load(&buffer->state);
    do {
        done = pool_buffer_pins(state) == 1 && (state & BUFFER_FROZEN) == 0 &&
               (discard || (state & BUFFER_DIRTY) == 0);
    } while (
        done && !atomic_compare_exchange_weak(&buffer->state, &state, pool_buffer_pins(state)));
    if (done) {
        uint32_t version = atomic_load_explicit(&buffer->version, memory_order_relaxed);

        atomic_store_explicit(&buffer->version, version | 1, memory_order_relaxed); /* B3 */
        atomic_thread_fence(memory_order_release);
        delay_here();
        unchain(number, tag);
        atomic_store_explicit(&buffer->tag, 0, memory_order_release);
    }
    crit_end();
    lwlock_release(lock);
    return done;
}

/* ---- pins ---- */

static inline struct held *
find_held(buffer_t number)
{
    for (unsigned i = held_count; i > 0; i--)
        if (held[i - 1].buffer == number)
            return &held[i - 1];
    return NULL;
}

bool
pool_buffer_pinned(buffer_t number)
{
    return find_held(number) != NULL;
}

static inline void
remember(buffer_t number, unsigned entry)
{
    invariant(held_count < LEDGER_MAX);
    held[held_count++] = (struct held){ number, 1, entry };
}

static inline uint32_t
touched(uint32_t state, bool touch)
{
    if (touch && (state & BUFFER_USAGE) < BUFFER_USAGE_MAX)
        return state + BUFFER_USAGE_ONE;
    /* A scan's page is worth one round of the clock, so that it is not read twice at once. */
    return (state & BUFFER_USAGE) == 0 ? state + BUFFER_USAGE_ONE : state;
}

/* B5: stand aside while the pins are counted. */
static void
wait_thawed(struct buffer *buffer, unsigned entry)
{
    ledger_wait(entry);
    while ((atomic_load(&buffer->state) & BUFFER_FROZEN) != 0)
        (void)sched_yield();
    ledger_again(entry);
}

/* Add our pin if the state has `must` set; true: it was added. */
static inline bool
add_pin(buffer_t number, uint32_t must, bool touch)
{
    struct buffer *buffer = pool_buffer_at(number);
    unsigned entry = ledger_intend(LEDGER_PIN, number);
    uint32_t state = atomic_load_explicit(&buffer->state, memory_order_relaxed);

    (void)fault_pass(FAULT_PIN_INTENT);
    for (;;) {
        if ((state & BUFFER_FROZEN) != 0) {
            wait_thawed(buffer, entry);
            state = atomic_load_explicit(&buffer->state, memory_order_relaxed);
            continue;
        }
        if ((state & must) != must) {
            ledger_clear(entry);
            return false;
        }
        invariant(pool_buffer_pins(state) < BUFFER_PINS);
        if (atomic_compare_exchange_weak(
                &buffer->state, &state, touched(state, touch) + BUFFER_PIN))
            break;
    }
    (void)fault_pass(FAULT_PIN_TAKEN);
    ledger_confirm(entry);
    remember(number, entry);
    return true;
}

bool
pool_buffer_pin_valid(buffer_t number, uint64_t tag, bool touch)
{
    struct buffer *buffer = pool_buffer_at(number);
    struct held *mine = find_held(number);

    if (mine != NULL) {
        if (atomic_load_explicit(&buffer->tag, memory_order_relaxed) != tag ||
            (atomic_load_explicit(&buffer->state, memory_order_acquire) & BUFFER_VALID) == 0)
            return false;
        mine->count++;
        return true;
    }
    if (atomic_load_explicit(&buffer->tag, memory_order_relaxed) != tag ||
        !add_pin(number, BUFFER_VALID, touch))
        return false;
    if (atomic_load_explicit(&buffer->tag, memory_order_acquire) == tag) /* B2 */
        return true;
    pool_buffer_unpin(number);
    return false;
}

void
pool_buffer_pin(buffer_t number, bool touch)
{
    struct held *mine = find_held(number);

    if (mine != NULL)
        mine->count++;
    else
        (void)add_pin(number, 0, touch);
}

bool
pool_buffer_pin_idle(buffer_t number)
{
    struct buffer *buffer = pool_buffer_at(number);
    unsigned entry = ledger_intend(LEDGER_PIN, number);
    uint32_t state = atomic_load_explicit(&buffer->state, memory_order_relaxed);

    do {
        if (pool_buffer_pins(state) != 0 || (state & BUFFER_FROZEN) != 0) {
            ledger_clear(entry);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&buffer->state, &state, state + BUFFER_PIN));
    ledger_confirm(entry);
    remember(number, entry);
    return true;
}

void
pool_buffer_unpin(buffer_t number)
{
    struct buffer *buffer = pool_buffer_at(number);
    struct held *mine = find_held(number);
    unsigned entry;
    uint32_t state;

    invariant(mine != NULL);
    if (--mine->count > 0)
        return;
    entry = mine->entry;
    held_count--;
    memmove(mine, mine + 1, (size_t)(&held[held_count] - mine) * sizeof *mine);
    ledger_doubt(entry);
    state = atomic_load_explicit(&buffer->state, memory_order_relaxed);
    for (;;) {
        if ((state & BUFFER_FROZEN) != 0) {
            ledger_confirm(entry); /* certainly still held */
            while ((atomic_load(&buffer->state) & BUFFER_FROZEN) != 0)
                (void)sched_yield();
            ledger_doubt(entry);
            state = atomic_load_explicit(&buffer->state, memory_order_relaxed);
            continue;
        }
        invariant(pool_buffer_pins(state) > 0);
        if (atomic_compare_exchange_weak(&buffer->state, &state, state - BUFFER_PIN))
            break;
    }
    (void)fault_pass(FAULT_PIN_DROPPED);
    ledger_clear(entry);
}

/* ---- input and output ---- */

bool
pool_buffer_io_begin(buffer_t number)
{
    struct buffer *buffer = pool_buffer_at(number);
    uint32_t nobody = 0;
    unsigned entry;

    invariant(pool_buffer_pinned(number) && io_buffer == 0);
    if (atomic_load_explicit(&buffer->io, memory_order_relaxed) != 0)
        return false;
    entry = ledger_intend(LEDGER_IO, number);
    if (!atomic_compare_exchange_strong(&buffer->io, &nobody, proc_self->index + 1)) {
        ledger_clear(entry);
        return false;
    }
    ledger_confirm(entry);
    io_buffer = number;
    io_entry = entry;
    (void)fault_pass(FAULT_IO_BEGUN);
    return true;
}

void
pool_buffer_io_end(buffer_t number, uint32_t set, uint32_t clear)
{
    struct buffer *buffer = pool_buffer_at(number);

    invariant(io_buffer == number);
    (void)pool_buffer_set(buffer, set, clear);
    io_buffer = 0;
    ledger_doubt(io_entry);
    atomic_store(&buffer->io, 0);
    (void)fault_pass(FAULT_IO_ENDED);
    ledger_clear(io_entry);
    condition_wake(&buffer->idle);
}

void
pool_buffer_io_wait(buffer_t number)
{
    struct buffer *buffer = pool_buffer_at(number);
    uint32_t seen = condition_prepare(&buffer->idle);

    if (atomic_load(&buffer->io) != 0)
        condition_wait_plain(&buffer->idle, seen, WAIT_PAGE_IO, number);
}

int
pool_buffer_io_owner(buffer_t number)
{
    return number != 0 && number <= shared->count
               ? (int)atomic_load(&pool_buffer_at(number)->io) - 1
               : -1;
}

uint32_t
pool_buffer_set(struct buffer *buffer, uint32_t set, uint32_t clear)
{
    uint32_t state = atomic_load_explicit(&buffer->state, memory_order_relaxed);

    while ((state & (set | clear)) != set &&
           !atomic_compare_exchange_weak(&buffer->state, &state, (state & ~clear) | set))
        ;
    return state;
}

/* ---- for the dead ---- */

/* Forget a private count, when a living process lets go of all it holds by its ledger. */
static void
forget_private(unsigned slot, buffer_t number)
{
    struct held *mine;

    if (proc_self == NULL || proc_self->index != slot || (mine = find_held(number)) == NULL)
        return;
    held_count--;
    memmove(mine, mine + 1, (size_t)(&held[held_count] - mine) * sizeof *mine);
}

/* Become the one who counts: waits for another that does, takes over from a dead one.  Then set
   FROZEN. */
static err_t
freeze(struct buffer *buffer)
{
    int64_t until_ns = clock_now_ns() + DOUBT_NS_MAX;
    uint32_t me = proc_self != NULL ? proc_self->index + 1 : POOL_BUFFER_NO_SLOT;
    uint32_t counter = 0;

    while (!atomic_compare_exchange_strong(&buffer->counter, &counter, me)) {
        if (counter == me)
            break;
        if (counter == POOL_BUFFER_NO_SLOT || !proc_is_dead(counter - 1)) {
            if (clock_now_ns() > until_ns)
                return err_set(ERR_INTERNAL, "could not count the pins of a buffer: a count that "
                                             "was begun before does not end");
            (void)sched_yield();
            counter = 0;
        }
    }
    (void)pool_buffer_set(buffer, BUFFER_FROZEN, 0);
    return OK;
}

/* Count the pins of all others, whatever the dead one's entry says: so it does not matter who
   counts how often, nor whether another count has left this entry out already. */
static err_t
release_pin(unsigned slot, uint64_t id, enum ledger_state ledger)
{
    struct buffer *buffer;
    uint32_t state;
    unsigned pins = 0;
    err_t err;

    (void)ledger;
    if (mutant(MUTANT_LEFT_PIN))
        return OK;
    if (id == 0 || id > shared->count)
        return err_set(ERR_INTERNAL, "could not unpin buffer %ju: there is none", (uintmax_t)id);
    buffer = pool_buffer_at((buffer_t)id);
    TRY_RETURN(freeze(buffer));
    err = ledger_census(LEDGER_PIN, id, slot, &pins);
    state = atomic_load(&buffer->state);
    while (!atomic_compare_exchange_weak(&buffer->state, &state,
        err == OK ? (state & ~(BUFFER_PINS | BUFFER_FROZEN)) | pins : state & ~BUFFER_FROZEN))
        ;
    atomic_store(&buffer->counter, 0);
    forget_private(slot, (buffer_t)id);
    return err;
}

static err_t
verify_pin(unsigned slot, uint64_t id, enum ledger_state state)
{
    if (id == 0 || id > shared->count)
        return err_set(
            ERR_INTERNAL, "slot %u has buffer %ju pinned: there is none", slot, (uintmax_t)id);
    if (state == LEDGER_HELD &&
        pool_buffer_pins(atomic_load(&pool_buffer_at((buffer_t)id)->state)) == 0)
        return err_set(ERR_INTERNAL, "slot %u has a buffer pinned that nobody has", slot);
    return OK;
}

static err_t
verify_io(unsigned slot, uint64_t id, enum ledger_state state)
{
    if (id == 0 || id > shared->count)
        return err_set(
            ERR_INTERNAL, "slot %u reads or writes buffer %ju: there is none", slot, (uintmax_t)id);
    if (state == LEDGER_HELD && atomic_load(&pool_buffer_at((buffer_t)id)->io) != slot + 1)
        return err_set(ERR_INTERNAL, "slot %u reads or writes a buffer that is not its own", slot);
    return OK;
}

static err_t
release_io(unsigned slot, uint64_t id, enum ledger_state state)
{
    struct buffer *buffer;
    uint32_t owner = slot + 1;

    (void)state;
    if (mutant(MUTANT_LEFT_IO))
        return OK;
    if (id == 0 || id > shared->count)
        return err_set(
            ERR_INTERNAL, "could not end I/O of buffer %ju: there is none", (uintmax_t)id);
    buffer = pool_buffer_at((buffer_t)id);
    if (atomic_compare_exchange_strong(&buffer->io, &owner, 0))
        condition_wake(&buffer->idle);
    if (proc_self != NULL && proc_self->index == slot && io_buffer == id)
        io_buffer = 0;
    return OK;
}

/* ---- copying ---- */

void
pool_buffer_copy(void *to, const void *from)
{
#if SANITIZER_THREAD
    /* What races with hints is told to the sanitizer as what it is. */
    const _Atomic uint64_t *source = from;
    uint64_t *target = to;

    for (size_t i = 0; i < wal_page_size / sizeof *target; i++)
        target[i] = atomic_load_explicit(&source[i], memory_order_relaxed);
#else
    /* Each hint is one naturally aligned store: copied either as it was or as it became.  Whoever
       copies during a change finds out by the version and throws the copy away. */
    memcpy(to, from, wal_page_size);
#endif
}
