/*
 * test_btree.c - the tree against a sorted array, with one process.
 */
#include "treefixture.h"

#include "storage/index/btree_find.h"
#include "wal/wal_insert.h"

#define ENTRIES_MAX 60000

struct model_entry {
    uint8_t key[64];
    size_t size;
    struct row_id row;
};
static struct model_entry model[ENTRIES_MAX];
static size_t model_count;
static uint64_t random_state = 88172645463325252u;

static uint64_t
draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static struct bytes
key_of(const struct model_entry *entry)
{
    return (struct bytes){ entry->key, entry->size };
}

static int
compare_entries(const void *a, const void *b)
{
    const struct model_entry *x = a, *y = b;
    int order = bytes_compare(key_of(x), key_of(y));

    if (order != 0)
        return order;
    return (btree_page_place(x->row) > btree_page_place(y->row)) -
           (btree_page_place(x->row) < btree_page_place(y->row));
}

/* Keys that share prefixes, repeat, and are of all sizes. */
static void
random_key(struct model_entry *entry)
{
    size_t prefix = draw(4) * 5;

    memset(entry->key, 'p', prefix);
    entry->size = prefix + draw(12);
    for (size_t i = prefix; i < entry->size; i++)
        entry->key[i] = (uint8_t)draw(i % 3 == 0 ? 256 : 3);
}

/* The model's entries from `begin` on, in order, by one call. */
static void
insert_at_once(size_t begin)
{
    static struct model_entry sorted[ENTRIES_MAX];
    static struct index_entry entries[ENTRIES_MAX];
    size_t count = model_count - begin, done;

    memcpy(sorted, model + begin, count * sizeof sorted[0]);
    qsort(sorted, count, sizeof sorted[0], compare_entries);
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct index_entry){ key_of(&sorted[i]), sorted[i].row };
    OKAY(methods->insert_many(NULL, &tree, entries, count, 1, NULL, &done));
    assert_int_equal(done, count);
}

/* One by one, or many at a time; some that are in already are put in again. */
static void
fill(size_t count)
{
    size_t begin = 0;

    model_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct model_entry *entry = &model[model_count++];

        random_key(entry);
        entry->row = row_number(i);
        if (i % 4000 < 2000)
            assert_int_equal(tree_insert(key_of(entry), entry->row, NULL), INDEX_FREE);
        if (i % 4000 == 1900)
            begin = model_count;
        if (i % 4000 >= 2000 && (draw(300) == 0 || i + 1 == count || i % 4000 == 3999)) {
            insert_at_once(begin);
            begin = model_count;
        }
    }
    qsort(model, model_count, sizeof model[0], compare_entries);
}

static bool
in_range(const struct model_entry *entry, const struct index_range *range)
{
    struct bytes key = key_of(entry);

    if (range->has_low) {
        int order = bytes_compare(key, range->low);
        bool prefix =
            key.size >= range->low.size && memcmp(key.data, range->low.data, range->low.size) == 0;

        if (order < 0 || (order == 0 && range->low_excluded) ||
            (prefix && range->low_prefix_excluded))
            return false;
    }
    if (range->has_high) {
        int order = bytes_compare(key, range->high);
        bool prefix = key.size >= range->high.size &&
                      memcmp(key.data, range->high.data, range->high.size) == 0;

        if (prefix && range->high_prefix_included)
            return true;
        if (order > 0 || (order == 0 && range->high_excluded))
            return false;
    }
    return true;
}

/* A scan, interrupted and taken up again now and then, against the model. */
static void
compare_range(const struct index_range *range, unsigned seek_each)
{
    struct index_scan *scan;
    size_t at = range->backward ? model_count : 0;
    unsigned given = 0;

    OKAY(methods->scan_begin(NULL, &tree, range, &scan));
    for (;;) {
        struct index_entry entry;
        const struct model_entry *wanted = NULL;
        bool found;

        while (wanted == NULL && (range->backward ? at > 0 : at < model_count)) {
            const struct model_entry *next = range->backward ? &model[--at] : &model[at++];

            if (in_range(next, range))
                wanted = next;
        }
        OKAY(methods->scan_next(NULL, scan, &entry, &found));
        assert_int_equal(found, wanted != NULL);
        if (!found)
            break;
        assert_true(bytes_equal(entry.key, key_of(wanted)));
        assert_int_equal(btree_page_place(entry.row), btree_page_place(wanted->row));
        if (seek_each > 0 && ++given % seek_each == 0) {
            uint8_t key[64];
            struct bytes copy = { key, entry.key.size };

            memcpy(key, entry.key.data, entry.key.size);
            methods->scan_end(scan);
            OKAY(methods->scan_begin(NULL, &tree, range, &scan));
            OKAY(methods->scan_seek(NULL, scan, copy, entry.row));
        }
    }
    methods->scan_end(scan);
}

