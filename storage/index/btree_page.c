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
write_place(uint8_t *at, btree_place_t place)
{
    for (int i = 0; i < BTREE_PLACE_SIZE; i++)
        at[i] = (uint8_t)(place >> (40 - 8 * i));
}

static void
write_child(uint8_t *at, block_t child)
{
    block_t big = htobe32(child);

    memcpy(at, &big, sizeof big);
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
    size_t slot_size = btree_search_slot_size(page);

    return slot < btree_search_slots(page, slot_size) &&
           btree_search_entry(page, slot_size, slot, entry);
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
            unsigned first = btree_page_is_leaf(page) ? 0 : 1,
                     count = btree_search_slots(page, btree_search_slot_size(page));

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

/* Bytes that a key takes beside its slot. */
static size_t
key_bytes(size_t suffix_size)
{
    return suffix_size > BTREE_HEAD_SIZE ? suffix_size : 0;
}

size_t
btree_page_need(const void *page, size_t key_size)
{
    return btree_search_slot_size(page) + key_bytes(key_size - btree_page_head(page)->prefix_size);
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
    size_t slot_size = btree_search_slot_size(page), bytes = key_bytes(suffix.size);
    uint8_t *at = bytes_at(page, BTREE_SLOTS_AT + slot * slot_size);
    uint64_t front = htobe64(btree_search_head_of(suffix));
    uint16_t size = (uint16_t)suffix.size, offset = 0;

    invariant(slot <= head->count);
    invariant(btree_page_free(page) >= slot_size + bytes);
    header_of(page)->upper = (uint16_t)(header(page)->upper - bytes);
    header_of(page)->lower = (uint16_t)(header(page)->lower + slot_size);
    if (bytes > 0) {
        offset = header(page)->upper;
        memcpy(bytes_at(page, offset), suffix.data, bytes);
    }
    memmove(at + slot_size, at, (head->count - slot) * slot_size);
    memcpy(at, &front, sizeof front);
    memcpy(at + 8, &size, sizeof size);
    memcpy(at + 10, &offset, sizeof offset);
    write_place(at + 12, place);
    if (slot_size > BTREE_SLOT_SIZE)
        write_child(at + 18, child);
    head->count++;
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
    size_t slot_size = btree_search_slot_size(page), next = 0;
    uint8_t *first = bytes_at(page, BTREE_SLOTS_AT);
    unsigned kept = 0;

    for (unsigned i = 0; i < head->count; i++) {
        if (next < count && slots[next] == i) {
            uint16_t size;

            memcpy(&size, first + i * slot_size + 8, sizeof size);
            head->dead_bytes = (uint16_t)(head->dead_bytes + key_bytes(size));
            next++;
            continue;
        }
        if (kept != i)
            memcpy(first + kept * slot_size, first + i * slot_size, slot_size);
        kept++;
    }
    invariant(next == count);
    head->count = (uint16_t)kept;
    header_of(page)->lower = (uint16_t)(BTREE_SLOTS_AT + kept * slot_size);
}

void
btree_page_set_child(void *page, unsigned slot, block_t child)
{
    size_t slot_size = btree_search_slot_size(page);

    invariant(!btree_page_is_leaf(page) && slot < btree_page_head(page)->count);
    write_child(bytes_at(page, BTREE_SLOTS_AT + slot * slot_size + 18), child);
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
    size_t slot_size = btree_search_slot_size(page);
    struct bytes prefix = btree_page_prefix(page);
    struct btree_entry entry;

    if (!btree_page_entry(page, slot, &entry))
        return "a key lies outside its page";
    if (entry.suffix.size > BTREE_HEAD_SIZE &&
        entry.suffix.data < btree_search_at(page, header(page)->upper)) /* T4 */
        return "a key lies where there is none";
    if (prefix.size + entry.suffix.size > INDEX_KEY_MAX)
        return "a key is too long";
    if (btree_search_slot_head(page, slot_size, slot) != btree_search_head_of(entry.suffix))
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
    size_t slot_size = btree_search_slot_size(page);
    unsigned first = leaf ? 0 : 1;

    if (header(page)->kind != PAGE_BTREE)
        return "not a tree page";
    if (leaf != (head->level == 0) || head->level >= BTREE_LEVELS_MAX)
        return "its level cannot be right";
    if (btree_search_slots(page, slot_size) != head->count ||
        header(page)->lower != BTREE_SLOTS_AT + head->count * slot_size ||
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
