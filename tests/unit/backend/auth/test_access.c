/*
 * test_access.c - who may do what: the matrix of the text protocol's section 7.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/auth/access.h"
#include "base/doc/bsonwalk.h"

#define ALL_ROWS 8

static const struct access_grant tenant_admin = { ACCESS_TENANT_ADMIN, { ACCESS_TENANT, "", "" } };
static const struct access_grant db_admin = { ACCESS_DB_ADMIN, { ACCESS_DATABASE, "d1", "" } };
static const struct access_grant read_write = { ACCESS_READ_WRITE, { ACCESS_DATABASE, "d1", "" } };
static const struct access_grant read_only = { ACCESS_READ_ONLY, { ACCESS_DATABASE, "d1", "" } };
static const struct access_grant on_c1 = { ACCESS_READ_WRITE, { ACCESS_COLLECTION, "d1", "c1" } };
static const struct access_grant peer = { ACCESS_CLUSTER_PEER, { ACCESS_TENANT, "", "" } };
static const struct access_grant local_root = { ACCESS_SERVER_ADMIN, { ACCESS_TENANT, "", "" } };
static const struct access_grant root = { ACCESS_SERVER_ADMIN, { ACCESS_SERVER, "", "" } };

/* Columns of the matrix, with the user without roles as the sixth. */
static const struct access_grant *const column[] = { &tenant_admin, &db_admin, &read_write,
    &read_only, &on_c1, NULL, &peer, &local_root, &root };
#define COLUMNS (sizeof column / sizeof column[0])

static const struct row {
    enum access_action action;
    struct access_place place;
    const char *allowed; /* a 'y' for each column that is */
} rows[ALL_ROWS] = {
    { ACCESS_AUTHENTICATED, { ACCESS_SERVER, "", "" }, "yyyyyyyyy" },
    { ACCESS_READ, { ACCESS_COLLECTION, "d1", "c1" }, "yyyyy--yy" },
    { ACCESS_WRITE, { ACCESS_COLLECTION, "d1", "c1" }, "yyy-y--yy" },
    { ACCESS_READ, { ACCESS_COLLECTION, "d1", "c2" }, "yyyy---yy" },
    { ACCESS_ADMIN, { ACCESS_DATABASE, "d1", "" }, "yy-----yy" },
    { ACCESS_MANAGE_DATABASES, { ACCESS_DATABASE, "d1", "" }, "y------yy" },
    { ACCESS_MANAGE_USERS, { ACCESS_SERVER, "", "" }, "--------y" },
    { ACCESS_MANAGE_SERVER, { ACCESS_SERVER, "", "" }, "--------y" },
};

static void
the_matrix_of_the_protocol_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALL_ROWS; i++)
        for (size_t j = 0; j < COLUMNS; j++) {
            const struct access_principal who = { "acme", "ro", column[j],
                column[j] != NULL ? 1 : 0 };

            if (access_permits(&who, rows[i].action, &rows[i].place) != (rows[i].allowed[j] == 'y'))
                fail_msg("row %zu, column %zu", i, j);
        }
}

static void
a_denial_names_action_place_and_user(void **state)
{
    const struct access_principal who = { "acme", "ro", &read_only, 1 };
    struct buf text = buf_init(4096);
    static const char expected[] = "access denied: Write on Collection { database: \"d1\", "
                                   "collection: \"c\\\"\\\\1\" } denied for user 'ro'";

    (void)state;
    assert_int_equal(access_explain(&text, &who, ACCESS_WRITE,
                         &(struct access_place){ ACCESS_COLLECTION, "d1", "c\"\\1" }),
        OK);
    assert_int_equal(text.size, sizeof expected - 1);
    assert_memory_equal(text.data, expected, text.size);
    buf_fini(&text);
}

static void
a_scope_inside_a_database_touches_it(void **state)
{
    const struct access_principal inside = { "acme", "a", &on_c1, 1 };
    const struct access_principal around = { "acme", "b", &tenant_admin, 1 };
    const struct access_principal nobody = { "acme", "c", NULL, 0 };

    (void)state;
    assert_true(access_touches_database(&inside, "d1"));
    assert_false(access_touches_database(&inside, "d2"));
    assert_true(access_touches_database(&around, "d2"));
    assert_false(access_touches_database(&nobody, "d1"));
}

static void
grants_come_back_from_bson(void **state)
{
    const struct access_grant grants[] = { db_admin, on_c1, root,
        { ACCESS_READ_ONLY, { ACCESS_ALL_COLLECTIONS, "d3", "" } },
        { ACCESS_READ_ONLY, { ACCESS_ALL_DATABASES, "", "" } } };
    struct arena *arena = arena_create("test", 1 << 20);
    const struct access_grant *read;
    struct bsonbuild build;
    struct bytes document;
    struct bsonvalue array;
    struct bsonwalk walk;
    size_t count;

    (void)state;
    bsonbuild_begin_arena(&build, arena);
    access_build(&build, "roles", grants, 5);
    assert_int_equal(bsonbuild_end(&build, &document), OK);
    assert_int_equal(bsonwalk_begin(&walk, document), OK);
    assert_true(bsonwalk_next(&walk, &array));
    assert_int_equal(access_read(arena, array.raw, &read, &count), OK);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(read[i].role, grants[i].role);
        assert_int_equal(read[i].scope.kind, grants[i].scope.kind);
        assert_string_equal(read[i].scope.database, grants[i].scope.database);
        assert_string_equal(read[i].scope.collection, grants[i].scope.collection);
    }
    arena_destroy(arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matrix_of_the_protocol_holds),
        cmocka_unit_test(a_denial_names_action_place_and_user),
        cmocka_unit_test(a_scope_inside_a_database_touches_it),
        cmocka_unit_test(grants_come_back_from_bson),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
