/*
 * filterbits.c - $bitsAllSet, $bitsAllClear, $bitsAnySet, $bitsAnyClear.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/filterbits.h"

#include "base/doc/bsonwalk.h"

struct list {
    uint32_t *at; /* room for all that can come */
    uint32_t count;
};

static err_t
begin(struct arena *arena, size_t most, struct list *list)
{
    list->count = 0;
    list->at = arena_alloc(arena, (most + 1) * sizeof *list->at);
    return list->at != NULL ? OK : ERR_MEMORY;
}

static err_t
parse_bytes(struct arena *arena, struct bytes mask, struct list *list)
{
    size_t set = 0;

    for (size_t i = 0; i < mask.size; i++)
        set += (size_t)__builtin_popcount(mask.data[i]);
    TRY_RETURN(begin(arena, set, list));
    for (size_t i = 0; i < mask.size; i++)
        for (uint32_t bit = 0; bit < 8; bit++)
            if ((mask.data[i] >> bit & 1) != 0)
                list->at[list->count++] = (uint32_t)i * 8 + bit;
    return OK;
}

static err_t
parse_number(struct arena *arena, const struct bsonvalue *value, struct list *list)
{
    uint8_t mask[8];
    int64_t number;

    if (!bsonvalue_to_int64(value, false, &number))
        return err_set(ERR_FAILED_TO_PARSE, "Expected an integer as a bit mask");
    if (number < 0)
        return err_set(ERR_FAILED_TO_PARSE, "Expected a non-negative number as a bit mask");
    for (unsigned i = 0; i < 8; i++)
        mask[i] = (uint8_t)((uint64_t)number >> (8 * i));
    return parse_bytes(arena, (struct bytes){ mask, sizeof mask }, list);
}

static err_t
parse_list(struct arena *arena, struct bytes array, struct list *list)
{
    struct bsonvalue element;
    struct bsonwalk walk;
    int64_t position;

    TRY_RETURN(begin(arena, bsonwalk_count(array), list));
    TRY_RETURN(bsonwalk_begin(&walk, array));
    while (bsonwalk_next(&walk, &element)) {
        if (!bsonvalue_is_number(element.type) || !bsonvalue_to_int64(&element, false, &position))
            return err_set(ERR_BAD_VALUE, "bit positions must be an integer");
        if (position < 0)
            return err_set(ERR_BAD_VALUE, "bit positions must be >= 0");
        if (position > INT32_MAX)
            return err_set(ERR_BAD_VALUE, "bit positions cannot be represented as a 32-bit number");
        list->at[list->count++] = (uint32_t)position;
    }
    return bsonwalk_end(&walk);
}

err_t
filterbits_parse(
    struct arena *arena, const struct bsonvalue *value, const uint32_t **positions, uint32_t *count)
{
    struct list list = { NULL, 0 };
    uint8_t subtype;

    if (bsonvalue_is_number(value->type))
        TRY_RETURN(parse_number(arena, value, &list));
    else if (value->type == BSONTYPE_BINARY)
        TRY_RETURN(parse_bytes(arena, bsonvalue_binary(value, &subtype), &list));
    else if (value->type == BSONTYPE_ARRAY)
        TRY_RETURN(parse_list(arena, value->raw, &list));
    else
        return err_set(
            ERR_BAD_VALUE, "a bit test takes an Array, a number, or a BinData as its argument");
    *positions = list.at;
    *count = list.count;
    return OK;
}

static bool
bit_of_number(int64_t number, uint32_t position)
{
    return position < 63 ? (number >> position & 1) != 0 : number < 0;
}

static bool
bit_of_bytes(struct bytes bytes, uint32_t position)
{
    return position / 8 < bytes.size && (bytes.data[position / 8] >> (position % 8) & 1) != 0;
}

bool
filterbits_match(enum filterbits_test test, const uint32_t *positions, uint32_t count,
    const struct bsonvalue *value)
{
    bool wanted = test == FILTERBITS_ALL_SET || test == FILTERBITS_ANY_SET;
    bool any = test == FILTERBITS_ANY_SET || test == FILTERBITS_ANY_CLEAR;
    bool is_number = bsonvalue_is_number(value->type);
    struct bytes bytes = { NULL, 0 };
    int64_t number = 0;
    uint8_t subtype;

    if (is_number ? !bsonvalue_to_int64(value, false, &number) : value->type != BSONTYPE_BINARY)
        return false;
    if (!is_number)
        bytes = bsonvalue_binary(value, &subtype);
    for (uint32_t i = 0; i < count; i++) {
        bool set =
            is_number ? bit_of_number(number, positions[i]) : bit_of_bytes(bytes, positions[i]);

        if ((set == wanted) == any)
            return any;
    }
    return !any;
}
