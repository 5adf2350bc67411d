/*
 * textspace.c - Unicode's white space in UTF-8.
 */
#include "base/wire/textspace.h"

const uint8_t textspace_class[256] = {
    ['\t'] = TEXTSPACE_BLANK,
    ['\n'] = TEXTSPACE_BLANK,
    ['\v'] = TEXTSPACE_BLANK,
    ['\f'] = TEXTSPACE_BLANK,
    ['\r'] = TEXTSPACE_BLANK,
    [' '] = TEXTSPACE_BLANK,
    [0xc2] = TEXTSPACE_LEAD,
    [0xe1] = TEXTSPACE_LEAD,
    [0xe2] = TEXTSPACE_LEAD,
    [0xe3] = TEXTSPACE_LEAD,
};

size_t
textspace_wide_size(const uint8_t *at, const uint8_t *end)
{
    if (end - at >= 2 && at[0] == 0xc2)
        return at[1] == 0x85 || at[1] == 0xa0 ? 2 : 0;
    if (end - at < 3)
        return 0;
    switch (at[0]) {
    case 0xe1:
        return at[1] == 0x9a && at[2] == 0x80 ? 3 : 0;
    case 0xe2:
        if (at[1] == 0x80)
            return (at[2] >= 0x80 && at[2] <= 0x8a) || at[2] == 0xa8 || at[2] == 0xa9 ||
                           at[2] == 0xaf
                       ? 3
                       : 0;
        return at[1] == 0x81 && at[2] == 0x9f ? 3 : 0;
    case 0xe3:
        return at[1] == 0x80 && at[2] == 0x80 ? 3 : 0;
    default:
        return 0;
    }
}

const uint8_t *
textspace_trimmed_end(const uint8_t *at, const uint8_t *end)
{
    while (end > at) {
        if (textspace_class[end[-1]] == TEXTSPACE_BLANK)
            end -= 1;
        else if (end - at >= 2 && end[-1] >= 0x80 && textspace_size(end - 2, end) == 2)
            end -= 2;
        else if (end - at >= 3 && end[-1] >= 0x80 && textspace_size(end - 3, end) == 3)
            end -= 3;
        else
            break;
    }
    return end;
}
