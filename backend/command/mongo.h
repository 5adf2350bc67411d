/*
 * mongo.h - the commands of the MongoDB listener: documents in, documents out.
 *
 * A command is a row of base/lists/mongocommands.def and a function: it parses its fields
 * (mongo_fields.h), calls verbs, and appends its reply to a document that lies in the connection's
 * output already; "ok" and errors are added by mongo_run.
 */
#ifndef BACKEND_COMMAND_MONGO_H
#define BACKEND_COMMAND_MONGO_H

#include "backend/command/verb.h"
#include "base/config.h"
#include "base/doc/bsonbuild.h"
#include "base/net.h"
#include "base/wire/opmsg.h"

#define MONGO_WIRE_VERSION_MAX 21
#define MONGO_VERSION          "7.0.0" /* whose commands these are */
#define MONGO_VERSION_MAJOR    7
#define MONGO_BATCH_MAX        100000 /* operations of one write command */
#define MONGO_REPLY_TAIL       512    /* bytes of a reply for what is told of work that was done */
#define MONGO_FIRST_BATCH      101    /* documents, where the client names no number */
#define MONGO_SESSION_MINUTES  30

enum mongo_flag {
    MONGO_ADMIN = 1,      /* only on the database admin */
    MONGO_READ = 2,       /* reads data */
    MONGO_WRITE = 4,      /* changes data or definitions */
    MONGO_OPEN = 8,       /* allowed before login */
    MONGO_COLLECTION = 16 /* the command's own field names a collection */
};

/* What is known of a connection. */
struct mongo_client {
    const struct config *config;
    char peer[NET_TEXT_MAX];  /* "127.0.0.1:5123" */
    char local[NET_TEXT_MAX]; /* this server's address as the client reached it */
    int32_t connection_id;
};

struct mongo_request {
    struct op *op;
    const struct mongo_client *client;
    const struct opmsg_request *message;
    struct bytes name;      /* of the command, as sent */
    struct bsonvalue value; /* of the command's own field */
    unsigned flags;
    struct verb_ns ns; /* `collection` NULL if it takes none */

    /* fields that every command may have; filled by mongo_fields_parse */
    uint64_t session; /* key of lsid; 0: none */
    bool retryable;   /* has a txnNumber */
    bool durable;     /* j and w say so */
    int concern_code; /* the write concern that cannot be met; 0: it is */
    const char *concern_name, *concern_message;
};

typedef err_t (*mongo_function)(struct mongo_request *request, struct bsonbuild *reply);

#define MONGOCOMMAND(name, alias, function, flags, help) \
    err_t function(struct mongo_request *request, struct bsonbuild *reply) MUST_CHECK;
#include "base/lists/mongocommands.def"
#undef MONGOCOMMAND

/* The command's name for titles and currentOp, with what it names: "find shop.orders", in `text`
   (PROC_TEXT_MAX bytes). */
void mongo_describe(const struct opmsg_request *message, char *text, size_t size);

/* Run a command: one document, the reply or the error, is appended to `out`. Errors: ERR_MEMORY:
   not even an error fits into `out`, the connection must end. */
err_t mongo_run(struct op *op, const struct mongo_client *client,
    const struct opmsg_request *message, struct buf *out) MUST_CHECK;

/* The last error as a reply document, appended to `out`. */
err_t mongo_error(struct buf *out, bool retryable) MUST_CHECK;

#endif
