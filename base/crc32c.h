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
/* What the CRC of some bytes adds to that of them and `size` more:
   crc32c_shift(CRC of A, size of B) ^ CRC of B is the CRC of AB.
   About a microsecond at most, whatever the size. */
uint32_t crc32c_shift(uint32_t crc, size_t size);
/* The same as crc32c without the processor's instruction, so that tests can compare the two. */
uint32_t crc32c_software(uint32_t crc, const void *data, size_t size);

#endif
