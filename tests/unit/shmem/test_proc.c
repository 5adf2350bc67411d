/*
 * test_proc.c - the segment, slots, counters and the shared hash table.
 */
#include "shmem/proc.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/panic.h"
#include "shmem/segment.h"
#include "shmem/shash.h"
#include "shmem/spin.h"

#define CAPACITY 2000

static struct {
    struct spin spin;
    uint64_t sum; /* guard: spin */
    struct proc *_Atomic writer;
    _Atomic uint32_t stop;
} * shared;
static struct shash *table;

static size_t
region_size(const struct config *config)
{
    (void)config;
    return sizeof *shared;
}

static void
region_init(void *zeroed, const struct config *config)
{
    (void)config;
    shared = zeroed;
    spin_init(&shared->spin);
}

static size_t
table_size(const struct config *config)
{
    (void)config;
    return shash_size(CAPACITY, sizeof(uint64_t), sizeof(uint64_t));
}

static void
table_init(void *zeroed, const struct config *config)
{
    (void)config;
    table = shash_init(zeroed, CAPACITY, sizeof(uint64_t), sizeof(uint64_t));
}

static const struct region region = { "test", region_size, region_init };
static const struct region table_region = { "table", table_size, table_init };
static const struct config config = { .server_max_connections = 4, .server_spare_backends_max = 2 };

static int
set_up(void **state)
{
    const struct region *const regions[] = { &proc_region, &region, &table_region };
    char name[64];

    (void)state;
    (void)snprintf(name, sizeof name, "/gneiss-test-%d", (int)getpid());
    return segment_create(regions, 3, &config, name) == OK ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    segment_destroy();
    return 0;
}

static void
a_segment_knows_its_regions(void **state)
{
    size_t size;

    (void)state;
    assert_int_equal(segment_region_count(), 3);
    assert_string_equal(segment_region_name(1, &size), "test");
    assert_true(size >= sizeof *shared && size % 64 == 0);
    assert_true(segment_holds(shared) && !segment_holds(&size));
    assert_ptr_equal(segment_pointer(segment_offset(shared)), shared);
    shared->sum = 7;
    segment_rebuild(&config);
    assert_int_equal(shared->sum, 0);
    assert_true(segment_size() > 0);
}

static void
a_segment_too_large_is_refused_with_a_reason(void **state)
{
    const struct region *const regions[] = { &proc_region };
    struct config huge = { .server_max_connections = 2000000000 };

    (void)state;
    assert_int_equal(segment_create(regions, 1, &huge, "/gneiss-test-huge"), ERR_MEMORY);
    assert_non_null(strstr(err_message(), "max_connections"));
    assert_int_equal(segment_size(), 0);
}

