/*
 * base64.c - RFC 4648 base64, padded.
 */
#include "base/doc/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

err_t
base64_encode(struct buf *out, struct bytes data)
{
    uint8_t *at;

    TRY_RETURN(
        buf_reserve(out, (data.size + 2) / 3 * 4 + 1)); /* never nothing: data has an address */
    at = out->data + out->size;
    for (size_t i = 0; i < data.size; i += 3) {
        size_t left = data.size - i;
        uint32_t group = (uint32_t)data.data[i] << 16;

        if (left > 1)
            group |= (uint32_t)data.data[i + 1] << 8;
        if (left > 2)
            group |= data.data[i + 2];
        *at++ = (uint8_t)letters[group >> 18];
        *at++ = (uint8_t)letters[group >> 12 & 63];
        *at++ = left > 1 ? (uint8_t)letters[group >> 6 & 63] : '=';
        *at++ = left > 2 ? (uint8_t)letters[group & 63] : '=';
    }
    out->size += (data.size + 2) / 3 * 4;
    return OK;
}

static int
value_of(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

err_t
base64_decode(struct buf *out, struct bytes text, bool *valid)
{
    size_t padding = 0, letters_size;
    uint32_t group = 0;
    uint8_t *at;

    *valid = false;
    if (text.size % 4 != 0)
        return OK;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=')
        padding++;
    letters_size = text.size - padding;
    TRY_RETURN(buf_reserve(out, text.size / 4 * 3 + 1));
    at = out->data + out->size;
    for (size_t i = 0; i < letters_size; i++) {
        int value = value_of(text.data[i]);

        if (value < 0)
            return OK;
        group = group << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            *at++ = (uint8_t)(group >> 16);
            *at++ = (uint8_t)(group >> 8);
            *at++ = (uint8_t)group;
        }
    }
    if (padding == 1)
        *at++ = (uint8_t)(group >> 10);
    if (padding >= 1)
        *at++ = (uint8_t)(padding == 1 ? group >> 2 : group >> 4);
    out->size = (size_t)(at - out->data);
    *valid = true;
    return OK;
}
