/*
 * textcmd.h - one line of the text protocol, parsed.
 *
 * Arguments are slices of the line: nothing is copied, nothing allocated, so the command is
 * valid as long as the line is.  Names, UUIDs and JSON are looked at only when the command
 * runs (the order of checks wants it so): textname, textuuid, jsonparse.  No locks.
 */
#ifndef BASE_WIRE_TEXTCMD_H
#define BASE_WIRE_TEXTCMD_H

#include "base/bytes.h"

enum textcmd_verb {
#define TEXTVERB(id, label, needs, arguments) id,
#include "base/lists/textverbs.def"
#undef TEXTVERB
    TEXTCMD_VERB_COUNT
};

/* What a verb needs before it may run, and what it is; a set of bits. */
enum textcmd_needs {
    TEXTCMD_FREE = 0,           /* allowed before authentication */
    TEXTCMD_NEEDS_LOGIN = 1,    /* an authenticated session */
    TEXTCMD_NEEDS_DATABASE = 2, /* … with a selected database */
    TEXTCMD_READS = 4,          /* a data command that reads: takes READ_CONCERN */
    TEXTCMD_WRITES = 8,         /* a data command that writes: takes both concerns */
    TEXTCMD_NOT_COUNTED = 16    /* not in the metrics, answered before authentication */
};

struct textcmd_concerns {
    bool has_read;
    bool has_write;
    uint16_t read; /* R=<n>, 0 where there is none */
    uint16_t write;
};

#define TEXTCMD_ARGS_MAX 5

struct textcmd {
    enum textcmd_verb verb;
    struct textcmd_concerns prefix;     /* before the command */
    struct textcmd_concerns setting;    /* ALTER DATABASE … SET CONSISTENCY */
    uint32_t depth;                     /* RESOLVE, 0…64 */
    unsigned arg_count;                 /* what textverbs.def names, in its order; an optional
                                           one that was left out has size 0 and data NULL */
    struct bytes arg[TEXTCMD_ARGS_MAX]; /* those from arg_count on are undefined */
};

/* Why a line could not be parsed: the error's text is `text` followed by `echo` (bytes of the
   line as typed; textreply_refusal makes them harmless). */
struct textcmd_refusal {
    const char *text;
    struct bytes echo;
};

/* Parse a line, which must be UTF-8.  False: *refusal says why, with the exact text of the
   protocol's section 5.1. */
bool textcmd_parse(struct bytes line, struct textcmd *command, struct textcmd_refusal *refusal);

/* The static checks of a concern prefix (8.2) with `nodes` data-bearing nodes (N).  NULL: all is
   well, or there is no prefix.  Otherwise the error's text, static or in `room`. */
#define TEXTCMD_CONCERN_TEXT_MAX 80
const char *textcmd_check_concerns(
    const struct textcmd *command, unsigned nodes, char room[TEXTCMD_CONCERN_TEXT_MAX]);

/* From textverbs.def. */
const char *textcmd_label(enum textcmd_verb verb); /* label value `cmd` of the metrics */
unsigned textcmd_needs(enum textcmd_verb verb);    /* bits of enum textcmd_needs */

/* Bytes at the front of the text that are one balanced JSON value (also $ref("c","u")), ended by
   white space or the text's end; 0: it does not begin with one.  What is inside is left to the
   JSON parser. */
size_t textcmd_json_size(struct bytes text);

#endif