static void
a_private_segment_is_not_there_in_a_child(void **state)
{
    const struct region *const regions[] = { &proc_region, &region };
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(segment_create_private(regions, 2, &config), OK);
    shared->sum = 7;
    pid = fork();
    if (pid == 0) {
        int mapped = msync(segment_begin, segment_size(), MS_ASYNC);

        _exit(mapped == -1 && errno == ENOMEM ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(shared->sum, 7);
    segment_destroy();
}

static void
slots_run_out_and_come_back(void **state)
{
    struct proc *first = NULL;
    unsigned taken = 0;
    uint64_t generation;

    (void)state;
    while (proc_attach(PROC_BACKEND) == OK) {
        first = first == NULL ? proc_self : first;
        assert_true(proc_self->index < proc_high_water());
        proc_use(NULL);
        taken++;
    }
    assert_true(taken >= 4 + 2 && taken < proc_count());
    assert_int_equal(proc_attach(PROC_CHECKPOINTER), OK); /* has a slot of its own */
    proc_use(NULL);
    assert_int_equal(proc_attach(PROC_CHECKPOINTER), ERR_TOO_MANY);
    generation = atomic_load(&first->generation);
    proc_use(first);
    proc_detach();
    assert_int_equal(atomic_load(&first->generation), generation + 1);
    assert_true(proc_is_dead(first->index));
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    assert_ptr_equal(proc_self, first);
    assert_false(proc_is_dead(first->index));
    proc_detach();
}

static void
a_dead_process_is_found_and_buried(void **state)
{
    siginfo_t info;
    pid_t pid = fork();
    int slot;

    (void)state;
    if (pid == 0) {
        invariant(proc_attach(PROC_BACKEND) == OK);
        atomic_store(&proc_self->text_version, 1); /* as if it died writing a text */
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    slot = proc_find(pid);
    assert_true(slot >= 0);
    assert_true(proc_is_dead((unsigned)slot));
    assert_int_equal(ledger_release_dead((unsigned)slot), OK);
    proc_bury((unsigned)slot);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(proc_find(pid), -1);
    assert_int_equal(atomic_load(&proc_at((unsigned)slot)->text_version) & 1, 0);
}

static void *
describe_without_end(void *argument)
{
    (void)argument;
    invariant(proc_attach(PROC_BACKEND) == OK);
    proc_describe("text", "1");
    atomic_store(&shared->writer, proc_self);
    while (atomic_load(&shared->stop) == 0) {
        proc_describe("json", "22");
        proc_describe("text", "1");
    }
    proc_detach();
    return NULL;
}

static void
texts_are_read_whole(void **state)
{
    char protocol[8];
    char peer[PROC_TEXT_MAX];
    char verb[PROC_TEXT_MAX];
    pthread_t thread;
    int read = 0;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, describe_without_end, NULL), 0);
    while (atomic_load(&shared->writer) == NULL)
        (void)usleep(100);
    /* A writer that was interrupted half-way keeps readers out until it runs again. */
    for (int i = 0; i < 20000 || read == 0; i++) {
        if (proc_read_text(atomic_load(&shared->writer), protocol, peer, verb)) {
            assert_string_equal(peer, protocol[0] == 't' ? "1" : "22");
            read++;
        } else if (i >= 20000) {
            (void)usleep(100);
        }
    }
    atomic_store(&shared->stop, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static char title[300];

static void
keep_title(const char *text, size_t same)
{
    assert_memory_equal(title, text, same);
    (void)snprintf(title, sizeof title, "%s", text);
}

static void
titles_say_what_a_process_does(void **state)
{
    (void)state;
    proc_set_title_hook(keep_title);
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    proc_set_state(PROC_IDLE);
    proc_describe("", "");
    assert_string_equal(title, "backend idle");
    proc_describe("text", "127.0.0.1:5");
    assert_string_equal(title, "backend 127.0.0.1:5");
    proc_begin_command("find");
    assert_string_equal(title, "backend 127.0.0.1:5 find");
    assert_int_equal(atomic_load(&proc_self->requests), 1);
    assert_int_not_equal(atomic_load(&proc_self->verb_since_ns), 0);
    proc_end_command();
    assert_string_equal(title, "backend 127.0.0.1:5");
    assert_int_equal(atomic_load(&proc_self->verb_since_ns), 0);
    proc_describe("", "");
    assert_string_equal(title, "backend idle");
    proc_detach();
    proc_set_title_hook(NULL);
}

static void *
count_and_spin(void *argument)
{
    (void)argument;
    invariant(proc_attach(PROC_BACKEND) == OK);
    for (int i = 0; i < 10000; i++) {
        counters_add(COUNTER_QUERIES, 2);
        spin_acquire(&shared->spin);
        shared->sum++;
        spin_release(&shared->spin);
    }
    proc_detach();
    return NULL;
}

static void
counters_and_spins_add_up(void **state)
{
    pthread_t thread[4];

    (void)state;
    counters_add(COUNTER_QUERIES, 1); /* without a slot: nothing */
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count_and_spin, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(counters_total(COUNTER_QUERIES), 80000);
    assert_int_equal(shared->sum, 40000);
    counters_reset();
    assert_int_equal(counters_total(COUNTER_QUERIES), 0);
    assert_string_equal(counters_key(COUNTER_QUERIES), "queries_total");
}

static bool
is_odd(const void *key, void *value, void *context)
{
    (void)value;
    (*(unsigned *)context)++;
    return *(const uint64_t *)key % 2 == 1;
}

static void
the_table_holds_its_capacity_and_then_refuses(void **state)
{
    uint64_t key;
    uint64_t *value;
    void *found;
    bool made;
    unsigned visited = 0;
    err_t err = OK;

    (void)state;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    for (key = 0; key < CAPACITY; key++) {
        shash_lock(table, &key, LW_EXCLUSIVE);
        assert_int_equal(shash_insert(table, &key, &found, &made), OK);
        value = found;
        assert_true(made && *value == 0);
        *value = key * 3;
        assert_int_equal(shash_insert(table, &key, &found, &made), OK);
        assert_false(made);
        shash_unlock(table, &key);
    }
    assert_int_equal(shash_count(table), CAPACITY);
    shash_sweep(table, is_odd, &visited);
    assert_int_equal(visited, CAPACITY);
    assert_int_equal(shash_count(table), CAPACITY / 2);
    for (key = 0; key < CAPACITY; key++) {
        shash_lock(table, &key, LW_EXCLUSIVE);
        value = shash_find(table, &key);
        assert_true((value != NULL) == (key % 2 == 0));
        assert_true(value == NULL || *value == key * 3);
        assert_true(shash_remove(table, &key) == (key % 2 == 0));
        assert_null(shash_find(table, &key));
        shash_unlock(table, &key);
    }
    assert_int_equal(shash_count(table), 0);
    for (key = 0; err == OK && key < 10 * CAPACITY; key++) {
        shash_lock(table, &key, LW_EXCLUSIVE);
        err = shash_insert(table, &key, &found, &made);
        shash_unlock(table, &key);
    }
    assert_int_equal(err, ERR_TOO_MANY);
    assert_true(shash_count(table) >= CAPACITY);
    proc_detach();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_segment_knows_its_regions, set_up, tear_down),
        cmocka_unit_test(a_segment_too_large_is_refused_with_a_reason),
        cmocka_unit_test(a_private_segment_is_not_there_in_a_child),
        cmocka_unit_test_setup_teardown(slots_run_out_and_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_process_is_found_and_buried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(texts_are_read_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(titles_say_what_a_process_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counters_and_spins_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_table_holds_its_capacity_and_then_refuses, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
