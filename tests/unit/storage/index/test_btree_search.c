/*
 * test_btree_search.c - searching one page, against a walk over its entries.
 */
#include "treefixture.h"

#include "storage/index/btree_search.h"

#define POINTS 400

static uint64_t random_state = 88172645463325252u;

static uint64_t
draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

/* How keys are spread decides how good a guess is. */
enum spread { EVEN, CROWDED, EQUAL_HEADS, FEW, ENDS, SPREADS };

static struct bytes
random_key(uint8_t key[64], enum spread spread)
{
    uint64_t number = draw(1u << 20);
    size_t size = 4;

    memcpy(key, "kkk", 3);
    if (spread == CROWDED)
        number = draw(8) == 0 ? number : (1u << 19) + draw(200);
    if (spread == FEW)
        number = draw(5);
    if (spread == ENDS)
        number = draw(2) == 0 ? draw(100) : (1u << 20) - 1 - draw(100);
    if (spread == EQUAL_HEADS) {
        memset(key + 3, 'e', 12);
        size = 15 + draw(3);
        key[15] = (uint8_t)draw(3); /* zeroes too: a key may end where another goes on with them */
        key[16] = (uint8_t)draw(2);
        return (struct bytes){ key, size };
    }
    key[3] = (uint8_t)(number >> 16);
    key[4] = (uint8_t)(number >> 8);
    key[5] = (uint8_t)number;
    key[6] = key[7] = 0;
    return (struct bytes){ key, 6 + draw(3) };
}

struct entry {
    uint8_t key[64];
    size_t size;
    btree_place_t place;
};

/* An entry's point; its key moves along with it when entries are sorted. */
static struct btree_point
point_of(const struct entry *entry)
{
    return (struct btree_point){ { entry->key, entry->size }, entry->place };
}

static int
compare(const void *a, const void *b)
{
    return btree_page_compare(point_of(a), point_of(b));
}

static struct entry entries[2000];

/* A page full of entries of this kind, or fewer; with fences or without. */
static unsigned
make_page(void *page, enum spread spread, uint16_t level, bool low, bool high)
{
    size_t most = 2 + draw(sizeof entries / sizeof entries[0] - 2);
    unsigned count = 0;
    struct entry last;
    struct btree_point least, greatest;

    for (size_t i = 0; i < most; i++) {
        entries[i].size = random_key(entries[i].key, spread).size;
        entries[i].place = draw(50);
    }
    qsort(entries, most, sizeof entries[0], compare);
    last = entries[most - 1];
    least = point_of(&entries[0]);
    greatest = point_of(&last);
    btree_page_make(page, level, low ? &least : NULL, high ? &greatest : NULL);
    for (size_t i = 0; i < most; i++) {
        if (count > 0 && compare(&entries[i], &entries[count - 1]) == 0)
            continue;
        if (high && compare(&entries[i], &last) >= 0)
            break;
        if (!btree_page_append(page, point_of(&entries[i]), 7))
            break;
        entries[count++] = entries[i];
    }
    return count;
}

static unsigned
walk(struct btree_point point, unsigned first, unsigned count)
{
    while (first < count && btree_page_compare(point_of(&entries[first]), point) < 0)
        first++;
    return first;
}

static void
search_page(const void *page, enum spread spread, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < POINTS; i++) {
        struct btree_within within;
        struct btree_entry entry;
        struct btree_point point;
        enum btree_side side;
        unsigned slot, expected;
        uint8_t key[64];
        bool before = draw(2) == 0;

        point = (struct btree_point){ random_key(key, spread), draw(50) };
        if (draw(2) == 0 && count > 0)
            point = point_of(&entries[draw(count)]);
        expected = walk(point, first, count);
        assert_true(btree_page_search(page, point, &slot));
        assert_int_equal(slot, expected);
        side = btree_search_side(page, point, before, &within);
        assert_int_not_equal(side, BTREE_SIDE_BAD);
        if (side != BTREE_SIDE_WITHIN)
            continue;
        assert_true(btree_search_within(page, point, &within, &slot));
        assert_int_equal(slot, expected);
        assert_int_equal(btree_search_equal(page, slot, point.key, &within, &entry),
            slot < count && bytes_equal(point_of(&entries[slot]).key, point.key) ? BTREE_EQUAL_YES
                                                                                 : BTREE_EQUAL_NOT);
    }
}

static void
a_search_finds_what_a_walk_finds(void **state)
{
    _Alignas(8) static uint8_t page[PAGE_SIZE_MAX];

    (void)state;
    for (int round = 0; round < 100; round++) {
        for (int spread = 0; spread < SPREADS; spread++) {
            uint16_t level = (uint16_t)(round / 4 % 2);
            unsigned count =
                make_page(page, (enum spread)spread, level, (round & 1) != 0, (round & 2) != 0);

            search_page(page, (enum spread)spread, level == 0 ? 0 : 1, count);
        }
    }
}

static void
a_fence_tells_on_which_side_a_point_lies(void **state)
{
    _Alignas(8) static uint8_t page[PAGE_SIZE_MAX];
    struct btree_point low = { bytes_of("key10"), 5 }, high = { bytes_of("key20"), 5 };
    struct btree_point here[] = { { bytes_of("a"), 0 }, { bytes_of("key"), 9 },
        { bytes_of("key10"), 4 }, low, { bytes_of("key10"), 6 }, { bytes_of("key11"), 0 },
        { bytes_of("key20"), 4 }, high, { bytes_of("key20"), 6 }, { bytes_of("key20\1"), 0 },
        { bytes_of("z"), 0 } };
    const char *sides = "LLLWWWWRRRR", *before = "LLLLWWWWRRR";
    const char names[] = { [BTREE_SIDE_BAD] = '?',
        [BTREE_SIDE_LEFT] = 'L',
        [BTREE_SIDE_WITHIN] = 'W',
        [BTREE_SIDE_RIGHT] = 'R' };
    struct btree_within within;

    (void)state;
    btree_page_make(page, 0, &low, &high);
    for (unsigned i = 0; i < sizeof here / sizeof here[0]; i++) {
        assert_int_equal(names[btree_search_side(page, here[i], false, &within)], sides[i]);
        assert_int_equal(names[btree_search_side(page, here[i], true, &within)], before[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_search_finds_what_a_walk_finds, tree_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_fence_tells_on_which_side_a_point_lies, tree_setup, fixture_teardown),
    };

    return cmocka_run_group_tests_name("btree_search", tests, NULL, NULL);
}
