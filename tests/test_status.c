/* status: codes and their texts; and text.h, which makes the sentences of every error. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "lintel/status.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const int codes[] = {
    LINTEL_OK,          LINTEL_E_USAGE,     LINTEL_E_UNSUPPORTED, LINTEL_E_SYNTAX,
    LINTEL_E_RANGE,     LINTEL_E_COUNT,     LINTEL_E_SPACE,       LINTEL_E_NOMEM,
    LINTEL_E_SYSTEM,    LINTEL_E_RESOLVE,   LINTEL_E_TIMEOUT,     LINTEL_E_TRUNCATED,
    LINTEL_E_TOO_SMALL, LINTEL_E_TOO_LARGE, LINTEL_E_MISMATCH,    LINTEL_E_VERSION,
    LINTEL_E_MALFORMED, LINTEL_E_SEAL,      LINTEL_E_REFUSED,     LINTEL_E_END,
    LINTEL_E_CLOSED,    LINTEL_E_RESET,
};

static int is_code(int status)
{
    for (size_t i = 0; i < COUNT(codes); i++)
        if (codes[i] == status)
            return 1;
    return 0;
}

/* ---- status ---------------------------------------------------------------------------------- */

static void status_has_a_name_and_a_sentence_for_every_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++) {
        const char *name = lintel_status_name(codes[i]);
        const char *sentence = lintel_strerror(codes[i]);
        if (strcmp(name, "LINTEL_E_?") == 0 || strncmp(name, "LINTEL_", 7) != 0 ||
            strcmp(sentence, "unknown status") == 0 || sentence[0] == '\0' ||
            sentence[strlen(sentence) - 1] == '.')
            fail_msg("%d: \"%s\", \"%s\"", codes[i], name, sentence);
    }
}

static void status_names_are_those_of_the_source(void **state)
{
    (void)state;
    assert_string_equal(lintel_status_name(LINTEL_OK), "LINTEL_OK");
    assert_string_equal(lintel_status_name(LINTEL_E_USAGE), "LINTEL_E_USAGE");
    assert_string_equal(lintel_status_name(LINTEL_E_TRUNCATED), "LINTEL_E_TRUNCATED");
    assert_string_equal(lintel_status_name(LINTEL_E_RESET), "LINTEL_E_RESET");
    assert_string_equal(lintel_strerror(LINTEL_E_NOMEM), "out of memory");
}

static void status_codes_share_no_number_name_or_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++)
        for (size_t k = 0; k < i; k++)
            if (codes[i] == codes[k] ||
                strcmp(lintel_status_name(codes[i]), lintel_status_name(codes[k])) == 0 ||
                strcmp(lintel_strerror(codes[i]), lintel_strerror(codes[k])) == 0)
                fail_msg("%d and %d are alike", codes[i], codes[k]);
}

static void status_is_unknown_for_every_other_number(void **state)
{
    (void)state;
    for (int status = -200; status <= 200; status++) {
        if (is_code(status))
            continue;
        assert_string_equal(lintel_status_name(status), "LINTEL_E_?");
        assert_string_equal(lintel_strerror(status), "unknown status");
    }
    assert_string_equal(lintel_status_name(INT32_MIN), "LINTEL_E_?");
    assert_string_equal(lintel_strerror(INT32_MAX), "unknown status");
}

static void status_errors_are_negative_and_success_is_zero(void **state)
{
    (void)state;
    assert_int_equal(LINTEL_OK, 0);
    for (size_t i = 1; i < COUNT(codes); i++)
        assert_true(codes[i] < 0);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void text_is_cut_at_every_size_and_always_terminated(void **state)
{
    static const char whole[] = "frame at byte 1024: 0x4C54 \"a\\n\" 6c74 -7";

    (void)state;
    for (size_t size = 0; size <= sizeof whole + 1; size++) {
        char out[64];
        memset(out, '#', sizeof out);
        struct lintelp_text text = lintelp_text(out, size);
        lintelp_text_str(&text, "frame at byte ");
        lintelp_text_u64(&text, 1024);
        lintelp_text_strn(&text, ": and more", 2);
        lintelp_text_hex(&text, 0x4C54, 4);
        lintelp_text_char(&text, ' ');
        lintelp_text_quote(&text, "a\n", 2);
        lintelp_text_char(&text, ' ');
        lintelp_text_bytes(&text, (const uint8_t *)"lt", 2);
        lintelp_text_char(&text, ' ');
        lintelp_text_i64(&text, -7);

        size_t expected = size == 0 ? 0 : size - 1;
        if (expected > strlen(whole))
            expected = strlen(whole);
        assert_int_equal(text.used, expected);
        assert_memory_equal(out, whole, expected);
        if (size > 0)
            assert_int_equal(out[expected], '\0');
        for (size_t i = size; i < sizeof out; i++)
            assert_int_equal(out[i], '#');
    }
}

static void text_without_a_buffer_writes_nothing(void **state)
{
    (void)state;
    struct lintelp_text text = lintelp_text(NULL, 0);
    lintelp_text_str(&text, "lost");
    lintelp_text_u64(&text, UINT64_MAX);
    assert_int_equal(text.used, 0);
}

static void text_writes_numbers_as_printf_does(void **state)
{
    static const uint64_t numbers[] = {
        0,
        1,
        9,
        10,
        99,
        100,
        4294967295U,
        4294967296U,
        INT64_MAX,
        (uint64_t)INT64_MAX + 1,
        UINT64_MAX - 1,
        UINT64_MAX,
    };

    (void)state;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        char out[32], expected[32];
        struct lintelp_text text = lintelp_text(out, sizeof out);
        lintelp_text_u64(&text, numbers[i]);
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)numbers[i]);
        assert_string_equal(out, expected);

        text = lintelp_text(out, sizeof out);
        lintelp_text_i64(&text, (int64_t)numbers[i]);
        snprintf(expected, sizeof expected, "%lld", (long long)(int64_t)numbers[i]);
        assert_string_equal(out, expected);

        for (unsigned digits = 0; digits <= 16; digits++) {
            text = lintelp_text(out, sizeof out);
            lintelp_text_hex(&text, numbers[i], digits);
            snprintf(expected, sizeof expected, "0x%0*llX", (int)digits,
                     (unsigned long long)numbers[i]);
            assert_string_equal(out, expected);
        }
    }
}