static void
scans_give_what_a_sorted_array_gives(void **state)
{
    (void)state;
    fill(20000);
    assert_int_equal(tree_check(), model_count);
    compare_range(&(struct index_range){ .backward = false }, 0);
    compare_range(&(struct index_range){ .backward = true }, 0);
    compare_range(&(struct index_range){ .backward = true }, 97);
    for (int i = 0; i < 300; i++) {
        struct model_entry low, high;
        struct index_range range = { .has_low = draw(4) > 0,
            .has_high = draw(4) > 0,
            .low_excluded = draw(2) > 0,
            .high_excluded = draw(2) > 0,
            .low_prefix_excluded = draw(4) == 0,
            .high_prefix_included = draw(4) == 0,
            .backward = draw(2) > 0 };

        random_key(&low);
        random_key(&high);
        if (draw(2) == 0)
            low = model[draw(model_count)];
        if (draw(2) == 0)
            high = model[draw(model_count)];
        range.low = key_of(&low);
        range.high = key_of(&high);
        compare_range(&range, i % 3 == 0 ? 7 : 0);
    }
}

static void
a_key_of_many_rows_is_found_whole(void **state)
{
    struct row_id rows[4];
    size_t count;

    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(tree_insert(bytes_of("same"), row_number(i * 7 % 3000), NULL), INDEX_FREE);
    for (unsigned i = 0; i < 500; i++) /* again: is in already */
        assert_int_equal(tree_insert(bytes_of("same"), row_number(i), NULL), INDEX_FREE);
    OKAY(methods->lookup(NULL, &tree, bytes_of("same"), rows, 4, &count));
    assert_true(count > 4);
    OKAY(methods->lookup(NULL, &tree, bytes_of("sam"), rows, 4, &count));
    assert_int_equal(count, 0);
    OKAY(methods->lookup(NULL, &tree, bytes_of("samf"), rows, 4, &count));
    assert_int_equal(count, 0);
    assert_int_equal(tree_check(), 3000);
}

static bool
row_is_dead(void *context, struct row_id row)
{
    const unsigned *keep_each = context;

    return *keep_each == 0 || btree_page_place(row) % *keep_each != 0;
}

static void
vacuum_takes_out_the_dead_and_gives_pages_back(void **state)
{
    unsigned keep_each = 10;
    uint64_t removed, before, after, kept = 0;

    (void)state;
    fill(30000);
    OKAY(methods->pages(&tree, &before));
    OKAY(methods->remove(NULL, &tree, row_is_dead, &keep_each, &removed));
    for (size_t i = 0; i < model_count; i++)
        if (!row_is_dead(&keep_each, model[i].row))
            model[kept++] = model[i];
    assert_int_equal(removed, model_count - kept);
    model_count = kept;
    assert_int_equal(tree_check(), kept);
    compare_range(&(struct index_range){ .backward = false }, 0);
    keep_each = 0;
    OKAY(methods->remove(NULL, &tree, row_is_dead, &keep_each, &removed));
    assert_int_equal(removed, kept);
    assert_int_equal(tree_check(), 0);
    /* The freed pages are used again: the same entries need hardly any new ones. */
    random_state = 88172645463325252u;
    fill(30000);
    assert_int_equal(tree_check(), 30000);
    OKAY(methods->pages(&tree, &after));
    assert_true(after < before + before / 4);
}

static err_t
next_of_model(void *context, struct index_entry *entry, bool *found)
{
    size_t *at = context;

    *found = *at < model_count;
    if (*found) {
        *entry = (struct index_entry){ key_of(&model[*at]), model[*at].row };
        (*at)++;
    }
    return OK;
}

