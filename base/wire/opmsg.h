/*
 * opmsg.h - messages of the MongoDB wire protocol: OP_MSG, and OP_QUERY on *.$cmd.
 *
 * Everything in a request is a slice of the frame: document sequences are not merged into
 * the body by copying.  All BSON in it has been validated.  No locks, no allocation.
 *
 * What is wrong with a message is noted by err_set (err_message, err_last_code) and graded:
 * some faults are answered and the connection goes on, some end it.
 */
#ifndef BASE_WIRE_OPMSG_H
#define BASE_WIRE_OPMSG_H

#include "base/bytes.h"
#include "base/err.h"

#define OPMSG_HEADER_SIZE   16
#define OPMSG_SIZE_MAX      48000000
#define OPMSG_SEQUENCES_MAX 8
/* Levels of a command: stored documents have BSONVALUE_MONGO_DEPTH_MAX, and stand in
   something like {updates: [{u: {$set: {a: <here>}}}]}. */
#define OPMSG_DEPTH_MAX 120

enum opmsg_opcode {
    OPMSG_OP_REPLY = 1,
    OPMSG_OP_QUERY = 2004,
    OPMSG_OP_COMPRESSED = 2012,
    OPMSG_OP_MSG = 2013
};

enum opmsg_flags {
    OPMSG_CHECKSUM_PRESENT = 1,
    OPMSG_MORE_TO_COME = 2,
    OPMSG_EXHAUST_ALLOWED = 1 << 16
};

/* As it stands on the wire, little-endian. */
struct opmsg_header {
    int32_t size; /* of the message, this header included */
    int32_t request_id;
    int32_t response_to;
    int32_t opcode;
};
_Static_assert(sizeof(struct opmsg_header) == OPMSG_HEADER_SIZE, "a header has no holes");

enum opmsg_frame {
    OPMSG_MORE,  /* no whole message yet */
    OPMSG_WHOLE, /* *frame is one message; drop frame->size bytes when done with it */
    OPMSG_BROKEN /* no possible length: close without an answer */
};

/* Look for a message of at most `size_max` bytes at the front of `input`.  After OPMSG_MORE
 *wanted is how many bytes the input must have before asking again is worth it. */
enum opmsg_frame opmsg_frame(
    struct bytes input, size_t size_max, struct bytes *frame, size_t *wanted);

struct opmsg_sequence {
    struct bytes name;      /* identifier: "documents", "updates", … */
    struct bytes documents; /* BSON documents, one behind the other */
    uint32_t count;         /* of them; may be 0 */
};

struct opmsg_request {
    struct opmsg_header header;   /* always filled in */
    bool legacy;                  /* OP_QUERY: answered by OP_REPLY */
    bool more_to_come;            /* no reply at all, not even an error */
    bool exhaust_allowed;         /* answering once, without moreToCome, is legal */
    bool checksum;                /* the request had one (it was right); the reply gets one */
    struct bytes body;            /* the command; OP_QUERY: unwrapped from $query */
    struct bytes database;        /* $db, or what stands before .$cmd; a good name */
    struct bytes read_preference; /* OP_QUERY's $readPreference; size 0: none.  OP_MSG has it
                                     in the body */
    uint32_t sequence_count;
    struct opmsg_sequence sequence[OPMSG_SEQUENCES_MAX];
};

enum opmsg_verdict {
    OPMSG_RUN,        /* *request is whole */
    OPMSG_REFUSE,     /* answer the noted error (unless more_to_come); the connection goes on */
    OPMSG_REFUSE_END, /* answer the noted error (unless more_to_come), then close */
    OPMSG_DROP        /* close without an answer: the client expects none, or is no client */
};

/* Decode a whole message from opmsg_frame. */
enum opmsg_verdict opmsg_decode(struct bytes frame, struct opmsg_request *request);

/* The sequence of that name, or NULL. */
const struct opmsg_sequence *opmsg_sequence(const struct opmsg_request *request, const char *name);

/* Take the next document off the front of a sequence's `documents`.  False: none is left. */
bool opmsg_next_document(struct bytes *documents, struct bytes *document);

#endif
