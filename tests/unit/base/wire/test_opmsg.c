/*
 * test_opmsg.c - messages of the MongoDB wire protocol, good and hostile.
 */
#include "base/wire/opmsg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/wire/opreply.h"

static struct buf message;
static struct opmsg_request request;

static void
put32(uint32_t word)
{
    assert_int_equal(buf_append(&message, &word, 4), OK);
}

static void
begin(int32_t opcode, uint32_t flags)
{
    buf_clear(&message);
    put32(0);
    put32(7);
    put32(0);
    put32((uint32_t)opcode);
    put32(flags);
}

static void
put_document(const char *key, const char *text)
{
    struct bsonbuild build;

    bsonbuild_begin(&build, &message);
    if (key != NULL)
        bsonbuild_text(&build, key, text);
    assert_int_equal(bsonbuild_end(&build, NULL), OK);
}

static void
put_body(void)
{
    assert_int_equal(buf_append_byte(&message, 0), OK);
    put_document("$db", "test");
}

static void
put_sequence(const char *name, int count, int lie)
{
    size_t start;

    assert_int_equal(buf_append_byte(&message, 1), OK);
    start = message.size;
    put32(0);
    assert_int_equal(buf_append(&message, name, strlen(name) + 1), OK);
    for (int i = 0; i < count; i++)
        put_document("a", "x");
    uint32_t size = (uint32_t)((int)(message.size - start) + lie);
    memcpy(message.data + start, &size, 4);
}

/* Decode from a heap block of exactly that size, so that a sanitizer sees steps beyond. */
static enum opmsg_verdict
decode(void)
{
    static uint8_t *copy;
    uint32_t size = (uint32_t)message.size;

    memcpy(message.data, &size, 4);
    free(copy);
    copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, message.data, size);
    return opmsg_decode((struct bytes){ copy, size }, &request);
}

static void
frames_are_cut_by_their_length_and_impossible_ones_close(void **state)
{
    static const uint32_t bad[] = { 0, 1, 15, 48000001, 0x7fffffff, 0x80000000, 0xffffffff };
    struct bytes frame;
    size_t wanted;

    (void)state;
    begin(OPMSG_OP_MSG, 0);
    put_body();
    (void)decode();
    uint32_t size = (uint32_t)message.size;
    memcpy(message.data, &size, 4);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(
            opmsg_frame((struct bytes){ message.data, i }, OPMSG_SIZE_MAX, &frame, &wanted),
            OPMSG_MORE);
        assert_int_equal(wanted, i < 4 ? OPMSG_HEADER_SIZE : size);
    }
    assert_int_equal(
        opmsg_frame(buf_bytes(&message), OPMSG_SIZE_MAX, &frame, &wanted), OPMSG_WHOLE);
    assert_int_equal(frame.size, size);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(opmsg_frame((struct bytes){ (const uint8_t *)&bad[i], 4 }, OPMSG_SIZE_MAX,
                             &frame, &wanted),
            OPMSG_BROKEN);
}

static void
sections_come_in_any_order_and_stay_slices(void **state)
{
    struct bytes documents, document;

    (void)state;
    begin(OPMSG_OP_MSG, OPMSG_MORE_TO_COME | OPMSG_EXHAUST_ALLOWED | 1u << 20);
    put_sequence("documents", 3, 0);
    put_body();
    put_sequence("ops", 0, 0);
    assert_int_equal(decode(), OPMSG_RUN);
    assert_true(request.more_to_come && request.exhaust_allowed);
    assert_true(bytes_is(request.database, "test"));
    assert_int_equal(request.sequence_count, 2);
    assert_null(opmsg_sequence(&request, "updates"));
    assert_int_equal(opmsg_sequence(&request, "documents")->count, 3);
    documents = opmsg_sequence(&request, "documents")->documents;
    for (int i = 0; i < 3; i++)
        assert_true(opmsg_next_document(&documents, &document));
    assert_false(opmsg_next_document(&documents, &document));
}

