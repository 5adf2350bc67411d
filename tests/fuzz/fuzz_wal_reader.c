/* Any bytes as a record: parsed or refused, never read beyond their end. */
#include <stdlib.h>
#include <string.h>

#include "wal/wal_format.h"
#include "wal/wal_page.h"
#include "wal/wal_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
touch(struct bytes bytes)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < bytes.size; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

/* Give the bytes a right CRC, so that what is behind it is reached. */
static void
seal(uint8_t *bytes, size_t size, lsn_t start)
{
    struct wal_format_record head;

    memcpy(&head, bytes, sizeof head);
    head.size_kind = (head.size_kind & ~WAL_FORMAT_SIZE_MASK) | (uint32_t)size;
    head.epoch |= 1;
    head.crc = wal_format_seal(crc32c(0, bytes + sizeof head, size - sizeof head), &head, start);
    memcpy(bytes, &head, sizeof head);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t page[PAGE_SIZE_MAX];
    struct wal_record record;
    lsn_t start = wal_format_first(1);
    uint8_t *copy;

    size &= ~(size_t)7;
    if (size < sizeof(struct wal_format_record) || size > WAL_RECORD_MAX)
        return 0;
    copy = malloc(size); /* exactly so long: the sanitizer sees a read behind it */
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    (void)!wal_reader_parse((struct bytes){ copy, size }, start, 0, wal_page_size, &record);
    seal(copy, size, start);
    if (wal_reader_parse((struct bytes){ copy, size }, start, 0, wal_page_size, &record) == OK) {
        touch(record.data);
        for (unsigned i = 0; i < record.page_count; i++) {
            touch(record.page[i].data);
            touch(record.page[i].image);
            if (record.page[i].image.size > 0)
                (void)!wal_record_restore(&record, i, page);
        }
    }
    free(copy);
    return 0;
}