static void
a_tree_built_at_once_is_like_one_grown(void **state)
{
    static const size_t sizes[] = { 0, 1, 2, 150, 5000, 40000 };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t at = 0;

        model_count = sizes[i];
        for (size_t k = 0; k < model_count; k++) {
            random_key(&model[k]);
            model[k].row = row_number(k);
        }
        qsort(model, model_count, sizeof model[0], compare_entries);
        tree_new(false);
        OKAY(methods->build(NULL, &tree, 1, next_of_model, &at));
        assert_int_equal(tree_check(), model_count);
        compare_range(&(struct index_range){ .backward = i % 2 == 0 }, 0);
        for (unsigned k = 0; k < 200; k++) /* and it grows on */
            assert_int_equal(
                tree_insert(bytes_of("zz"), row_number(1000000 + k), NULL), INDEX_FREE);
        assert_int_equal(tree_check(), model_count + 200);
    }
}

static err_t
judge_by_verdict(void *context, struct row_id row, enum index_verdict *verdict, xid_t *xid)
{
    (void)row;
    *verdict = *(const enum index_verdict *)context;
    *xid = 77;
    return OK;
}

static void
a_unique_tree_asks_before_it_takes(void **state)
{
    enum index_verdict answer = INDEX_CONFLICT, verdict;
    struct index_judge judge = { judge_by_verdict, &answer };
    struct row_id other;
    xid_t wait_for;

    (void)state;
    assert_int_equal(tree_insert(bytes_of("k"), row_number(1), &judge), INDEX_FREE);
    OKAY(methods->insert(
        NULL, &tree, bytes_of("k"), row_number(2), 1, &judge, &verdict, &other, &wait_for));
    assert_int_equal(verdict, INDEX_CONFLICT);
    assert_int_equal(btree_page_place(other), btree_page_place(row_number(1)));
    answer = INDEX_WAIT;
    OKAY(methods->insert(
        NULL, &tree, bytes_of("k"), row_number(2), 1, &judge, &verdict, &other, &wait_for));
    assert_int_equal(verdict, INDEX_WAIT);
    assert_int_equal(wait_for, 77);
    answer = INDEX_FREE;
    for (unsigned i = 2; i < 2000; i++) /* a key with many dead rows spans pages */
        assert_int_equal(tree_insert(bytes_of("k"), row_number(i), &judge), INDEX_FREE);
    assert_int_equal(tree_check(), 1999);
}

static void
a_unique_tree_asks_about_each_of_many(void **state)
{
    enum index_verdict answer = INDEX_CONFLICT;
    struct index_judge judge = { judge_by_verdict, &answer };
    struct index_entry entries[300];
    uint8_t keys[300][3];
    size_t done;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        keys[i][0] = 'k';
        keys[i][1] = (uint8_t)(i >> 8);
        keys[i][2] = (uint8_t)i;
        entries[i] = (struct index_entry){ { keys[i], 3 }, row_number(i) };
    }
    assert_int_equal(tree_insert(entries[200].key, row_number(1000), NULL), INDEX_FREE);
    OKAY(methods->insert_many(NULL, &tree, entries, 300, 1, &judge, &done));
    assert_int_equal(done, 200); /* someone has that key */
    assert_int_equal(tree_check(), 201);
    answer = INDEX_WAIT;
    OKAY(methods->insert_many(NULL, &tree, entries, 300, 1, &judge, &done));
    assert_int_equal(done, 200); /* those before it are in already */
    answer = INDEX_FREE;
    OKAY(methods->insert_many(NULL, &tree, entries, 300, 1, &judge, &done));
    assert_int_equal(done, 300);
    assert_int_equal(tree_check(), 301);
    for (unsigned i = 0; i < 300; i++) /* keys that go on over several pages */
        entries[i] = (struct index_entry){ bytes_of("same"), row_number(5000 + i) };
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(tree_insert(bytes_of("same"), row_number(2000 + i), NULL), INDEX_FREE);
    OKAY(methods->insert_many(NULL, &tree, entries, 300, 1, &judge, &done));
    assert_int_equal(done, 300);
    assert_int_equal(tree_check(), 2601);
}