static void
checksums_are_verified(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        begin(OPMSG_OP_MSG, OPMSG_CHECKSUM_PRESENT);
        put_body();
        uint32_t size = (uint32_t)message.size + 4;
        memcpy(message.data, &size, 4);
        put32(crc32c(0, message.data, message.size) + (uint32_t)bad);
        assert_int_equal(decode(), bad ? OPMSG_REFUSE_END : OPMSG_RUN);
        assert_true(bad || request.checksum);
    }
    begin(OPMSG_OP_MSG, OPMSG_CHECKSUM_PRESENT);
    assert_int_equal(decode(), OPMSG_REFUSE_END);
}

static void
illegal_flags_and_broken_sections_end_the_connection(void **state)
{
    (void)state;
    for (unsigned bit = 2; bit < 16; bit++) {
        begin(OPMSG_OP_MSG, 1u << bit);
        put_body();
        assert_int_equal(decode(), OPMSG_REFUSE_END);
        assert_int_equal(err_last_code(), 223);
    }
    begin(OPMSG_OP_MSG, 0);
    assert_int_equal(decode(), OPMSG_REFUSE_END); /* no body */
    put_body();
    put_body();
    assert_int_equal(decode(), OPMSG_REFUSE_END); /* two */
    begin(OPMSG_OP_MSG, 0);
    put_body();
    assert_int_equal(buf_append_byte(&message, 2), OK);
    assert_int_equal(decode(), OPMSG_REFUSE_END); /* unknown kind */
    begin(OPMSG_OP_MSG, 0);
    put_sequence("documents", 1, 1);
    assert_int_equal(decode(), OPMSG_REFUSE_END); /* overrun */
    for (uint32_t size = 0; size < 9; size++) {
        begin(OPMSG_OP_MSG, 0);
        assert_int_equal(buf_append_byte(&message, 1), OK);
        put32(size == 8 ? UINT32_MAX : size);
        put32(0x41414141); /* no NUL in the name */
        assert_int_equal(decode(), OPMSG_REFUSE_END);
    }
    begin(OPMSG_OP_COMPRESSED, 0);
    assert_int_equal(decode(), OPMSG_REFUSE_END);
    static const int32_t legacy[] = { 1, 1000, 2001, 2002, 2005, 2006, 2007, 2010, 2011, -1 };
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        begin(legacy[i], 0);
        assert_int_equal(decode(), OPMSG_DROP);
    }
    for (uint32_t size = 16; size < 20; size++) {
        begin(OPMSG_OP_MSG, 0);
        message.size = size;
        assert_int_equal(decode(), OPMSG_REFUSE_END);
    }
}

static void
what_only_this_request_suffers_from_is_answered(void **state)
{
    static const char *const names[] = { "", "a.b", "a$", "a b", "a/b" };

    (void)state;
    begin(OPMSG_OP_MSG, 0);
    put_body();
    put_sequence("documents", 1, 0);
    put_sequence("documents", 1, 0);
    assert_int_equal(decode(), OPMSG_REFUSE);
    begin(OPMSG_OP_MSG, 0);
    put_sequence("$db", 1, 0);
    put_body();
    assert_int_equal(decode(), OPMSG_REFUSE); /* also a field of the body */
    begin(OPMSG_OP_MSG, 0);
    assert_int_equal(buf_append_byte(&message, 0), OK);
    put_document("ping", "x");
    assert_int_equal(decode(), OPMSG_REFUSE);
    assert_int_equal(err_last_code(), 40571);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        begin(OPMSG_OP_MSG, 0);
        assert_int_equal(buf_append_byte(&message, 0), OK);
        put_document("$db", names[i]);
        assert_int_equal(decode(), OPMSG_REFUSE);
        assert_int_equal(err_last_code(), 73);
    }
    begin(OPMSG_OP_MSG, 0);
    put_body();
    message.data[25] = 0x2f; /* a type that does not exist */
    assert_int_equal(decode(), OPMSG_REFUSE);
    assert_int_equal(err_last_code(), 22);
}

static void
too_deep_is_overflow(void **state)
{
    struct bsonbuild build;

    (void)state;
    begin(OPMSG_OP_MSG, 0);
    assert_int_equal(buf_append_byte(&message, 0), OK);
    bsonbuild_begin(&build, &message);
    bsonbuild_text(&build, "$db", "test");
    for (int i = 0; i < OPMSG_DEPTH_MAX; i++)
        bsonbuild_document_begin(&build, "a");
    for (int i = 0; i < OPMSG_DEPTH_MAX; i++)
        bsonbuild_document_end(&build);
    assert_int_equal(bsonbuild_end(&build, NULL), OK);
    assert_int_equal(decode(), OPMSG_REFUSE);
    assert_int_equal(err_last_code(), 15);
}

