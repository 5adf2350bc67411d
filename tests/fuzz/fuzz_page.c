/* Any bytes as a page: valid only if they are zeroes or carry their own checksum, and then the
   header can be believed. */
#include <stdlib.h>

#include "storage/page/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(64) uint8_t page[PAGE_SIZE_MAX];
    struct page_header *header = (struct page_header *)(void *)page;
    struct page_id id = { 16, 0 };

    if (size < 2)
        return 0;
    wal_page_size = PAGE_SIZE_MIN << (data[0] & 3);
    id.block = data[1];
    memset(page, 0, sizeof page);
    memcpy(page, data + 2, size - 2 < wal_page_size ? size - 2 : wal_page_size);
    for (int sealed = 0; sealed < 2; sealed++) {
        if (page_valid(page, id)) {
            if (header->kind >= PAGE_KIND_COUNT || header->lower > header->upper ||
                header->upper > wal_page_size)
                abort();
            if (header->kind != PAGE_ZERO) {
                if (page_valid(page, (struct page_id){ 16, id.block + 1 }))
                    abort();
                page[wal_page_size - 1] ^= 1;
                if (page_valid(page, id))
                    abort();
                page[wal_page_size - 1] ^= 1;
            }
        }
        (void)page_kind_name((enum page_kind)header->kind);
        header->crc = page_checksum(page, id);
    }
    return 0;
}