static void
long_keys_fit_small_pages(void **state)
{
    uint8_t key[INDEX_KEY_MAX];
    uint64_t count = 0;

    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        size_t size = i % 3 == 0 ? sizeof key : 1 + draw(sizeof key);

        memset(key, 'x', sizeof key);
        for (size_t k = 0; k < size; k += 1 + draw(200))
            key[k] = (uint8_t)draw(256);
        assert_int_equal(tree_insert((struct bytes){ key, size }, row_number(i), NULL), INDEX_FREE);
        count++;
        if (i % 50 == 0)
            assert_int_equal(tree_check(), count);
    }
    assert_int_equal(tree_check(), count);
    {
        uint8_t too_long[INDEX_KEY_MAX + 1] = { 0 };
        enum index_verdict verdict;
        struct row_id other;
        xid_t wait_for;

        assert_int_equal(methods->insert(NULL, &tree, (struct bytes){ too_long, sizeof too_long },
                             row_number(0), 1, NULL, &verdict, &other, &wait_for),
            ERR_CANNOT_CREATE_INDEX);
    }
}

/* Change a page behind the tree's back, as somebody may who has the files. */
static void
link_to(block_t block, block_t right)
{
    buffer_t buffer;

    OKAY(pool_pin((struct page_id){ tree.file, block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    btree_page_head_of(pool_page(buffer))->right = right;
    pool_unlock(buffer);
    pool_unpin(buffer);
}

static void
links_in_a_circle_are_damage(void **state)
{
    enum index_verdict answer = INDEX_FREE, verdict;
    struct index_judge judge = { judge_by_verdict, &answer };
    struct row_id row, other;
    unsigned refused = 0;
    size_t count;
    xid_t wait_for;

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "%08u", i);
        (void)tree_insert(bytes_of(text), row_number(i), NULL);
    }
    for (block_t block = 1; block < 8; block++)
        link_to(block, block);            /* each leads to itself */
    for (unsigned i = 0; i < 2000; i++) { /* until pages must be split */
        char text[16];
        err_t err;

        (void)snprintf(text, sizeof text, "%08ux", i);
        err = methods->insert(NULL, &tree, bytes_of(text), row_number(i), 1,
            i % 2 == 0 ? &judge : NULL, &verdict, &other, &wait_for);
        assert_true(err == OK || err == ERR_CORRUPT);
        refused += err == ERR_CORRUPT;
        err = methods->lookup(NULL, &tree, bytes_of(text), &row, 1, &count);
        assert_true(err == OK || err == ERR_CORRUPT);
        assert_int_equal(pool_pin_total(), 0);
        assert_true(lwlock_none_held());
    }
    assert_true(refused > 0);
}

/* As it is when a process dies between splitting the root and putting a new one above both halves.
 */
static void
forget_the_root(void)
{
    buffer_t meta, left;
    uint16_t level;
    block_t root;

    OKAY(pool_pin((struct page_id){ tree.file, BTREE_META_BLOCK }, POOL_NORMAL, &meta));
    OKAY(pool_pin((struct page_id){ tree.file, 1 }, POOL_NORMAL, &left));
    pool_lock(left, LW_EXCLUSIVE);
    pool_lock(meta, LW_EXCLUSIVE);
    assert_int_equal(btree_page_meta(pool_page(meta))->level, 1);
    btree_page_meta_of(pool_page(meta))->root = 1;
    btree_page_meta_of(pool_page(meta))->level = 0;
    ((struct page_header *)pool_page(left))->flags |= BTREE_UNFINISHED;
    pool_unlock(meta);
    pool_unlock(left);
    pool_unpin(left);
    pool_unpin(meta);
    OKAY(btree_find_root(&tree, &root, &level)); /* this process believes it too */
    assert_int_equal(level, 0);
}

static void
the_right_half_of_an_unfinished_root_can_be_split(void **state)
{
    unsigned level = 0, count = 0;
    char text[16];

    (void)state;
    for (; level == 0; count++) {
        uint16_t root_level;
        block_t root;

        (void)snprintf(text, sizeof text, "%08u", count);
        (void)tree_insert(bytes_of(text), row_number(count), NULL);
        OKAY(btree_find_root(&tree, &root, &root_level));
        level = root_level;
    }
    forget_the_root();
    for (unsigned i = 0; i < 5000; i++, count++) { /* none of these goes to the left half */
        (void)snprintf(text, sizeof text, "%08u", count);
        (void)tree_insert(bytes_of(text), row_number(count), NULL);
    }
    assert_int_equal(tree_check(), count);
}

struct long_keys {
    unsigned next, count;
    uint8_t key[INDEX_KEY_MAX];
};

/* Pairs of the longest keys that differ in their last byte only; different pairs from the first
   byte on.  So half of all separators are as long as keys can be, and pages have no prefix. */
static struct bytes
long_key(struct long_keys *keys, unsigned number)
{
    unsigned pair = number / 2;

    memset(keys->key, (int)(pair % 251), sizeof keys->key);
    keys->key[0] = (uint8_t)(pair >> 8);
    keys->key[1] = (uint8_t)pair;
    keys->key[sizeof keys->key - 1] = (uint8_t)(number % 2);
    return (struct bytes){ keys->key, sizeof keys->key };
}

static err_t
next_long_key(void *context, struct index_entry *entry, bool *found)
{
    struct long_keys *keys = context;

    *found = keys->next < keys->count;
    entry->key = long_key(keys, keys->next);
    entry->row = row_number(keys->next++);
    return OK;
}

static void
keys_that_have_little_in_common_fit(void **state)
{
    const unsigned count = 3000;
    static struct long_keys keys;

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = i * 1009u % count; /* prime to it */

        assert_int_equal(
            tree_insert(long_key(&keys, number), row_number(number), NULL), INDEX_FREE);
    }
    assert_int_equal(tree_check(), count);
    tree_new(false);
    keys.next = 1; /* the first key's twin is not there: pages that take two end between twins */
    keys.count = count;
    OKAY(methods->build(NULL, &tree, 1, next_long_key, &keys));
    assert_int_equal(tree_check(), count - 1);
    for (unsigned i = 1; i < count; i += 10) {
        struct row_id row;
        size_t found;

        OKAY(methods->lookup(NULL, &tree, long_key(&keys, i), &row, 1, &found));
        assert_int_equal(found, 1);
        assert_int_equal(btree_page_place(row), btree_page_place(row_number(i)));
    }
}

