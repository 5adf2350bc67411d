/*
 * btree_page.c - the bytes of a tree page.
 *
 * INVARIANTS (btree_page_fault checks them)
 *   T1  Entries are strictly ascending by (key, place); on inner pages from slot 1 on.
 *   T2  Every entry lies in [low, high).
 *   T3  The prefix is what the fences' keys have in common; none if a fence is missing.
 *   T4  Slots, entries and fences do not overlap and lie within the page.
 */
#include "storage/index/btree_page.h"

#include <endian.h>
#include <string.h>

#include "base/panic.h"
#include "storage/index/btree_search.h"

static inline uint8_t *
bytes_at(void *page, size_t offset)
{
    return (uint8_t *)page + offset;
}

static inline const struct page_header *
header(const void *page)
{
    return page;
}

static struct page_header *
header_of(void *page)
{
    return page;
}

/* --- slots --- */

static void
write_slot(void *page, unsigned index, struct btree_search_slot slot)
{
    uint8_t *at = bytes_at(page, BTREE_SLOTS_AT + (size_t)index * BTREE_SLOT_SIZE);

    memcpy(at, &slot.head, 8);
    memcpy(at + 8, &slot.offset, 2);
    memcpy(at + 10, &slot.size, 2);
}

static void
write_place(uint8_t *at, btree_place_t place)
{
    for (int i = 0; i < BTREE_PLACE_SIZE; i++)
        at[i] = (uint8_t)(place >> (40 - 8 * i));
}

/* --- fences: at the very end of the page, high before low --- */

bool
btree_page_low(const void *page, struct btree_point *point, bool *has)
{
    return btree_search_low(page, point, has);
}

bool
btree_page_high(const void *page, struct btree_point *point, bool *has)
{
    return btree_search_high(page, point, has);
}

struct bytes
btree_page_prefix(const void *page)
{
    return btree_search_prefix(page);
}

int
btree_page_compare(struct btree_point a, struct btree_point b)
{
    return btree_search_compare(a, b);
}

bool
btree_page_entry(const void *page, unsigned slot, struct btree_entry *entry)
{
    return slot < btree_search_slots(page) &&
           btree_search_entry(page, btree_search_slot(page, slot), entry);
}

bool
btree_page_search(const void *page, struct btree_point point, unsigned *found)
{
    struct bytes prefix = btree_page_prefix(page);
    struct btree_within within = { .prefix = prefix.size };

    if (prefix.size > 0) {
        size_t shared = point.key.size < prefix.size ? point.key.size : prefix.size;
        int order = shared > 0 ? memcmp(point.key.data, prefix.data, shared) : 0;

        if (order != 0 || point.key.size < prefix.size) { /* all entries lie on one side */
            unsigned first = btree_page_is_leaf(page) ? 0 : 1, count = btree_search_slots(page);

            *found = order > 0 && count > first ? count : first;
            return true;
        }
    }
    within.head = btree_search_head_of(btree_search_behind(point.key, prefix.size));
    return btree_search_within(page, point, &within, found);
}

bool
btree_page_key(const void *page, unsigned slot, uint8_t *key, size_t *size)
{
    struct bytes prefix = btree_page_prefix(page);
    struct btree_entry entry;

    if (!btree_page_entry(page, slot, &entry) || prefix.size + entry.suffix.size > INDEX_KEY_MAX)
        return false;
    if (prefix.size > 0)
        memcpy(key, prefix.data, prefix.size);
    if (entry.suffix.size > 0)
        memcpy(key + prefix.size, entry.suffix.data, entry.suffix.size);
    *size = prefix.size + entry.suffix.size;
    return true;
}

/* --- making and changing --- */

static size_t
common_prefix(struct bytes a, struct bytes b)
{
    size_t most = a.size < b.size ? a.size : b.size, size = 0;

    while (size < most && a.data[size] == b.data[size])
        size++;
    return size;
}

static void
write_fence(void *page, size_t offset, struct btree_point point)
{
    if (point.key.size > 0)
        memcpy(bytes_at(page, offset), point.key.data, point.key.size);
    write_place(bytes_at(page, offset + point.key.size), point.place);
}