static void
any_command_comes_by_op_query(void **state)
{
    struct bsonbuild build;

    (void)state;
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        begin(OPMSG_OP_QUERY, 4);
        assert_int_equal(buf_append(&message, "admin.$cmd", 11), OK);
        put32(0);
        put32(UINT32_MAX);
        bsonbuild_begin(&build, &message);
        if (wrapped) {
            bsonbuild_document_begin(&build, "$query");
            bsonbuild_int32(&build, "isMaster", 1);
            bsonbuild_document_end(&build);
            bsonbuild_document_begin(&build, "$readPreference");
            bsonbuild_document_end(&build);
        } else {
            bsonbuild_int32(&build, "isMaster", 1);
        }
        assert_int_equal(bsonbuild_end(&build, NULL), OK);
        assert_int_equal(decode(), OPMSG_RUN);
        assert_true(request.legacy);
        assert_true(bytes_is(request.database, "admin"));
        struct bsonvalue value;
        assert_true(bsonwalk_get(request.body, "isMaster", &value));
        assert_int_equal(request.read_preference.size, wrapped ? 5 : 0);
    }
    begin(OPMSG_OP_QUERY, 0);
    assert_int_equal(buf_append(&message, "test.things", 12), OK);
    put32(0);
    put32(1);
    put_document(NULL, NULL);
    assert_int_equal(decode(), OPMSG_REFUSE);
    assert_int_equal(err_last_code(), 352);
    begin(OPMSG_OP_QUERY, 0);
    assert_int_equal(buf_append(&message, "admin.$cm", 9), OK);
    assert_int_equal(decode(), OPMSG_REFUSE_END);
}

static void
replies_echo_the_request_and_are_patched_in_place(void **state)
{
    static const uint8_t empty[5] = { 5, 0, 0, 0, 0 };
    struct buf out = buf_init(1 << 16);
    struct opmsg_request asked = { .header = { 0, 42, 0, OPMSG_OP_MSG } };
    struct opmsg_header header;
    struct opreply reply;

    (void)state;
    for (int form = 0; form < 3; form++) {
        size_t size = form == 0 ? 26 : form == 1 ? 30 : 41;

        asked.checksum = form == 1;
        asked.legacy = form == 2;
        buf_clear(&out);
        assert_int_equal(opreply_document(&out, &asked, 9, (struct bytes){ empty, 5 }), OK);
        memcpy(&header, out.data, sizeof header);
        assert_int_equal(out.size, size);
        assert_int_equal(header.size, size);
        assert_int_equal(header.request_id, 9);
        assert_int_equal(header.response_to, 42);
        assert_int_equal(header.opcode, form == 2 ? OPMSG_OP_REPLY : OPMSG_OP_MSG);
        if (form == 1)
            assert_int_equal(bsonvalue_load32(out.data + 26), crc32c(0, out.data, 26));
        if (form == 2)
            assert_int_equal(bsonvalue_load32(out.data + 16), 8);
    }
    size_t before = out.size;
    assert_int_equal(opreply_begin(&out, &asked, 1, &reply), OK);
    assert_int_equal(opreply_end(&out, &reply), ERR_INTERNAL);
    assert_int_equal(out.size, before);
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_cut_by_their_length_and_impossible_ones_close),
        cmocka_unit_test(sections_come_in_any_order_and_stay_slices),
        cmocka_unit_test(checksums_are_verified),
        cmocka_unit_test(illegal_flags_and_broken_sections_end_the_connection),
        cmocka_unit_test(what_only_this_request_suffers_from_is_answered),
        cmocka_unit_test(too_deep_is_overflow),
        cmocka_unit_test(any_command_comes_by_op_query),
        cmocka_unit_test(replies_echo_the_request_and_are_patched_in_place),
    };
    int failed;

    message = buf_init(1 << 20);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&message);
    return failed;
}