static int
small_pages_setup(void **state)
{
    (void)state;
    tree_make(2 << 20, 4096);
    return 0;
}

static void
estimates_are_near(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50000; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "%08u", (i * 7919u) % 50000u);
        (void)tree_insert(bytes_of(text), row_number(i), NULL);
    }
    for (unsigned share = 0; share <= 10; share++) {
        struct index_range range = { .has_low = true, .has_high = true };
        uint64_t estimate, real = share * 5000;
        char low[16], high[16];

        (void)snprintf(low, sizeof low, "%08u", 0u);
        (void)snprintf(high, sizeof high, "%08u", share * 5000);
        range.low = bytes_of(low);
        range.high = bytes_of(high);
        OKAY(methods->estimate(NULL, &tree, &range, &estimate));
        assert_in_range(estimate, real - real / 3 - (real > 0 ? 1 : 0), real + real / 3 + 300);
    }
}

static void
after_a_crash_the_log_makes_the_same_tree(void **state)
{
    unsigned keep_each = 3;
    uint64_t removed, kept;

    (void)state;
    fill(15000);
    OKAY(methods->remove(NULL, &tree, row_is_dead, &keep_each, &removed));
    kept = model_count - removed;
    wal_flush(wal_insert_position());
    fixture_crash();
    fixture_start();
    fixture_describe_all();
    assert_int_equal(tree_check(), kept);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            scans_give_what_a_sorted_array_gives, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_key_of_many_rows_is_found_whole, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            vacuum_takes_out_the_dead_and_gives_pages_back, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_tree_built_at_once_is_like_one_grown, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_unique_tree_asks_before_it_takes, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_unique_tree_asks_about_each_of_many, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(links_in_a_circle_are_damage, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            the_right_half_of_an_unfinished_root_can_be_split, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            long_keys_fit_small_pages, small_pages_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(estimates_are_near, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            after_a_crash_the_log_makes_the_same_tree, tree_setup, fixture_teardown),
    };

    const struct CMUnitTest by_size[] = {
        cmocka_unit_test_setup_teardown(
            scans_give_what_a_sorted_array_gives, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            keys_that_have_little_in_common_fit, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            after_a_crash_the_log_makes_the_same_tree, tree_setup, fixture_teardown),
    };
    int failed = cmocka_run_group_tests_name("pages of 8 KiB", tests, NULL, NULL);

    fixture_page_size = 4096;
    failed += cmocka_run_group_tests_name("pages of 4 KiB", by_size, NULL, NULL);
    fixture_page_size = 16384;
    failed += cmocka_run_group_tests_name("pages of 16 KiB", by_size, NULL, NULL);
    fixture_page_size = 32768;
    failed += cmocka_run_group_tests_name("pages of 32 KiB", by_size, NULL, NULL);
    return failed;
}