void
btree_page_make(
    void *page, uint16_t level, const struct btree_point *low, const struct btree_point *high)
{
    struct btree_head *head = btree_page_head_of(page);
    size_t end = wal_page_size;

    memset(page, 0, wal_page_size);
    header_of(page)->kind = PAGE_BTREE;
    header_of(page)->flags = level == 0 ? BTREE_LEAF : 0;
    head->left = head->right = head->next_free = BLOCK_NONE;
    head->level = level;
    if (low != NULL) {
        head->has_low = 1;
        head->low_size = (uint16_t)low->key.size;
        end -= low->key.size + BTREE_PLACE_SIZE;
        write_fence(page, end, *low);
    }
    if (high != NULL) {
        head->has_high = 1;
        head->high_size = (uint16_t)high->key.size;
        end -= high->key.size + BTREE_PLACE_SIZE;
        write_fence(page, end, *high);
    }
    if (low != NULL && high != NULL)
        head->prefix_size = (uint16_t)common_prefix(low->key, high->key); /* T3 */
    header_of(page)->lower = (uint16_t)BTREE_SLOTS_AT;
    header_of(page)->upper = (uint16_t)end;
}

size_t
btree_page_need(const void *page, size_t key_size)
{
    return BTREE_SLOT_SIZE + key_size - btree_page_head(page)->prefix_size +
           btree_search_tail(page);
}

size_t
btree_page_free(const void *page)
{
    return (size_t)header(page)->upper - header(page)->lower;
}

size_t
btree_page_free_after_compaction(const void *page)
{
    return btree_page_free(page) + btree_page_head(page)->dead_bytes;
}

void
btree_page_insert(
    void *page, unsigned slot, struct bytes suffix, btree_place_t place, block_t child)
{
    struct btree_head *head = btree_page_head_of(page);
    size_t tail = btree_search_tail(page);
    uint8_t *slots = bytes_at(page, BTREE_SLOTS_AT);
    uint8_t *at;

    invariant(slot <= head->count);
    invariant(btree_page_free(page) >= BTREE_SLOT_SIZE + suffix.size + tail);
    header_of(page)->upper = (uint16_t)(header(page)->upper - suffix.size - tail);
    header_of(page)->lower = (uint16_t)(header(page)->lower + BTREE_SLOT_SIZE);
    at = bytes_at(page, header(page)->upper);
    if (suffix.size > 0)
        memcpy(at, suffix.data, suffix.size);
    write_place(at + suffix.size, place);
    if (tail > BTREE_PLACE_SIZE) {
        block_t big = htobe32(child);

        memcpy(at + suffix.size + BTREE_PLACE_SIZE, &big, sizeof big);
    }
    memmove(slots + (size_t)(slot + 1) * BTREE_SLOT_SIZE, slots + (size_t)slot * BTREE_SLOT_SIZE,
        (size_t)(head->count - slot) * BTREE_SLOT_SIZE);
    head->count++;
    write_slot(page, slot,
        (struct btree_search_slot){
            btree_search_head_of(suffix), header(page)->upper, (uint16_t)suffix.size });
}

bool
btree_page_append(void *page, struct btree_point point, block_t child)
{
    size_t prefix = btree_page_head(page)->prefix_size;

    if (btree_page_need(page, point.key.size) > btree_page_free(page))
        return false;
    btree_page_insert(page, btree_page_head(page)->count, btree_search_behind(point.key, prefix),
        point.place, child);
    return true;
}

void
btree_page_remove(void *page, const uint16_t *slots, size_t count)
{
    struct btree_head *head = btree_page_head_of(page);
    unsigned kept = 0;
    size_t next = 0;

    for (unsigned i = 0; i < head->count; i++) {
        struct btree_search_slot slot = btree_search_slot(page, i);

        if (next < count && slots[next] == i) {
            head->dead_bytes = (uint16_t)(head->dead_bytes + slot.size + btree_search_tail(page));
            next++;
            continue;
        }
        write_slot(page, kept++, slot);
    }
    invariant(next == count);
    head->count = (uint16_t)kept;
    header_of(page)->lower = (uint16_t)(BTREE_SLOTS_AT + (size_t)kept * BTREE_SLOT_SIZE);
}

void
btree_page_set_child(void *page, unsigned index, block_t child)
{
    struct btree_search_slot slot = btree_search_slot(page, index);
    block_t big = htobe32(child);

    invariant(!btree_page_is_leaf(page) && index < btree_page_head(page)->count);
    memcpy(bytes_at(page, (size_t)slot.offset + slot.size + BTREE_PLACE_SIZE), &big, sizeof big);
}

