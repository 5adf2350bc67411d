/*
 * wal_record.c - records taken apart.
 */
#include "wal/wal_record.h"

#include <lz4.h>

#include "base/panic.h"
#include "wal/wal_page.h"

static const char *const kind_names[WAL_KIND_COUNT] = {
    "NONE",
#define WALKIND(name, what) #name,
#include "base/lists/walkinds.def"
#undef WALKIND
};

const char *
wal_record_kind_name(enum wal_kind kind)
{
    return (unsigned)kind < WAL_KIND_COUNT ? kind_names[kind] : "WAL_?";
}

err_t
wal_record_restore(const struct wal_record *record, unsigned n, void *page)
{
    uint8_t raw[PAGE_SIZE_MAX];
    const struct wal_page_view *view = &record->page[n];
    const uint8_t *from = view->image.data;
    uint32_t hole = view->hole_size;
    uint32_t start = view->hole_start;
    uint32_t size = wal_page_size - hole;
    uint8_t *to = page;

    invariant(n < record->page_count && view->image.size > 0);
    if (start + hole > wal_page_size)
        return err_set(ERR_CORRUPT,
            "could not restore page %u of file %u: its image at %#jx is not "
            "for pages of %u bytes",
            view->id.block, view->id.file, (uintmax_t)record->start, wal_page_size);
    if (view->compressed) {
        int got =
            LZ4_decompress_safe((const char *)from, (char *)raw, (int)view->image.size, (int)size);

        if (got < 0 || (uint32_t)got != size)
            return err_set(ERR_CORRUPT,
                "could not restore page %u of file %u: its image at %#jx "
                "does not unpack",
                view->id.block, view->id.file, (uintmax_t)record->start);
        from = raw;
    } else if (view->image.size != size) {
        return err_set(ERR_CORRUPT,
            "could not restore page %u of file %u: its image at %#jx has "
            "%zu bytes instead of %u",
            view->id.block, view->id.file, (uintmax_t)record->start, view->image.size, size);
    }
    memcpy(to, from, start);
    memset(to + start, 0, hole);
    memcpy(to + start + hole, from + start, size - start);
    memcpy(to + offsetof(struct page_header, lsn), &record->end, sizeof record->end);
    return OK;
}
