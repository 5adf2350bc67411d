/*
 * crc32c.c - CRC-32C.
 *
 * The processor's instruction takes three cycles to answer but can be begun every
 * cycle, so long input goes through three streams at once.  What the first stream
 * found is then moved over the bytes of the second: a CRC is linear, so "the state
 * after n more zero bytes" is four table look-ups (Adler's method).  For any n it is a product
 * with x^8n, put together from the powers x^8, x^16, x^32, …
 */
#include "base/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#define HARDWARE 1
#define TARGET   __attribute__((target("sse4.2")))
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define HARDWARE 1
#define TARGET   __attribute__((target("+crc")))
#else
#define HARDWARE 0
#endif

#define POLYNOMIAL   0x82f63b78u /* Castagnoli's, bits reversed */
#define STREAM_LONG  ((size_t)2048)
#define STREAM_SHORT ((size_t)256)

/* All const after the constructor. */
static uint32_t slices[8][256];
static uint32_t powers[64]; /* x to the power of 8 · 2^i, reduced */
#if HARDWARE
static uint32_t over_long[4][256], over_short[4][256];
#endif
static uint32_t (*advance)(uint32_t state, const uint8_t *data, size_t size);

static uint64_t
load_u64(const uint8_t *data)
{
    uint64_t word;

    memcpy(&word, data, sizeof word);
    return word;
}

static uint32_t
advance_software(uint32_t state, const uint8_t *data, size_t size)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word = load_u64(data) ^ state;

        state = slices[7][word & 0xff] ^ slices[6][word >> 8 & 0xff] ^
                slices[5][word >> 16 & 0xff] ^ slices[4][word >> 24 & 0xff] ^
                slices[3][word >> 32 & 0xff] ^ slices[2][word >> 40 & 0xff] ^
                slices[1][word >> 48 & 0xff] ^ slices[0][word >> 56];
    }
#endif
    for (; size > 0; data++, size--)
        state = slices[0][(state ^ *data) & 0xff] ^ state >> 8;
    return state;
}

#if HARDWARE

#if defined(__x86_64__)
TARGET static inline uint32_t
step_u64(uint32_t state, uint64_t word)
{
    return (uint32_t)_mm_crc32_u64(state, word);
}

TARGET static inline uint32_t
step_u8(uint32_t state, uint8_t byte)
{
    return _mm_crc32_u8(state, byte);
}

static int
processor_can(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2) != 0;
}
#else
TARGET static inline uint32_t
step_u64(uint32_t state, uint64_t word)
{
    return __crc32cd(state, word);
}

TARGET static inline uint32_t
step_u8(uint32_t state, uint8_t byte)
{
    return __crc32cb(state, byte);
}

static int
processor_can(void)
{
    return (getauxval(AT_HWCAP) & (1u << 7)) != 0; /* HWCAP_CRC32 */
}
#endif

static inline uint32_t
move(uint32_t table[4][256], uint32_t state)
{
    return table[0][state & 0xff] ^ table[1][state >> 8 & 0xff] ^ table[2][state >> 16 & 0xff] ^
           table[3][state >> 24];
}

/* Three streams of `length` bytes each, one behind the other. */
TARGET static inline uint32_t
advance_three(uint32_t state, const uint8_t *data, size_t length, uint32_t table[4][256])
{
    uint32_t second = 0, third = 0;

    for (size_t at = 0; at < length; at += 8) {
        state = step_u64(state, load_u64(data + at));
        second = step_u64(second, load_u64(data + length + at));
        third = step_u64(third, load_u64(data + 2 * length + at));
    }
    return move(table, move(table, state) ^ second) ^ third;
}

TARGET static uint32_t
advance_hardware(uint32_t state, const uint8_t *data, size_t size)
{
    for (; size >= 3 * STREAM_LONG; data += 3 * STREAM_LONG, size -= 3 * STREAM_LONG)
        state = advance_three(state, data, STREAM_LONG, over_long);
    for (; size >= 3 * STREAM_SHORT; data += 3 * STREAM_SHORT, size -= 3 * STREAM_SHORT)
        state = advance_three(state, data, STREAM_SHORT, over_short);
    for (; size >= 8; data += 8, size -= 8)
        state = step_u64(state, load_u64(data));
    for (; size > 0; data++, size--)
        state = step_u8(state, *data);
    return state;
}

/* The state that each bit leads to over `length` zero bytes; the rest by linearity. */
static void
fill_move(uint32_t table[4][256], size_t length)
{
    static const uint8_t zeros[2048];
    uint32_t of_bit[32];

    for (unsigned bit = 0; bit < 32; bit++)
        of_bit[bit] = advance_software(1u << bit, zeros, length);
    for (unsigned lane = 0; lane < 4; lane++)
        for (unsigned value = 0; value < 256; value++) {
            uint32_t state = 0;

            for (unsigned bit = 0; bit < 8; bit++)
                if ((value >> bit & 1) != 0)
                    state ^= of_bit[8 * lane + bit];
            table[lane][value] = state;
        }
}

#endif

/* The product of two polynomials, reduced; the highest bit is x^0. */
static uint32_t
multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (; a != 0; a <<= 1) {
        product ^= (a & 0x80000000u) != 0 ? b : 0;
        b = b >> 1 ^ ((b & 1) != 0 ? POLYNOMIAL : 0);
    }
    return product;
}

__attribute__((constructor)) static void
choose(void)
{
    powers[0] = 0x80000000u >> 8;
    for (unsigned i = 1; i < sizeof powers / sizeof *powers; i++)
        powers[i] = multiply(powers[i - 1], powers[i - 1]);
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t state = value;

        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ ((state & 1) != 0 ? POLYNOMIAL : 0);
        slices[0][value] = state;
    }
    for (unsigned slice = 1; slice < 8; slice++)
        for (unsigned value = 0; value < 256; value++) {
            uint32_t before = slices[slice - 1][value];

            slices[slice][value] = before >> 8 ^ slices[0][before & 0xff];
        }
    advance = advance_software;
#if HARDWARE
    if (processor_can()) {
        fill_move(over_long, STREAM_LONG);
        fill_move(over_short, STREAM_SHORT);
        advance = advance_hardware;
    }
#endif
}

uint32_t
crc32c(uint32_t crc, const void *data, size_t size)
{
    return ~advance(~crc, data, size);
}

uint32_t
crc32c_software(uint32_t crc, const void *data, size_t size)
{
    return ~advance_software(~crc, data, size);
}

uint32_t
crc32c_shift(uint32_t crc, size_t size)
{
    for (unsigned i = 0; size != 0; i++, size >>= 1)
        if ((size & 1) != 0)
            crc = multiply(powers[i], crc);
    return crc;
}