void
btree_page_compact(const void *page, void *out)
{
    const struct btree_head *old = btree_page_head(page);
    struct btree_point low, high;
    bool has_low, has_high;
    struct btree_head *head = btree_page_head_of(out);

    invariant(btree_page_low(page, &low, &has_low) && btree_page_high(page, &high, &has_high));
    btree_page_make(out, old->level, has_low ? &low : NULL, has_high ? &high : NULL);
    header_of(out)->lsn = header(page)->lsn;
    header_of(out)->flags = header(page)->flags;
    head->left = old->left;
    head->right = old->right;
    head->next_free = old->next_free;
    for (unsigned i = 0; i < old->count; i++) {
        struct btree_entry entry;

        invariant(btree_page_entry(page, i, &entry));
        btree_page_insert(out, i, entry.suffix, entry.place, entry.child);
    }
}

/* --- checks --- */

static const char *
entry_fault(const void *page, unsigned slot, const struct btree_entry *before)
{
    struct btree_entry entry;
    struct bytes prefix = btree_page_prefix(page);

    if (!btree_page_entry(page, slot, &entry) ||
        btree_search_slot(page, slot).offset < header(page)->upper) /* T4 */
        return "an entry lies outside its page";
    if (prefix.size + entry.suffix.size > INDEX_KEY_MAX)
        return "a key is too long";
    if (btree_search_slot(page, slot).head != btree_search_head_of(entry.suffix))
        return "a slot's head differs from its key";
    if (before != NULL) { /* T1 */
        int order = bytes_compare(before->suffix, entry.suffix);

        if (order > 0 || (order == 0 && before->place >= entry.place))
            return "entries are out of order";
    }
    return NULL;
}

static const char *
bounds_fault(const void *page)
{
    const struct btree_head *head = btree_page_head(page);
    unsigned first = btree_page_is_leaf(page) ? 0 : 1;
    struct btree_point low, high;
    bool has_low, has_high;
    unsigned slot;

    if (!btree_page_low(page, &low, &has_low) || !btree_page_high(page, &high, &has_high))
        return "a fence lies outside its page";
    if (head->prefix_size != (has_low && has_high ? common_prefix(low.key, high.key) : 0)) /* T3 */
        return "the prefix is not what the fences have in common";
    if (has_low && has_high && btree_page_compare(low, high) >= 0)
        return "the low fence is not below the high one";
    /* T2: searching for a fence finds the end on its side. */
    if (has_low && (!btree_page_search(page, low, &slot) || slot > first))
        return "an entry lies below the low fence";
    if (has_high && (!btree_page_search(page, high, &slot) || slot < head->count))
        return "an entry lies above the high fence";
    return NULL;
}

const char *
btree_page_fault(const void *page)
{
    const struct btree_head *head = btree_page_head(page);
    struct btree_entry before = { .child = BLOCK_NONE }, entry;
    bool leaf = btree_page_is_leaf(page);
    unsigned first = leaf ? 0 : 1;

    if (header(page)->kind != PAGE_BTREE)
        return "not a tree page";
    if (leaf != (head->level == 0) || head->level >= BTREE_LEVELS_MAX)
        return "its level cannot be right";
    if (btree_search_slots(page) != head->count ||
        header(page)->lower != BTREE_SLOTS_AT + (size_t)head->count * BTREE_SLOT_SIZE ||
        header(page)->upper < header(page)->lower || header(page)->upper > wal_page_size)
        return "its slots do not fit";
    if ((head->right == BLOCK_NONE) != (head->has_high == 0))
        return "right link and high fence do not go together";
    if ((header(page)->flags & BTREE_DELETED) != 0)
        return NULL;
    for (unsigned i = 0; i < head->count; i++) {
        const char *fault = entry_fault(page, i, i > first ? &before : NULL);

        if (fault != NULL)
            return fault;
        if (btree_page_entry(page, i, &entry))
            before = entry;
    }
    return bounds_fault(page);
}

/* --- the first page --- */

const struct btree_meta *
btree_page_meta(const void *page)
{
    return (const void *)btree_search_at(page, sizeof(struct page_header));
}

struct btree_meta *
btree_page_meta_of(void *page)
{
    return (void *)bytes_at(page, sizeof(struct page_header));
}

void
btree_page_make_meta(void *page, block_t root, uint32_t level)
{
    memset(page, 0, wal_page_size);
    header_of(page)->kind = PAGE_BTREE_META;
    header_of(page)->lower = sizeof(struct page_header) + sizeof(struct btree_meta);
    header_of(page)->upper = (uint16_t)wal_page_size;
    *btree_page_meta_of(page) = (struct btree_meta){
        .magic = BTREE_META_MAGIC,
        .version = BTREE_META_VERSION,
        .root = root,
        .level = level,
        .free = BLOCK_NONE,
    };
}
