/*
 * hex.c - bytes as hexadecimal digits.
 */
#include "base/hex.h"

int
hex_digit(int character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

void
hex_encode(struct bytes data, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < data.size; i++) {
        *text++ = digits[data.data[i] >> 4];
        *text++ = digits[data.data[i] & 15];
    }
    *text = '\0';
}

bool
hex_decode(struct bytes text, void *data, size_t size)
{
    uint8_t *out = data;

    if (text.size / 2 != size || text.size % 2 != 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text.data[2 * i]);
        int low = hex_digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
