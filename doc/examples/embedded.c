/*
 * embedded.c - Gneiss in one's own process: a small program that keeps a list of books.
 *
 *     cc -o embedded embedded.c -lgneiss && ./embedded ./books
 *
 * Run it again: the books are still there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gneiss.h"

/* Say what went wrong, and stop.  Even so nothing that was acknowledged is lost. */
static void
fail(const char *what, const struct gneiss_error *error)
{
    (void)fprintf(stderr, "%s: %s (%d %s)\n", what, error->message, error->code, error->name);
    exit(EXIT_FAILURE);
}

static void
check(int code, struct gneiss_session *session, const char *what)
{
    if (code != GNEISS_OK)
        fail(what, gneiss_session_error(session));
}

static void
fill(struct gneiss_session *session, struct gneiss_collection *books)
{
    static const char *const some[] = {
        "{\"_id\": 1, \"title\": \"The Art of Computer Programming\", \"year\": 1968}",
        "{\"_id\": 2, \"title\": \"Transaction Processing\", \"year\": 1992}",
        "{\"_id\": 3, \"title\": \"Numerical Recipes\", \"year\": 1986}",
    };

    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        int code = gneiss_insert_json(books, some[i], NULL);

        if (code != GNEISS_DUPLICATE) /* it is there from the last run */
            check(code, session, "insert");
    }
    check(gneiss_create_index_json(books, "{\"key\": {\"year\": 1}, \"name\": \"year\"}", NULL),
        session, "create index");
}

static void
show(struct gneiss_session *session, struct gneiss_collection *books)
{
    struct gneiss_cursor *cursor;
    struct gneiss_bson book;
    bool found;

    check(gneiss_find_json(books, "{\"year\": {\"$gte\": 1980}}", "{\"year\": 1}", 0, 0, &cursor),
        session, "find");
    for (;;) {
        char *text;

        check(gneiss_find_next(cursor, &book, &found), session, "next");
        if (!found)
            break;
        text = gneiss_bson_to_json(book, GNEISS_RELAXED);
        (void)printf("%s\n", text != NULL ? text : "?");
        gneiss_json_free(text);
    }
    gneiss_find_close(cursor);
}

static void
count_a_loan(struct gneiss_session *session, struct gneiss_collection *books)
{
    const struct gneiss_id id = gneiss_id_int64(2);
    struct gneiss_bson book;
    bool found;

    check(gneiss_update_json(books, "{\"_id\": 2}", "{\"$inc\": {\"loans\": 1}}", GNEISS_ONE, NULL),
        session, "update");
    check(gneiss_get(books, &id, &book, &found), session, "get");
    if (found) {
        char *text = gneiss_bson_to_json(book, GNEISS_RELAXED);

        (void)printf("now: %s\n", text != NULL ? text : "?");
        gneiss_json_free(text);
    }
}

int
main(int argc, char **argv)
{
    const struct gneiss_options options = { .create = true };
    struct gneiss_collection *books;
    struct gneiss_session *session;
    struct gneiss_error error;
    struct gneiss *db;

    db = gneiss_open(argc > 1 ? argv[1] : "./books", &options, &error);
    if (db == NULL)
        fail("open", &error);
    session = gneiss_session_open(db, &error);
    if (session == NULL)
        fail("session", &error);
    books = gneiss_collection(session, "library", "books");
    if (books == NULL)
        fail("collection", gneiss_session_error(session));
    fill(session, books);
    show(session, books);
    count_a_loan(session, books);
    gneiss_session_close(session);
    if (gneiss_close(db, &error) != GNEISS_OK)
        fail("close", &error);
    return EXIT_SUCCESS;
}
