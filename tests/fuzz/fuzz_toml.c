/*
 * fuzz_toml.c - the reader of the configuration file on any bytes.
 */
#include "base/arena.h"
#include "base/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every node is reached and counted: the tree is sound and within its limits. */
static size_t
count(const struct toml *node)
{
    size_t nodes = 1;

    if (node->type == TOML_ARRAY || node->type == TOML_TABLE)
        for (const struct toml *one = node->first; one != NULL; one = one->next)
            nodes += count(one);
    return nodes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create("fuzz", (size_t)16 << 20);
    struct toml *root;

    if (toml_parse(arena, "input", (struct bytes){ data, size }, &root) == OK &&
        count(root) > TOML_NODES_MAX)
        __builtin_trap();
    arena_destroy(arena);
    return 0;
}
