/*
 * crc32c.h - CRC-32C (Castagnoli), as iSCSI and ext4 use it.
 * With SSE 4.2 or ARMv8 CRC instructions where the processor has them (found at run time),
 * slicing-by-8 otherwise.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 to begin) over more bytes.  crc32c(0, "123456789", 9) == 0xE3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
/* The same without the processor's instruction, so that tests can compare the two. */
uint32_t crc32c_software(uint32_t crc, const void *data, size_t size);

#endif