static void text_quotes_what_is_not_printable(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t size;
        const char *quoted;
    } cases[] = {
        {"empty", "", 0, "\"\""},
        {"plain", "GET / HTTP", 10, "\"GET / HTTP\""},
        {"quotes", "a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"blanks", "\n\r\t", 3, "\"\\n\\r\\t\""},
        {"zero", "a\0b", 3, "\"a\\x00b\""},
        {"edges", "\x1f\x20\x7e\x7f", 4, "\"\\x1f ~\\x7f\""},
        {"high", "\xff\xc3\xa9", 3, "\"\\xff\\xc3\\xa9\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[64];
        struct lintelp_text text = lintelp_text(out, sizeof out);
        lintelp_text_quote(&text, cases[i].bytes, cases[i].size);
        if (strcmp(out, cases[i].quoted) != 0)
            fail_msg("%s: %s, not %s", cases[i].name, out, cases[i].quoted);
    }
}

static void text_quote_gives_printable_ascii_for_every_byte(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        char out[16], c = (char)byte;
        struct lintelp_text text = lintelp_text(out, sizeof out);
        lintelp_text_quote(&text, &c, 1);
        assert_true(text.used >= 3 && text.used <= 6);
        for (size_t i = 0; i < text.used; i++)
            assert_in_range(out[i], 0x20, 0x7E);
    }
}

/* ---- the error record ------------------------------------------------------------------------ */

static void error_record_is_filled_whole(void **state)
{
    struct lintel_error error;

    (void)state;
    memset(&error, 0xA5, sizeof error);
    assert_int_equal(lintelp_fail(&error, LINTEL_E_SYNTAX, 7, "no such thing"), LINTEL_E_SYNTAX);
    assert_int_equal(error.status, LINTEL_E_SYNTAX);
    assert_int_equal(error.system, 0);
    assert_int_equal(error.at, 7);
    assert_string_equal(error.text, "no such thing");
}

static void error_record_cuts_a_long_sentence(void **state)
{
    struct lintel_error error;
    char sentence[LINTEL_TEXT_SIZE + 50];

    (void)state;
    memset(sentence, 'x', sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    (void)lintelp_fail(&error, LINTEL_E_RANGE, 0, sentence);
    assert_int_equal(strlen(error.text), LINTEL_TEXT_SIZE - 1);
}

static void error_record_may_be_null(void **state)
{
    (void)state;
    assert_int_equal(lintelp_fail(NULL, LINTEL_E_NOMEM, 0, "nobody reads this"), LINTEL_E_NOMEM);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_has_a_name_and_a_sentence_for_every_code),
        cmocka_unit_test(status_names_are_those_of_the_source),
        cmocka_unit_test(status_codes_share_no_number_name_or_sentence),
        cmocka_unit_test(status_is_unknown_for_every_other_number),
        cmocka_unit_test(status_errors_are_negative_and_success_is_zero),
        cmocka_unit_test(text_is_cut_at_every_size_and_always_terminated),
        cmocka_unit_test(text_without_a_buffer_writes_nothing),
        cmocka_unit_test(text_writes_numbers_as_printf_does),
        cmocka_unit_test(text_quotes_what_is_not_printable),
        cmocka_unit_test(text_quote_gives_printable_ascii_for_every_byte),
        cmocka_unit_test(error_record_is_filled_whole),
        cmocka_unit_test(error_record_cuts_a_long_sentence),
        cmocka_unit_test(error_record_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
