/*
 * test_pool_verify.c - what is told, and what is not, of the pool's structures after an internal
 * fault.
 */
#include <pthread.h>

#include "page_fixture.h"

#include "storage/page/pool_verify.h"

#define MIB   ((int64_t)1 << 20)
#define PAGES 300 /* of 128 buffers */

static fileno_t file;

static int
set_up(void **state)
{
    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, PAGES, 1);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    fixture_close();
    return 0;
}

static void
is_odd(const char *what)
{
    assert_int_equal(pool_verify_table(), ERR_INTERNAL);
    assert_non_null(strstr(err_message(), what));
}

/* A buffer that holds a page, not the last of its chain unless none is longer. */
static buffer_t
some_buffer(void)
{
    for (buffer_t number = 1; number <= pool_buffer_shared->count; number++)
        if (atomic_load(&pool_buffer_at(number)->tag) != 0)
            return number;
    fail();
    return 0;
}

static void
a_used_pool_is_in_order(void **state)
{
    buffer_t buffer;

    (void)state;
    assert_int_equal(pool_pin((struct page_id){ file, 7 }, POOL_NORMAL, &buffer), OK);
    pool_lock(buffer, LW_EXCLUSIVE);
    assert_int_equal(pool_verify_table(), OK);
    pool_unlock(buffer);
    pool_unpin(buffer);
    assert_int_equal(pool_verify_table(), OK);
}

static void
a_chain_that_leads_nowhere_or_in_a_circle_is_told(void **state)
{
    struct buffer *buffer = pool_buffer_at(some_buffer());
    uint32_t next = atomic_load(&buffer->next);

    (void)state;
    atomic_store(&buffer->next, pool_buffer_shared->count + 1);
    is_odd("a chain of the pool's table is damaged");
    atomic_store(&buffer->next, (uint32_t)(buffer - pool_buffer_shared->buffers) + 1);
    is_odd("a chain of the pool's table is damaged");
    atomic_store(&buffer->next, next);
    assert_int_equal(pool_verify_table(), OK);
}

static void
a_tag_lock_or_owner_that_cannot_be_is_told(void **state)
{
    struct buffer *buffer = pool_buffer_at(some_buffer());
    uint64_t tag = atomic_load(&buffer->tag);

    (void)state;
    atomic_store(&buffer->tag, 0);
    is_odd("in another's chain");
    atomic_store(&buffer->tag, tag);
    buffer->content.rank = RANK_CONTROL;
    is_odd("a descriptor of the pool is damaged");
    buffer->content.rank = 9999;
    is_odd("is none");
    buffer->content.rank = RANK_PAGE;
    atomic_store(&buffer->content.state, 0xdeadbeef);
    is_odd("is damaged: deadbeef");
    atomic_store(&buffer->content.state, 0);
    atomic_store(&buffer->io, proc_count() + 1);
    is_odd("a descriptor of the pool is damaged");
    atomic_store(&buffer->io, 0);
    assert_int_equal(pool_verify_table(), OK);
}

static void
a_copy_says_whether_the_disk_has_the_same(void **state)
{
    static _Alignas(64) uint8_t copy[PAGE_SIZE_MAX];
    struct pool_verify_page page;
    buffer_t buffer;

    (void)state;
    assert_int_equal(pool_pin((struct page_id){ file, 3 }, POOL_NORMAL, &buffer), OK);
    pool_lock(buffer, LW_EXCLUSIVE);
    assert_int_equal(fixture_change(buffer, PAGE_HEAP, 5, false), OK);
    pool_verify_copy(buffer, proc_self->index, copy, &page); /* under "the dead one's" lock */
    assert_true(page.there && !page.as_on_disk && page.id.block == 3);
    pool_unlock(buffer);
    assert_int_equal(pool_write_all(), OK);
    pool_verify_copy(buffer, proc_self->index, copy, &page);
    assert_true(page.there && page.as_on_disk);
    assert_true(pool_verify_rested(buffer, &page));
    /* Changed and written again since: the disk has something newer than the copy. */
    pool_lock(buffer, LW_EXCLUSIVE);
    assert_int_equal(fixture_change(buffer, PAGE_HEAP, 6, false), OK);
    pool_unlock(buffer);
    assert_false(pool_verify_rested(buffer, &page));
    assert_int_equal(pool_write_all(), OK);
    assert_false(pool_verify_rested(buffer, &page));
    pool_unpin(buffer);
}

static _Atomic uint32_t stop;

/* Pages come and go in all partitions. */
static void *
churn(void *context)
{
    bool right = proc_attach(PROC_BACKEND) == OK;

    (void)context;
    for (uint32_t i = 0; right && atomic_load(&stop) == 0; i++) {
        struct page_id id = { file, i * 7 % PAGES };
        buffer_t buffer;

        right = pool_pin(id, POOL_NORMAL, &buffer) == OK;
        if (right)
            pool_unpin(buffer);
    }
    proc_detach();
    return right ? NULL : context;
}

static void
a_pool_whose_pages_come_and_go_is_in_order(void **state)
{
    pthread_t thread;
    void *result;
    err_t err = OK;

    (void)state;
    atomic_store(&stop, 0);
    assert_int_equal(pthread_create(&thread, NULL, churn, &stop), 0);
    for (int i = 0; i < 2000 && err == OK; i++)
        err = pool_verify_table();
    atomic_store(&stop, 1);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    if (err != OK)
        fail_msg("%s", err_message());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_used_pool_is_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_chain_that_leads_nowhere_or_in_a_circle_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_tag_lock_or_owner_that_cannot_be_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_pool_whose_pages_come_and_go_is_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_copy_says_whether_the_disk_has_the_same, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
