/*
 * test_textline.c - cutting a stream into lines.
 */
#include "base/wire/textline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRACE_MAX 4096

/* Feed a stream in pieces and write down what comes out. */
static void
trace(const char *stream, size_t size, size_t limit, size_t piece, char *out)
{
    struct textline framer;
    size_t from = 0;
    size_t to = 0;
    size_t used = 0;
    bool going = true;

    textline_init(&framer, limit);
    while (going) {
        struct bytes input = { (const uint8_t *)stream + from, to - from };
        struct bytes line;
        size_t consumed;
        enum textline_result result = textline_next(&framer, input, to == size, &line, &consumed);

        assert_true(consumed <= input.size);
        from += consumed;
        switch (result) {
        case TEXTLINE_MORE:
            assert_true(to - from < limit);
            assert_true(to < size);
            to = to + piece < size ? to + piece : size;
            break;
        case TEXTLINE_LINE:
            used += (size_t)snprintf(
                out + used, TRACE_MAX - used, "[%.*s]", (int)line.size, (const char *)line.data);
            break;
        case TEXTLINE_TOO_LONG:
            used += (size_t)snprintf(out + used, TRACE_MAX - used, "!");
            break;
        case TEXTLINE_NOT_UTF8:
            used += (size_t)snprintf(out + used, TRACE_MAX - used, "#");
            going = false;
            break;
        case TEXTLINE_END:
            assert_int_equal(from, size);
            used += (size_t)snprintf(out + used, TRACE_MAX - used, ".");
            going = false;
            break;
        }
    }
}

static void
expect(const char *stream, size_t limit, const char *expected)
{
    char out[TRACE_MAX];

    for (size_t piece = 1; piece <= strlen(stream) + 1; piece++) {
        trace(stream, strlen(stream), limit, piece, out);
        assert_string_equal(out, expected);
    }
}

static void
lines_end_in_lf_or_crlf_however_they_arrive(void **state)
{
    (void)state;
    expect("", 20, ".");
    expect("a\nb\r\n\nc", 20, "[a][b][][c].");
    expect("a\rb\r\n", 20, "[a\rb].");
    expect("a\r", 20, "[a].");
    expect("\xc3\xa4\n", 20, "[\xc3\xa4].");
}

static void
a_line_over_the_limit_is_said_once_and_discarded(void **state)
{
    (void)state;
    expect("1234567\nok\n", 8, "[1234567][ok].");
    expect("123456\r\nok\n", 8, "[123456][ok].");
    expect("12345678\nok\n", 8, "![ok].");
    expect("123456789012345678901234567890\nok\n", 8, "![ok].");
    expect("12345678901234567890", 8, "!.");
    expect("12345678901\n\xff", 8, "!#");
    expect("1234567\xff\xff\xff\nok\n", 8, "![ok].");
}

static void
what_is_not_utf8_closes(void **state)
{
    (void)state;
    expect("ok\n\xff\nno\n", 80, "[ok]#");
    expect("\xc0\xaf\n", 80, "#");     /* overlong */
    expect("\xed\xa0\x80\n", 80, "#"); /* surrogate */
    expect("\xe2\x82\n", 80, "#");
    expect("\xf4\x90\x80\x80\n", 80, "#");
}

static void
long_texts_are_checked_to_the_last_byte(void **state)
{
    uint8_t text[300];

    (void)state;
    for (size_t size = 0; size <= sizeof text; size++) {
        memset(text, 'a', sizeof text);
        assert_true(textline_is_utf8((struct bytes){ text, size }));
        if (size == 0)
            continue;
        text[size - 1] = 0xc3;
        assert_false(textline_is_utf8((struct bytes){ text, size }));
        text[size / 2] = 0x80;
        assert_false(textline_is_utf8((struct bytes){ text, size }));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_in_lf_or_crlf_however_they_arrive),
        cmocka_unit_test(a_line_over_the_limit_is_said_once_and_discarded),
        cmocka_unit_test(what_is_not_utf8_closes),
        cmocka_unit_test(long_texts_are_checked_to_the_last_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
