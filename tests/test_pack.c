#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/pack.h"
#include "util.h"

/* ---- helpers --------------------------------------------------------------------------------- */

static struct lintel_format *compile(const char *text)
{
    struct lintel_error error;
    struct lintel_format *format = NULL;

    if (lintel_format_new(&format, text, NULL, &error) != LINTEL_OK)
        fail_msg("%s: %s", text, error.text);
    return format;
}

static int host_is_little(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static int is_little(char order)
{
    return order == '<' || (order != '>' && order != '!' && host_is_little());
}

/* The bytes of an integer, made the slow way. */
static void spell(uint8_t *out, uint64_t u, size_t size, int little)
{
    for (size_t i = 0; i < size; i++)
        out[little ? i : size - 1 - i] = (uint8_t)(u >> (8 * i));
}

static void expect_bytes(const char *name, const uint8_t *got, const uint8_t *wanted, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (got[i] != wanted[i])
            fail_msg("%s: byte %zu is %02x, not %02x", name, i, got[i], wanted[i]);
}

/* Pack by both faces into exactly the room there is; the results are to be the same. */
static int pack_both(const char *text, uint8_t *out, size_t room, const struct lintel_value *values,
                     size_t count, struct lintel_error *error)
{
    struct lintel_format *format = compile(text);
    uint8_t direct[512];
    int status;

    assert_true(room < sizeof direct);
    memset(out, 0xAA, room);
    memset(direct, 0x55, sizeof direct);
    status = lintel_format_pack(format, out, room, values, count, error);
    assert_int_equal(lintel_pack_values(direct, room, text, values, count, NULL), status);
    if (status == LINTEL_OK) {
        expect_bytes(text, direct, out, lintel_format_size(format));
        assert_int_equal(direct[lintel_format_size(format)], 0x55);
    }
    lintel_format_free(format);
    return status;
}

static void expect_pack(const char *text, const char *hex, const struct lintel_value *values,
                        size_t count)
{
    struct bytes wanted = from_hex(hex);
    struct lintel_error error;
    uint8_t out[256];
    size_t size;

    assert_int_equal(lintel_calcsize(&size, text, NULL), LINTEL_OK);
    if (size != wanted.size)
        fail_msg("%s: packs to %zu bytes, not %zu", text, size, wanted.size);
    if (pack_both(text, out, size, values, count, &error) != LINTEL_OK)
        fail_msg("%s: %s", text, error.text);
    expect_bytes(text, out, wanted.data, size);
    free(wanted.data);
}

static void expect_refused(const char *text, int status, uint64_t column,
                           const struct lintel_value *values, size_t count, const char *words)
{
    struct lintel_error error;
    uint8_t out[256];
    size_t size;

    assert_int_equal(lintel_calcsize(&size, text, NULL), LINTEL_OK);
    if (pack_both(text, out, size, values, count, &error) != status)
        fail_msg("%s: not %s", text, lintel_status_name(status));
    assert_int_equal(error.status, status);
    if (error.at != column)
        fail_msg("%s: at %llu, not %llu", text, (unsigned long long)error.at,
                 (unsigned long long)column);
    if (strstr(error.text, words) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", text, error.text, words);
}

#define EXPECT_PACK(format, hex, ...)                      \
    do {                                                   \
        const struct lintel_value list_[] = {__VA_ARGS__}; \
        expect_pack(format, hex, list_, COUNT(list_));     \
    } while (0)
#define EXPECT_REFUSED(format, status, column, words, ...)                  \
    do {                                                                    \
        const struct lintel_value list_[] = {__VA_ARGS__};                  \
        expect_refused(format, status, column, list_, COUNT(list_), words); \
    } while (0)

static struct lintel_value unpack_one(const char *text, const void *bytes, size_t size)
{
    struct lintel_format *format = compile(text);
    struct lintel_value value;

    if (lintel_format_unpack(format, &value, 1, bytes, size, NULL) != LINTEL_OK)
        fail_msg("%s does not unpack", text);
    lintel_format_free(format);
    return value;
}

/* ---- the language ---------------------------------------------------------------------------- */

static void format_size_is_that_of_struct(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        size_t count;
    } rows[] = {
        {"", 0, 0},
        {"=", 0, 0},
        {"!", 0, 0},
        {"@", 0, 0},
        {"<xcbB?", 5, 4},
        {">hHiIlLqQ", 36, 8},
        {"!efd", 14, 3},
        {"=sp", 2, 2},
        {"!Tt", 6, 2},
        {"!HBBIII", 16, 6},
        {"!10s10p0s0p", 20, 4},
        {"!0I0x0c", 0, 0},
        {"!007B", 7, 7},
        {"< \t\n\v\f\rH  2B ", 4, 3},
        {"!1000000B", 1000000, 1000000},
        {"!BQ", 9, 2},
    };
    struct lintel_format *format;
    size_t size;
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        format = compile(rows[i].text);
        if (lintel_format_size(format) != rows[i].size ||
            lintel_format_count(format) != rows[i].count)
            fail_msg("%s: %zu bytes, %zu values", rows[i].text, lintel_format_size(format),
                     lintel_format_count(format));
        assert_int_equal(lintel_calcsize(&size, rows[i].text, NULL), LINTEL_OK);
        assert_int_equal(size, rows[i].size);
        lintel_format_free(format);
    }
}

struct one_of_all {
    char c;
    short h;
    char c2;
    int i;
    char c3;
    long l;
    char c4;
    long long q;
    char c5;
    float f;
    char c6;
    double d;
    char c7;
    void *p;
    char c8;
    size_t n;
    char c9;
    _Bool b;
};

/* Native sizes and alignments are those that the compiler gives a struct. */
static void format_native_order_follows_the_abi(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } rows[] = {
        {"h", sizeof(short)},
        {"i", sizeof(int)},
        {"l", sizeof(long)},
        {"q", sizeof(long long)},
        {"f", sizeof(float)},
        {"d", sizeof(double)},
        {"P", sizeof(void *)},
        {"n", sizeof(size_t)},
        {"N", sizeof(size_t)},
        {"?", sizeof(_Bool)},
        {"e", 2},
        {"chcicl", offsetof(struct one_of_all, l) + sizeof(long)},
        {"@chciclcq", offsetof(struct one_of_all, q) + sizeof(long long)},
        {"chciclcqcfcd", offsetof(struct one_of_all, d) + sizeof(double)},
        {"chciclcqcfcdcPcnc?", offsetof(struct one_of_all, b) + sizeof(_Bool)},
        {"chciclcqcfcdcPcN", offsetof(struct one_of_all, n) + sizeof(size_t)},
        {"B0I", sizeof(int)},
        {"0I", 0},
        {"I0q", offsetof(
                    struct {
                        int i;
                        long long q;
                    },
                    q)},
        {"B0s0h", sizeof(short)},
        {"Bx0h", 2},
        {"2sxe", 6},
        {"=B0I", 1},
        {"=BI", 5},
    };
    size_t size;
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(lintel_calcsize(&size, rows[i].text, NULL), LINTEL_OK);
        if (size != rows[i].size)
            fail_msg("%s: %zu bytes, not %zu", rows[i].text, size, rows[i].size);
    }
}

static void format_refuses_with_the_column(void **state)
{
    char limit[64];
    char over[64];
    const struct {
        const char *text;
        uint64_t column;
        const char *words;
    } rows[] = {
        {"y", 1, "\"y\" is not a format code"},
        {"!Hy", 3, "\"y\" is not a format code"},
        {" <i", 2, "\"<\" is not a format code"},
        {"<i<", 3, "\"<\" is not a format code"},
        {"@@", 2, "not a format code"},
        {"!H\x01", 3, "\"\\x01\" is not a format code"},
        {"!\xFF", 2, "\"\\xff\" is not a format code"},
        {"!HBv", 4, "not a format code"},
        {"-1B", 1, "not a format code"},
        {"!H3 B", 4, "a blank between a count and its code"},
        {"!3", 2, "a count without a code"},
        {"!4x12", 4, "a count without a code"},
        {"<n", 2, "\"n\" is for the native order @ only"},
        {"!2N", 3, "\"N\" is for the native order @ only"},
        {"=P", 2, "\"P\" is for the native order @ only"},
        {"T", 1, "\"T\" is for the orders < > ! and = only"},
        {"@Ht", 3, "\"t\" is for the orders < > ! and = only"},
        {over, 2, "the size is over the limit of "},
        {"!B99999999999999999999999999B", 3, "the size is over the limit of "},
        {limit, 0, NULL},
    };
    (void)state;

    snprintf(limit, sizeof limit, "!%zuB", SIZE_MAX / 2);
    snprintf(over, sizeof over, "!%zuB", SIZE_MAX / 2 + 1);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lintel_format *format = NULL;
        struct lintel_error error;
        size_t size = 77;
        int status = lintel_format_new(&format, rows[i].text, NULL, &error);
        if (rows[i].words == NULL) {
            assert_int_equal(status, LINTEL_OK);
            lintel_format_free(format);
            continue;
        }
        if (status != LINTEL_E_SYNTAX || error.status != status || error.at != rows[i].column ||
            strstr(error.text, rows[i].words) == NULL)
            fail_msg("%s: %d at %llu, \"%s\"", rows[i].text, status, (unsigned long long)error.at,
                     error.text);
        assert_null(format);
        assert_int_equal(lintel_calcsize(&size, rows[i].text, NULL), LINTEL_E_SYNTAX);
        assert_int_equal(size, 77);
        assert_int_equal(lintel_pack_values(NULL, 0, rows[i].text, NULL, 0, NULL), LINTEL_E_SYNTAX);
        assert_int_equal(lintel_unpack_targets(NULL, 0, NULL, 0, rows[i].text, NULL),
                         LINTEL_E_SYNTAX);
    }
}

static void format_size_overflows_exactly(void **state)
{
    static const struct {
        const char *before;
        const char *after;
        size_t less; /* than the limit: the greatest count that there is room for */
        size_t divide;
        uint64_t column;
    } rows[] = {
        {"!", "B", 0, 1, 0}, {"!B", "s", 1, 1, 0}, {"!", "xB", 1, 1, 0},
        {"!", "Q", 0, 8, 0}, {"!Q", "H", 8, 2, 0}, {"", "x0I", 3, 1, 0},
    };
    char text[64];
    size_t size;
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t most = (SIZE_MAX / 2 - rows[i].less) / rows[i].divide;
        snprintf(text, sizeof text, "%s%zu%s", rows[i].before, most, rows[i].after);
        if (lintel_calcsize(&size, text, NULL) != LINTEL_OK)
            fail_msg("%s is refused", text);
        snprintf(text, sizeof text, "%s%zu%s", rows[i].before, most + 1, rows[i].after);
        if (lintel_calcsize(&size, text, NULL) != LINTEL_E_SYNTAX)
            fail_msg("%s is %zu bytes", text, size);
    }
}

static void format_code_names_each_value(void **state)
{
    struct lintel_format *format = compile("!H3x2B4s0I0sTq");
    const char *codes = "HBBssTq";
    (void)state;

    assert_int_equal(lintel_format_count(format), strlen(codes));
    for (size_t i = 0; i <= strlen(codes); i++)
        assert_int_equal(lintel_format_code(format, i), codes[i]);
    assert_int_equal(lintel_format_code(format, SIZE_MAX), '\0');
    assert_int_equal(lintel_format_code(NULL, 0), '\0');
    lintel_format_free(format);
    format = compile("!4x");
    assert_int_equal(lintel_format_code(format, 0), '\0');
    lintel_format_free(format);
}

/* ---- integers -------------------------------------------------------------------------------- */

static const struct integer {
    char code;
    size_t standard; /* 0: not there */
    size_t native;
    int is_signed;
} integers[] = {
    {'b', 1, sizeof(char), 1},
    {'B', 1, sizeof(char), 0},
    {'h', 2, sizeof(short), 1},
    {'H', 2, sizeof(short), 0},
    {'t', 3, 0, 1},
    {'T', 3, 0, 0},
    {'i', 4, sizeof(int), 1},
    {'I', 4, sizeof(int), 0},
    {'l', 4, sizeof(long), 1},
    {'L', 4, sizeof(long), 0},
    {'q', 8, sizeof(long long), 1},
    {'Q', 8, sizeof(long long), 0},
    {'n', 0, sizeof(size_t), 1},
    {'N', 0, sizeof(size_t), 0},
};

/* Pack one value under a format, alone and behind an `s`, which keeps the format from having a
 * plan; then unpack it. */
static void expect_integer(const char *order, const struct integer *integer, size_t size,
                           struct lintel_value value)
{
    char text[8];
    uint8_t wanted[9] = {0};
    uint8_t out[9];
    struct lintel_value values[2] = {value, lintel_text("")};
    struct lintel_value back;

    snprintf(text, sizeof text, "%s%c", order, integer->code);
    spell(wanted, value.as.u, size, is_little(order[0]));
    assert_int_equal(pack_both(text, out, size, values, 1, NULL), LINTEL_OK);
    expect_bytes(text, out, wanted, size);
    back = unpack_one(text, out, size);
    assert_int_equal(back.kind, integer->is_signed ? LINTEL_INT : LINTEL_UINT);
    assert_int_equal(back.size, 0);
    assert_true(back.as.u == value.as.u);

    snprintf(text, sizeof text, "%s%cs", order, integer->code);
    assert_int_equal(pack_both(text, out, size + 1, values, 2, NULL), LINTEL_OK);
    expect_bytes(text, out, wanted, size + 1);
}

static void refuse_integer(const char *order, const struct integer *integer,
                           struct lintel_value value)
{
    char text[8];
    uint64_t column = strlen(order) + 1;

    snprintf(text, sizeof text, "%s%c", order, integer->code);
    EXPECT_REFUSED(text, LINTEL_E_RANGE, column, "value 1, for '", value);
    snprintf(text, sizeof text, "%s%cs", order, integer->code);
    EXPECT_REFUSED(text, LINTEL_E_RANGE, column, "value 1, for '", value, lintel_text(""));
}

static void try_signed(const char *order, const struct integer *integer, size_t size)
{
    int64_t most = INT64_MAX >> (64 - 8 * size);
    int64_t least = -most - 1;

    expect_integer(order, integer, size, lintel_int(most));
    expect_integer(order, integer, size, lintel_int(least));
    expect_integer(order, integer, size, lintel_int(least + 1));
    expect_integer(order, integer, size, lintel_int(-1));
    expect_integer(order, integer, size, lintel_int(0));
    expect_integer(order, integer, size, lintel_uint((uint64_t)most));
    refuse_integer(order, integer, lintel_uint((uint64_t)most + 1));
    refuse_integer(order, integer, lintel_uint(UINT64_MAX));
    if (size < 8) {
        refuse_integer(order, integer, lintel_int(most + 1));
        refuse_integer(order, integer, lintel_int(least - 1));
        refuse_integer(order, integer, lintel_int(INT64_MIN));
        refuse_integer(order, integer, lintel_int(INT64_MAX));
    }
}

static void try_unsigned(const char *order, const struct integer *integer, size_t size)
{
    uint64_t most = UINT64_MAX >> (64 - 8 * size);

    expect_integer(order, integer, size, lintel_uint(most));
    expect_integer(order, integer, size, lintel_uint(most - 1));
    expect_integer(order, integer, size, lintel_uint(0));
    expect_integer(order, integer, size, lintel_int(0));
    expect_integer(order, integer, size, lintel_int((int64_t)(most >> 1)));
    refuse_integer(order, integer, lintel_int(-1));
    refuse_integer(order, integer, lintel_int(INT64_MIN));
    if (size < 8) {
        refuse_integer(order, integer, lintel_uint(most + 1));
        refuse_integer(order, integer, lintel_int((int64_t)most + 1));
        refuse_integer(order, integer, lintel_uint(UINT64_MAX));
    }
}

static void integer_codes_take_their_range_and_no_more(void **state)
{
    static const char *const orders[] = {"<", ">", "!", "=", "@", ""};
    (void)state;

    for (size_t i = 0; i < COUNT(integers); i++)
        for (size_t j = 0; j < COUNT(orders); j++) {
            int native = orders[j][0] == '@' || orders[j][0] == '\0';
            size_t size = native ? integers[i].native : integers[i].standard;
            if (size == 0)
                continue;
            if (integers[i].is_signed)
                try_signed(orders[j], &integers[i], size);
            else
                try_unsigned(orders[j], &integers[i], size);
        }
}

static void integer_refusal_names_the_range(void **state)
{
    (void)state;
    EXPECT_REFUSED("!HB", LINTEL_E_RANGE, 3, "value 2, for 'B' at column 3: 256 is not in 0 to 255",
                   lintel_uint(1), lintel_uint(256));
    EXPECT_REFUSED("!2xb", LINTEL_E_RANGE, 4,
                   "value 1, for 'b' at column 4: -129 is not in -128 to 127", lintel_int(-129));
    EXPECT_REFUSED("<q", LINTEL_E_RANGE, 2,
                   "9223372036854775808 is not in -9223372036854775808 to 9223372036854775807",
                   lintel_uint((uint64_t)1 << 63));
    EXPECT_REFUSED("<3Q", LINTEL_E_RANGE, 3, "value 3, for 'Q' at column 3: -5 is not in 0 to ",
                   lintel_uint(0), lintel_uint(0), lintel_int(-5));
    EXPECT_REFUSED("!T", LINTEL_E_RANGE, 2, "16777216 is not in 0 to 16777215",
                   lintel_uint(0x1000000));
}

static void pointer_takes_either_sign(void **state)
{
    uint8_t out[sizeof(void *)];
    uint8_t wanted[sizeof(void *)];
    struct lintel_value value = lintel_int(INTPTR_MIN);
    (void)state;

    assert_int_equal(pack_both("P", out, sizeof out, &value, 1, NULL), LINTEL_OK);
    spell(wanted, (uint64_t)INTPTR_MIN, sizeof wanted, is_little('='));
    expect_bytes("P", out, wanted, sizeof out);
    value = lintel_uint(UINTPTR_MAX);
    assert_int_equal(pack_both("P", out, sizeof out, &value, 1, NULL), LINTEL_OK);
    value = unpack_one("P", out, sizeof out);
    assert_int_equal(value.kind, LINTEL_UINT);
    assert_true(value.as.u == UINTPTR_MAX);
    EXPECT_REFUSED("P", LINTEL_E_RANGE, 1, "not an integer", lintel_float(0));
}

static void values_of_the_wrong_kind_are_refused(void **state)
{
    struct lintel_value odd = lintel_uint(0);
    (void)state;

    for (size_t i = 0; i < COUNT(integers); i++) {
        const char *order = integers[i].standard > 0 ? "!" : "@";
        refuse_integer(order, &integers[i], lintel_float(1));
        refuse_integer(order, &integers[i], lintel_text("1"));
    }
    EXPECT_REFUSED("!f", LINTEL_E_RANGE, 2, "not a number", lintel_text("1"));
    EXPECT_REFUSED("!Hs", LINTEL_E_RANGE, 3, "value 2, for 's' at column 3: not bytes",
                   lintel_uint(0), lintel_uint(0));
    EXPECT_REFUSED("!p", LINTEL_E_RANGE, 2, "not bytes", lintel_float(0));
    EXPECT_REFUSED("!0p", LINTEL_E_RANGE, 3, "not bytes", lintel_uint(0));
    EXPECT_REFUSED("!c", LINTEL_E_RANGE, 2, "not 1 byte", lintel_text(""));
    EXPECT_REFUSED("!c", LINTEL_E_RANGE, 2, "not 1 byte", lintel_text("ab"));
    EXPECT_REFUSED("!c", LINTEL_E_RANGE, 2, "not 1 byte", lintel_float('a'));
    EXPECT_REFUSED("!4s", LINTEL_E_RANGE, 3, "NULL", lintel_text(NULL));
    EXPECT_REFUSED("!c", LINTEL_E_RANGE, 2, "not 1 byte", lintel_text(NULL));
    odd.kind = (enum lintel_kind)77;
    EXPECT_REFUSED("!B", LINTEL_E_RANGE, 2, "not an integer", odd);
    EXPECT_REFUSED("!d", LINTEL_E_RANGE, 2, "not a number", odd);
    EXPECT_REFUSED("!s", LINTEL_E_RANGE, 2, "not bytes", odd);
    EXPECT_REFUSED("!?", LINTEL_E_RANGE, 2, "not a value", odd);
}

/* ---- the other codes ------------------------------------------------------------------------- */

static void bool_takes_anything_and_gives_0_or_1(void **state)
{
    static const uint8_t bytes[] = {0, 1, 2, 0x80, 0xFF};
    (void)state;

    EXPECT_PACK("!8?", "0001000100010001", lintel_uint(0), lintel_uint(2), lintel_int(0),
                lintel_int(-1), lintel_float(-0.0), lintel_float(1e-300), lintel_text(""),
                lintel_text("0"));
    for (size_t i = 0; i < COUNT(bytes); i++) {
        struct lintel_value value = unpack_one("?", &bytes[i], 1);
        assert_int_equal(value.kind, LINTEL_UINT);
        assert_int_equal(value.as.u, bytes[i] != 0);
    }
}

static void strings_are_cut_and_filled_to_their_width(void **state)
{
    (void)state;
    EXPECT_PACK("!3s", "616200", lintel_text("ab"));
    EXPECT_PACK("!3s", "616263", lintel_text("abcd"));
    EXPECT_PACK("!s", "61", lintel_text("abcd"));
    EXPECT_PACK("!s", "00", lintel_text(""));
    EXPECT_PACK("!0sB", "07", lintel_text("abcd"), lintel_uint(7));
    EXPECT_PACK("!4p", "02616200", lintel_text("ab"));
    EXPECT_PACK("!4p", "03616263", lintel_text("abcd"));
    EXPECT_PACK("!p", "00", lintel_text("abcd"));
    EXPECT_PACK("!2p", "0000", lintel_bytes(NULL, 0));
    EXPECT_PACK("!B0pB", "0107", lintel_uint(1), lintel_text("abcd"), lintel_uint(7));
    EXPECT_PACK("!2c", "6100", lintel_text("a"), lintel_bytes("", 1));
}

static void pascal_length_is_at_most_255(void **state)
{
    uint8_t out[300];
    char text[300];
    struct lintel_value value = lintel_bytes(text, 299);
    (void)state;

    memset(text, 'a', sizeof text);
    assert_int_equal(pack_both("!300p", out, 300, &value, 1, NULL), LINTEL_OK);
    assert_int_equal(out[0], 255);
    assert_int_equal(out[299], 'a');
    value = unpack_one("!300p", out, 300);
    assert_int_equal(value.size, 255);
    assert_ptr_equal(value.as.bytes, out + 1);
}

static void strings_unpack_as_views(void **state)
{
    static const struct {
        const char *text;
        const char *bytes;
        size_t size;
        size_t offset;
        size_t length;
    } rows[] = {
        {"3s", "a\0b", 3, 0, 3},   {"s", "a", 1, 0, 1},      {"0s", "", 0, 0, 0},
        {"4p", "\2abc", 4, 1, 2},  {"4p", "\3abc", 4, 1, 3}, {"4p", "\377abc", 4, 1, 3},
        {"p", "\x09", 1, 1, 0},    {"0p", "", 0, 0, 0},      {"c", "a", 1, 0, 1},
        {"2xs", "\0\0a", 3, 2, 1},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lintel_value value = unpack_one(rows[i].text, rows[i].bytes, rows[i].size);
        assert_int_equal(value.kind, LINTEL_BYTES);
        if (value.size != rows[i].length || value.as.bytes != rows[i].bytes + rows[i].offset)
            fail_msg("%s: %zu bytes", rows[i].text, value.size);
    }
}

static void padding_is_zeros(void **state)
{
    (void)state;
    EXPECT_PACK("!2xB3xH2x", "0000010000000002 0000", lintel_uint(1), lintel_uint(2));
    EXPECT_PACK("!B20xB", "01 0000000000000000000000000000000000000000 02", lintel_uint(1),
                lintel_uint(2));
    EXPECT_PACK("!s9xs9x", "61000000000000000000 62000000000000000000", lintel_text("a"),
                lintel_text("b"));
    expect_pack("!17x", "0000000000000000000000000000000000", NULL, 0);
    if (sizeof(int) == 4) {
        EXPECT_PACK("B0I", "01000000", lintel_uint(1));
        EXPECT_PACK("Bi", host_is_little() ? "01000000feffffff" : "01000000fffffffe",
                    lintel_uint(1), lintel_int(-2));
        EXPECT_PACK("s0i", "61000000", lintel_text("a"));
    }
}

/* ---- floating-point -------------------------------------------------------------------------- */

static struct lintel_value from_bits(uint64_t bits)
{
    struct lintel_value value = lintel_float(0);
    value.as.u = bits;
    return value;
}

static void floats_round_to_nearest_even(void **state)
{
    (void)state;
    EXPECT_PACK("!7e", "00008000 3c00 c000 7c00 fc00 3555", lintel_float(0.0), lintel_float(-0.0),
                lintel_float(1), lintel_float(-2), from_bits(0x7FF0000000000000),
                from_bits(0xFFF0000000000000), lintel_float(1.0 / 3));
    EXPECT_PACK("!8e", "7bff 7bff 0001 0000 0001 0002 0400 03ff", lintel_float(65504),
                lintel_float(65519.99), lintel_float(0x1p-24), lintel_float(0x1p-25),
                lintel_float(0x1.00001p-25), lintel_float(0x1.8p-24), lintel_float(0x1p-14),
                lintel_float(0x1p-14 - 0x1p-24));
    EXPECT_PACK("!4e", "6800 6802 6802 0400", lintel_float(2049), lintel_float(2051),
                lintel_float(2051.5), lintel_float(0x1p-14 - 0x1p-26));
    EXPECT_PACK("!5f", "3f800000 7f7fffff 00000001 00000000 80000001", lintel_float(1),
                lintel_float(0x1.fffffe8p127), lintel_float(0x1p-149), lintel_float(0x1p-150),
                lintel_float(-0x1.8p-150));
    EXPECT_PACK("!2f", "4b800000 4b800002", lintel_float(16777217), lintel_float(16777219));
    EXPECT_PACK("!2d", "3ff8000000000000 0000000000000001", lintel_float(1.5), from_bits(1));
    EXPECT_PACK("!fd", "bf800000 43f0000000000000", lintel_int(-1), lintel_uint(UINT64_MAX));
    EXPECT_PACK("!f", "00000000", from_bits(0x000FFFFFFFFFFFFF));
}

static void floats_that_are_too_large_are_refused(void **state)
{
    (void)state;
    EXPECT_REFUSED("!Be", LINTEL_E_RANGE, 3,
                   "value 2, for 'e' at column 3: the number is too large", lintel_uint(0),
                   lintel_float(65520));
    EXPECT_REFUSED("e", LINTEL_E_RANGE, 1, "too large", lintel_float(-1e300));
    EXPECT_REFUSED("<f", LINTEL_E_RANGE, 2, "too large", lintel_float(0x1.ffffffp127));
    EXPECT_REFUSED(">f", LINTEL_E_RANGE, 2, "too large", lintel_float(-0x1p128));
    /* A native float is a C conversion. */
    EXPECT_PACK("2f", host_is_little() ? "0000807f 000080ff" : "7f800000 ff800000",
                lintel_float(0x1p128), lintel_float(-1e300));
}

/* One whose bits that are kept are all zero becomes quiet, not an infinity. */
static void nans_keep_sign_and_upper_bits(void **state)
{
    (void)state;
    EXPECT_PACK("!5e", "7e00 fe00 7e00 7f01 7d00", from_bits(0x7FF8000000000000),
                from_bits(0xFFF8000000000000), from_bits(0x7FF0000000000001),
                from_bits(0x7FFC040000000000), from_bits(0x7FF4000000000001));
    EXPECT_PACK("!5f", "7fc00000 7fe02000 ffffffff 7fa00000 ff800001",
                from_bits(0x7FF0000000000001), from_bits(0x7FFC040000000000), from_bits(UINT64_MAX),
                from_bits(0x7FF4000000000000), from_bits(0xFFF0000020000000));
    EXPECT_PACK("!d", "7ff0000000000001", from_bits(0x7FF0000000000001));
    assert_true(unpack_one("!e", "\x7C\x01", 2).as.u == 0x7FF0040000000000);
    assert_true(unpack_one("!e", "\xFF\xFF", 2).as.u == 0xFFFFFC0000000000);
    assert_true(unpack_one("!f", "\x7F\x80\0\1", 4).as.u == 0x7FF0000020000000);
    assert_true(unpack_one("!d", "\x7F\xF0\0\0\0\0\0\1", 8).as.u == 0x7FF0000000000001);
}

/* Through values and through variables, to the last bit, on processors of any kind. */
static void nans_go_there_and_back(void **state)
{
    static const uint32_t fractions[] = {1, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFF, 0x200000};
    (void)state;

    for (size_t i = 0; i < 2 * sizeof fractions / sizeof fractions[0]; i++) {
        uint32_t bits = fractions[i / 2] | 0x7F800000 | (uint32_t)(i % 2) << 31, again;
        uint8_t bytes[4], back[4];
        struct lintel_value value;
        float single;
        lintel_put_u32be(bytes, bits);
        value = unpack_one("!f", bytes, 4);
        assert_int_equal(lintel_pack_values(back, 4, "!f", &value, 1, NULL), LINTEL_OK);
        assert_memory_equal(back, bytes, 4);
        assert_int_equal(lintel_unpack(bytes, 4, NULL, "!f", &single), LINTEL_OK);
        memcpy(&again, &single, sizeof again);
        assert_true(again == bits);
    }
}

/* Every half is the product that its bits say, and packs to its bits again. */
static void halves_go_there_and_back(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        uint8_t bytes[2] = {(uint8_t)(bits >> 8), (uint8_t)bits};
        uint8_t again[2];
        unsigned exponent = bits >> 10 & 31;
        double wanted = (bits & 0x3FF) / 1024.0 + (exponent > 0);
        struct lintel_value value = unpack_one("!e", bytes, 2);
        assert_int_equal(lintel_pack_values(again, 2, "!e", &value, 1, NULL), LINTEL_OK);
        assert_memory_equal(again, bytes, 2);
        if (exponent == 31)
            continue;
        for (unsigned e = exponent > 0 ? exponent : 1; e < 15; e++)
            wanted /= 2;
        for (unsigned e = 15; e < exponent; e++)
            wanted *= 2;
        assert_true(value.as.f == (bits & 0x8000 ? -wanted : wanted));
    }
}

static uint64_t random_bits(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* The processor rounds doubles to floats as IEEE 754 says, too. */
static void singles_round_as_the_processor_does(void **state)
{
    uint64_t seed = 88172645463325252;
    (void)state;

    for (int i = 0; i < 200000; i++) {
        uint64_t bits = random_bits(&seed);
        struct lintel_value value;
        uint8_t bytes[4];
        float single;
        /* Exponents about those of a float, most of the time. */
        if (i % 8 != 0)
            bits = (bits & 0x800FFFFFFFFFFFFF) | (0x360 + (bits >> 52) % 0x130) << 52;
        value = from_bits(bits);
        if (value.as.f != value.as.f || value.as.f > 3.4e38 || value.as.f < -3.4e38)
            continue;
        single = (float)value.as.f;
        assert_int_equal(lintel_pack(bytes, 4, NULL, "!f", value.as.f), LINTEL_OK);
        assert_true(lintel_get_f32be(bytes) == single);
        assert_true(unpack_one("!f", bytes, 4).as.f == (double)single);
    }
}

/* ---- counts, room, misuse -------------------------------------------------------------------- */

static void pack_refuses_a_wrong_count_before_all_else(void **state)
{
    const struct lintel_value values[3] = {lintel_uint(9999), lintel_uint(1), lintel_uint(2)};
    struct lintel_format *format = compile("!BB");
    struct lintel_error error;
    uint8_t out[2];
    (void)state;

    for (size_t count = 0; count <= 3; count++) {
        if (count == 2)
            continue;
        assert_int_equal(lintel_format_pack(format, out, 0, values, count, &error), LINTEL_E_COUNT);
        assert_int_equal(lintel_pack_values(out, 0, "!BB", values, count, NULL), LINTEL_E_COUNT);
    }
    assert_string_equal(error.text, "the number of values is 2, not 3");
    assert_int_equal(error.at, 0);
    lintel_format_free(format);
}

static void pack_needs_room_and_writes_no_more_than_its_size(void **state)
{
    static const char *const texts[] = {"!HBBIII", "<HBBIII", "!HBBII4s", "!BBB",   "!QBQ",
                                        "!BQ",     "<q7x",    "!5B",      "!TTTTT", "@BHIQ"};
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct lintel_format *format = compile(texts[i]);
        size_t size = lintel_format_size(format);
        size_t count = lintel_format_count(format);
        struct lintel_value values[8];
        struct lintel_error error;
        uint8_t out[64];
        for (size_t j = 0; j < count; j++)
            values[j] =
                lintel_format_code(format, j) == 's' ? lintel_text("abcdef") : lintel_uint(j + 1);
        memset(out, 0xAA, sizeof out);
        assert_int_equal(lintel_format_pack(format, out, size - 1, values, count, &error),
                         LINTEL_E_SPACE);
        assert_int_equal(error.at, 0);
        assert_int_equal(out[0], 0xAA);
        assert_int_equal(lintel_format_pack(format, out, sizeof out, values, count, NULL),
                         LINTEL_OK);
        for (size_t j = size; j < sizeof out; j++)
            assert_int_equal(out[j], 0xAA);
        lintel_format_free(format);
    }
}

static void unpack_wants_exactly_its_size(void **state)
{
    struct lintel_format *format = compile("!HBBIII");
    struct lintel_value values[7];
    struct lintel_error error;
    uint8_t bytes[17] = {0};
    (void)state;

    for (size_t size = 0; size <= 17; size++)
        assert_int_equal(lintel_format_unpack(format, values, 6, bytes, size, &error),
                         size == 16 ? LINTEL_OK : LINTEL_E_SPACE);
    assert_string_equal(error.text, "the format unpacks 16 bytes, not 17");
    assert_int_equal(lintel_format_unpack(format, values, 5, bytes, 16, NULL), LINTEL_E_COUNT);
    assert_int_equal(lintel_format_unpack(format, values, 7, bytes, 16, NULL), LINTEL_E_COUNT);
    lintel_format_free(format);
}

static void misuse_is_a_status(void **state)
{
    struct lintel_format *format = compile("!B");
    struct lintel_format *other;
    struct lintel_value value = lintel_uint(1);
    struct lintel_error error;
    struct lintel_target target = {NULL, 1, LINTEL_TO_UINT};
    uint8_t byte = 1;
    size_t size;
    (void)state;

    assert_int_equal(lintel_format_new(NULL, "", NULL, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_new(&other, NULL, NULL, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_calcsize(NULL, "", &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_calcsize(&size, NULL, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_pack(NULL, &byte, 1, &value, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_pack(format, NULL, 1, &value, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_pack(format, &byte, 1, NULL, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_unpack(NULL, &value, 1, &byte, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_unpack(format, NULL, 1, &byte, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_format_unpack(format, &value, 1, NULL, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_pack_values(NULL, 1, "B", &value, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_pack_values(&byte, 1, NULL, &value, 1, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_unpack_targets(&target, 1, &byte, 1, "B", &error), LINTEL_E_USAGE);
    target.to = &byte;
    target.size = 3;
    assert_int_equal(lintel_unpack_targets(&target, 1, &byte, 1, "B", &error), LINTEL_E_USAGE);
    target.type = (enum lintel_target_type)77;
    assert_int_equal(lintel_unpack_targets(&target, 1, &byte, 1, "B", &error), LINTEL_E_USAGE);
    assert_int_equal(error.status, LINTEL_E_USAGE);
    assert_int_equal(lintel_format_size(NULL), 0);
    assert_int_equal(lintel_format_count(NULL), 0);
    lintel_format_free(NULL);
    lintel_format_free(format);
}

static void nothing_packs_to_nothing(void **state)
{
    struct lintel_format *format = compile("!0x");
    (void)state;

    assert_int_equal(lintel_format_pack(format, NULL, 0, NULL, 0, NULL), LINTEL_OK);
    assert_int_equal(lintel_format_unpack(format, NULL, 0, NULL, 0, NULL), LINTEL_OK);
    assert_int_equal(lintel_pack(NULL, 0, NULL, ""), LINTEL_OK);
    assert_int_equal(lintel_unpack(NULL, 0, NULL, ""), LINTEL_OK);
    lintel_format_free(format);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void format_new_survives_failing_memory(void **state)
{
    struct failing failing;
    struct lintel_format *format = NULL;
    struct lintel_error error;
    (void)state;

    failing_init(&failing);
    for (failing.fail_at = 1;; failing.fail_at++) {
        int status;
        failing.calls = 0;
        status = lintel_format_new(&format, "!HBBIII4s", &failing.allocator, &error);
        if (status == LINTEL_OK)
            break;
        assert_int_equal(status, LINTEL_E_NOMEM);
        assert_int_equal(error.status, LINTEL_E_NOMEM);
        assert_null(format);
        assert_int_equal(failing.blocks, 0);
    }
    assert_true(failing.fail_at > 1);
    lintel_format_free(format);
    assert_int_equal(failing.blocks, 0);
}

/* A count is a claim: it costs no memory, and a large one is no loop. */
static void format_new_allocates_by_the_text_not_by_its_counts(void **state)
{
    struct failing failing;
    struct lintel_format *format;
    char text[64];
    (void)state;

    failing_init(&failing);
    snprintf(text, sizeof text, "!H%zuBx", SIZE_MAX / 2 - 3);
    assert_int_equal(lintel_format_new(&format, text, &failing.allocator, NULL), LINTEL_OK);
    assert_true(failing.peak < 1024);
    assert_int_equal(lintel_format_count(format), SIZE_MAX / 2 - 2);
    assert_int_equal(lintel_format_code(format, SIZE_MAX / 2 - 3), 'B');
    lintel_format_free(format);
    assert_int_equal(failing.blocks, 0);
}

/* Input that ends where its page ends, output that does, and a text that does. */
static void nothing_is_touched_past_the_end(void **state)
{
    static const char *const texts[] = {"!HBBIII", "<B",   "!T",   "<T",     "!BT",   "<QB",
                                        "!QH",     "!5s",  "!5p",  "<e",     "!f",    "!d",
                                        "!c?",     "!Q7B", "<9xB", "@bhilq", "!BBBQ", "0s"};
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        uint8_t *text = guard_copy(texts[i], strlen(texts[i]) + 1);
        struct lintel_format *format = compile((const char *)text);
        size_t size = lintel_format_size(format);
        size_t count = lintel_format_count(format);
        const uint8_t zeros[64] = {0};
        uint8_t *bytes = guard_copy(zeros, size);
        struct lintel_value values[16];
        if (size > 1)
            memset(bytes, 0x41, size);
        assert_int_equal(lintel_format_unpack(format, values, count, bytes, size, NULL), LINTEL_OK);
        for (size_t j = 0; j < count; j++)
            if (values[j].kind == LINTEL_BYTES)
                values[j] = lintel_text("x");
        assert_int_equal(lintel_format_pack(format, bytes, size, values, count, NULL), LINTEL_OK);
        assert_int_equal(lintel_pack_values(bytes, size, (const char *)text, values, count, NULL),
                         LINTEL_OK);
        lintel_format_free(format);
        guard_free(bytes, size);
        guard_free(text, strlen(texts[i]) + 1);
    }
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Where a page that may not be touched follows: room for bytes and for values, seen from its end.
 */
#define PLAN_VALUES 256
#define PLAN_BYTES  512
struct plan_room {
    uint8_t *values;
    uint8_t *bytes;
};

static void plan_room_init(struct plan_room *room)
{
    static const uint8_t zeros[PLAN_VALUES * sizeof(struct lintel_value)];
    room->values = guard_copy(zeros, sizeof zeros);
    room->bytes = guard_copy(zeros, PLAN_BYTES);
}

static void plan_room_fini(struct plan_room *room)
{
    guard_free(room->values, PLAN_VALUES * sizeof(struct lintel_value));
    guard_free(room->bytes, PLAN_BYTES);
}

static void expect_plan_unpacks(const struct plan_room *room, const struct lintel_format *format,
                                const char *text, const uint8_t *from)
{
    struct lintel_value wanted[PLAN_VALUES];
    struct lintel_value *first = (void *)room->values; /* the last one that is not ours to write */
    struct lintel_value *values = first + PLAN_VALUES - format->count;
    uint8_t *bytes = room->bytes + PLAN_BYTES - format->size;

    memcpy(bytes, from, format->size);
    memset(first, 0xAA, PLAN_VALUES * sizeof *first);
    lintelp_unpack_items(format, wanted, bytes);
    assert_int_equal(lintel_format_unpack(format, values, format->count, bytes, format->size, NULL),
                     LINTEL_OK);
    for (size_t i = 0; i < format->count; i++)
        if (values[i].kind != wanted[i].kind || values[i].as.u != wanted[i].as.u ||
            values[i].size != 0)
            fail_msg("%s: value %zu", text, i + 1);
    if (format->count < PLAN_VALUES)
        assert_true(values[-1].as.u == 0xAAAAAAAAAAAAAAAA);
}

static int expect_plan_packs(const struct plan_room *room, const struct lintel_format *format,
                             const char *text, const struct lintel_value *from)
{
    struct lintel_value *values = (struct lintel_value *)(void *)room->values;
    uint8_t wanted[PLAN_BYTES];
    uint8_t *out = room->bytes + PLAN_BYTES - format->size;
    struct lintel_error error = {0};
    struct lintel_error got = {0};
    int status;

    values += PLAN_VALUES - format->count;
    memcpy(values, from, format->count * sizeof *values);
    memset(room->bytes, 0xAA, PLAN_BYTES);
    status = lintelp_pack_items(format, wanted, values, &error);
    if (lintel_format_pack(format, out, format->size, values, format->count, &got) != status ||
        got.at != error.at || strcmp(got.text, error.text) != 0)
        fail_msg("%s: %s, not %s", text, got.text, error.text);
    if (status == LINTEL_OK)
        expect_bytes(text, out, wanted, format->size);
    assert_int_equal(out[-1], 0xAA);
    return status;
}

/* Something that may not fit, or is of another kind. */
static struct lintel_value spoil(struct lintel_value value, uint64_t *seed)
{
    switch (random_bits(seed) % 4) {
    case 0:
        return lintel_int(value.as.i);
    case 1:
        return lintel_uint(value.as.u);
    case 2:
        value.as.u ^= (uint64_t)1 << random_bits(seed) % 64;
        return value;
    default:
        return random_bits(seed) % 2 ? lintel_float(1.0) : lintel_text("x");
    }
}

/* What the items do, the plan does, in both directions and with values that are refused. */
static int expect_plan_agrees(const struct plan_room *room, const struct lintel_format *format,
                              const char *text, uint64_t *seed)
{
    uint8_t bytes[PLAN_BYTES];
    struct lintel_value values[PLAN_VALUES];
    int refused = 0;

    for (size_t i = 0; i < format->size; i++)
        bytes[i] = (uint8_t)random_bits(seed);
    expect_plan_unpacks(room, format, text, bytes);
    lintelp_unpack_items(format, values, bytes);
    assert_int_equal(expect_plan_packs(room, format, text, values), LINTEL_OK);
    for (int i = 0; i < 8 && format->count > 0; i++) {
        size_t which = (size_t)(random_bits(seed) % format->count);
        struct lintel_value before = values[which];
        values[which] = spoil(before, seed);
        refused += expect_plan_packs(room, format, text, values) < 0;
        values[which] = before;
    }
    return refused;
}

static int vectors_are_here(void)
{
    struct lintel_format *format = compile("!HBBIII");
    int here = format->pairs_count > 0;
    lintel_format_free(format);
    return here;
}

/* The plan with vectors, the one without, and the items agree on random formats of integers. */
static void plan_agrees_with_the_items(void **state)
{
    static const char codes[] = "bBhHiIlLqQtTx";
    struct plan_room room;
    uint64_t seed = 42;
    int plans = 0;
    int vectors = 0;
    int refused = 0;
    (void)state;

    plan_room_init(&room);
    for (int round = 0; round < 20000; round++) {
        char text[64] = {"<>!="[random_bits(&seed) % 4]};
        size_t length = 1;
        struct lintel_format *format;
        for (uint64_t n = 1 + random_bits(&seed) % 8; n > 0; n--) {
            if (random_bits(&seed) % 4 == 0)
                text[length++] = (char)('0' + random_bits(&seed) % 10);
            text[length++] = codes[random_bits(&seed) % (sizeof codes - 1)];
        }
        format = compile(text);
        plans += format->last_bytes > 0;
        if (format->pairs_count > 0) {
            vectors++;
            refused += expect_plan_agrees(&room, format, text, &seed);
            format->pairs_count = 0;
        }
        refused += expect_plan_agrees(&room, format, text, &seed);
        lintel_format_free(format);
    }
    plan_room_fini(&room);
    assert_true(plans > 10000);
    assert_true(refused > 10000);
    assert_true(vectors > 3000 || !vectors_are_here());
}

/* Every size and every number of values that goes into one vector. */
static void plan_with_vectors_takes_every_size(void **state)
{
    static const char *const fills[] = {"B", "b", "xB", "bx"};
    struct plan_room room;
    uint64_t seed = 7;
    (void)state;

    plan_room_init(&room);
    for (size_t size = 8; size <= 16; size++)
        for (size_t wide = 0; wide <= size / 2; wide++)
            for (size_t i = 0; i < 2 * COUNT(fills); i++) {
                const char *fill = fills[i / 2];
                char text[64] = {"<>"[i % 2]};
                size_t bytes = size - 2 * wide;
                struct lintel_format *format;
                for (size_t n = 0; n < wide; n++)
                    strcat(text, n % 2 ? "h" : "H");
                for (size_t n = 0; n < bytes / strlen(fill); n++)
                    strcat(text, fill);
                if (bytes % strlen(fill) != 0)
                    strcat(text, "B");
                format = compile(text);
                assert_int_equal(format->size, size);
                if (format->count >= 2 && vectors_are_here())
                    assert_int_equal(format->pairs_count, (format->count + 1) / 2);
                expect_plan_agrees(&room, format, text, &seed);
                lintel_format_free(format);
            }
    plan_room_fini(&room);
}

/* An allocator whose blocks are aligned for the widest integers, and no more. */
static void *resize_askew(void *user, void *ptr, size_t size)
{
    uint64_t *block = ptr != NULL ? (uint64_t *)ptr - *(const size_t *)user : NULL;

    if (size == 0) {
        free(block);
        return NULL;
    }
    block = realloc(block, size + 16);
    return block != NULL ? block + *(const size_t *)user : NULL;
}

static void plan_is_aligned_whatever_the_allocator_gives(void **state)
{
    struct plan_room room;
    uint64_t seed = 1;
    (void)state;

    plan_room_init(&room);
    for (size_t words = 0; words < 2; words++) {
        const struct lintel_allocator allocator = {resize_askew, &words};
        struct lintel_format *format;
        assert_int_equal(lintel_format_new(&format, "!HBBIII", &allocator, NULL), LINTEL_OK);
        expect_plan_agrees(&room, format, "!HBBIII", &seed);
        lintel_format_free(format);
    }
    plan_room_fini(&room);
}

static void plan_is_made_for_a_few_integers_only(void **state)
{
    static const struct {
        const char *text;
        int plan;
    } rows[] = {
        {"!HBBIII", 1}, {"<64B", 1},  {"<65B", 0}, {"!B7x", 1}, {"!B8x", 0},
        {"!Q8xB", 0},   {"!B7xQ", 1}, {"!4xQ", 0}, {"!4x", 0},  {"", 0},
        {"!Hs", 0},     {"!H?", 0},   {"!f", 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lintel_format *format = compile(rows[i].text);
        if ((format->last_bytes > 0) != rows[i].plan)
            fail_msg("%s: plan %d", rows[i].text, !rows[i].plan);
        lintel_format_free(format);
    }
}

/* ---- the macros ------------------------------------------------------------------------------ */

#define PACKS(format, hex, ...)                                                         \
    do {                                                                                \
        struct bytes wanted_ = from_hex(hex);                                           \
        uint8_t out_[64];                                                               \
        struct lintel_error error_ = {0};                                               \
        if (lintel_pack(out_, wanted_.size, &error_, format, __VA_ARGS__) != LINTEL_OK) \
            fail_msg("%s: %s", format, error_.text);                                    \
        expect_bytes(format, out_, wanted_.data, wanted_.size);                         \
        free(wanted_.data);                                                             \
    } while (0)

static void pack_knows_the_type_of_each_argument(void **state)
{
    char text[] = "text";
    const char *constant = "constant";
    const struct lintel_value bytes = lintel_bytes("\0\1", 2);
    uint16_t u16 = 0xFEDC;
    int counter = 0;
    (void)state;

    PACKS("!3?", "010001", (_Bool)1, (_Bool)0, 7);
    PACKS("!2b2B", "7f807f80", (char)127, (signed char)-128, (char)127, (unsigned char)128);
    PACKS("!2hH", "7fff8000fedc", (short)32767, (short)-32768, u16);
    PACKS("!iI", "80000000ffffffff", INT_MIN, UINT_MAX);
    PACKS("!2q", "ffffffffffffffffffffffffffffffff", -1l, -1ll);
    PACKS("!2Q", "00000000ffffffffffffffffffffffff", (unsigned long)UINT32_MAX, ULLONG_MAX);
    PACKS("!eff", "3c003fc00000bf800000", 1.0f, 1.5, -1);
    PACKS("!4s3s2s3p", "74657874 636f6e 6c69 026c69", text, constant, "literal", "literal");
    PACKS("!2s3p", "0001 020001", bytes, bytes);
    PACKS("!tT", "ffffff010000", -1, 65536);
    PACKS("!B2x", "010000", ++counter);
    assert_int_equal(counter, 1);
    PACKS("!32B", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0, 1, 2, 3, 4,
          5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
          29, 30, 31);
}

static void pack_takes_characters_for_c(void **state)
{
    struct lintel_error error;
    uint8_t out[1];
    (void)state;

    PACKS("!4c", "51 ff ff 51", 'Q', 255, (signed char)-1, "Q");
    PACKS("!c", "80", -128);
    assert_int_equal(lintel_pack(out, 1, &error, "!c", 256), LINTEL_E_RANGE);
    assert_string_equal(error.text, "value 1, for 'c' at column 2: not in -128 to 255");
    assert_int_equal(lintel_pack(out, 1, &error, "!c", -129), LINTEL_E_RANGE);
    assert_int_equal(lintel_pack(out, 1, &error, "!c", "QQ"), LINTEL_E_RANGE);
}

static void pack_takes_pointers(void **state)
{
    int it = 0;
    uint8_t out[sizeof(void *)];
    void *back;
    const void *constant = &it;
    (void)state;

    assert_int_equal(lintel_pack(out, sizeof out, NULL, "P", (void *)&it), LINTEL_OK);
    assert_memory_equal(out, &constant, sizeof constant);
    assert_int_equal(lintel_pack(out, sizeof out, NULL, "P", constant), LINTEL_OK);
    assert_int_equal(lintel_unpack(out, sizeof out, NULL, "P", &back), LINTEL_OK);
    assert_ptr_equal(back, &it);
}

static void pack_refuses_what_does_not_fit(void **state)
{
    struct lintel_error error;
    uint8_t out[8];
    (void)state;

    assert_int_equal(lintel_pack(out, 8, &error, "!HB", 1, 256), LINTEL_E_RANGE);
    assert_string_equal(error.text, "value 2, for 'B' at column 3: 256 is not in 0 to 255");
    assert_int_equal(lintel_pack(out, 8, &error, "!HB", 1), LINTEL_E_COUNT);
    assert_int_equal(lintel_pack(out, 8, &error, "!HB", 1, 2, 3), LINTEL_E_COUNT);
    assert_int_equal(lintel_pack(out, 8, &error, "!HB"), LINTEL_E_COUNT);
    assert_int_equal(lintel_pack(out, 2, &error, "!HB", 1, 2), LINTEL_E_SPACE);
    assert_int_equal(lintel_pack(out, 8, &error, "!H", 1.0), LINTEL_E_RANGE);
    assert_int_equal(lintel_pack(out, 8, &error, "!H", "1"), LINTEL_E_RANGE);
    assert_int_equal(lintel_pack(out, 8, &error, "!s", (const char *)NULL), LINTEL_E_RANGE);
    assert_int_equal(lintel_pack(out, 8, &error, "!y", 1), LINTEL_E_SYNTAX);
    assert_int_equal(error.at, 2);
}

static void unpack_stores_into_each_type(void **state)
{
    static const uint8_t bytes[] = {1,    0x80, 0x81, 0xFF, 0xFE, 0xFF, 0xFD, 0xFF,
                                    0xFF, 0xFF, 0xFC, 0xFF, 0xFF, 0xFF, 0xFB, 0x3F,
                                    0xC0, 0,    0,    0x3C, 0,    'h',  'i',  0,
                                    0,    'o',  'k',  3,    'a',  'b',  'c'};
    _Bool b;
    signed char sc;
    unsigned char uc;
    short h;
    unsigned short uh;
    int i;
    unsigned int u;
    float f;
    double d;
    const char *text;
    struct lintel_value s;
    struct lintel_value p;
    struct lintel_error error;
    (void)state;

    if (lintel_unpack(bytes, sizeof bytes, &error, "!?bBhHiIfe4s2s4p", &b, &sc, &uc, &h, &uh, &i,
                      &u, &f, &d, &text, &s, &p) != LINTEL_OK)
        fail_msg("%s", error.text);
    assert_true(b);
    assert_int_equal(sc, -128);
    assert_int_equal(uc, 0x81);
    assert_int_equal(h, -2);
    assert_int_equal(uh, 0xFFFD);
    assert_int_equal(i, -4);
    assert_true(u == 0xFFFFFFFB);
    assert_true(f == 1.5f && d == 1.0);
    assert_string_equal(text, "hi");
    assert_ptr_equal(text, bytes + 21);
    assert_true(s.kind == LINTEL_BYTES && s.size == 2 && s.as.bytes == bytes + 25);
    assert_true(p.kind == LINTEL_BYTES && p.size == 3 && p.as.bytes == bytes + 28);
}

static void unpack_stores_into_wider_types(void **state)
{
    long l;
    unsigned long ul;
    long long q;
    unsigned long long uq;
    char c;
    struct lintel_value value;
    (void)state;

    assert_int_equal(
        lintel_unpack("\xFF\x80\xFF\xFE\x41\x7F", 6, NULL, "!bBbBcB", &l, &ul, &q, &uq, &c, &value),
        LINTEL_OK);
    assert_true(l == -1 && ul == 0x80 && q == -1 && uq == 0xFE && c == 'A');
    assert_true(value.kind == LINTEL_UINT && value.as.u == 0x7F);
    assert_int_equal(lintel_unpack("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                                   "\x80\0\0\0\0\0\0\0",
                                   16, NULL, "!Qq", &uq, &q),
                     LINTEL_OK);
    assert_true(uq == UINT64_MAX && q == INT64_MIN);
}

static void unpack_takes_c_into_any_integer(void **state)
{
    signed char sc;
    unsigned char uc;
    int i;
    struct lintel_value value;
    (void)state;

    assert_int_equal(lintel_unpack("\xFF\xFF\xFF\xFF", 4, NULL, "!4c", &sc, &uc, &i, &value),
                     LINTEL_OK);
    assert_true(sc == -1 && uc == 255 && i == 255);
    assert_true(value.kind == LINTEL_BYTES && value.size == 1);
}

/* Each is refused with its number, and what came before it is not stored. */
#define UNPACK_REFUSES(format, bytes, type)                                                      \
    do {                                                                                         \
        uint8_t first_ = 0x77;                                                                   \
        type second_;                                                                            \
        type copy_;                                                                              \
        struct lintel_error error_;                                                              \
        memset(&second_, 0x66, sizeof second_);                                                  \
        memcpy(&copy_, &second_, sizeof copy_);                                                  \
        if (lintel_unpack("\1" bytes, sizeof(bytes), &error_, "!B" format, &first_, &second_) != \
            LINTEL_E_RANGE)                                                                      \
            fail_msg("%s into %s is not refused", format, #type);                                \
        assert_non_null(strstr(error_.text, "value 2, for '"));                                  \
        assert_int_equal(first_, 0x77);                                                          \
        assert_memory_equal(&second_, &copy_, sizeof copy_);                                     \
    } while (0)

static void unpack_refuses_what_the_variable_cannot_hold(void **state)
{
    (void)state;
    UNPACK_REFUSES("H", "\1\0", uint8_t);
    UNPACK_REFUSES("H", "\0\x80", signed char);
    UNPACK_REFUSES("h", "\xFF\x7F", signed char);
    UNPACK_REFUSES("b", "\xFF", uint8_t);
    UNPACK_REFUSES("b", "\xFF", uint64_t);
    UNPACK_REFUSES("I", "\x80\0\0\0", int32_t);
    UNPACK_REFUSES("I", "\0\1\0\0", uint16_t);
    UNPACK_REFUSES("I", "\0\0\x80\0", int16_t);
    UNPACK_REFUSES("Q", "\x80\0\0\0\0\0\0\0", int64_t);
    UNPACK_REFUSES("Q", "\0\0\0\1\0\0\0\0", uint32_t);
    UNPACK_REFUSES("q", "\xFF\xFF\xFF\xFF\x7F\xFF\xFF\xFF", int32_t);
    UNPACK_REFUSES("B", "\2", _Bool);
    UNPACK_REFUSES("b", "\xFF", _Bool);
    UNPACK_REFUSES("d", "\x3F\xB9\x99\x99\x99\x99\x99\x9A", float);
    UNPACK_REFUSES("d", "\x7F\xEF\xFF\xFF\xFF\xFF\xFF\xFF", float);
    UNPACK_REFUSES("f", "\x3F\x80\0\0", int);
    UNPACK_REFUSES("B", "\1", double);
    UNPACK_REFUSES("2s", "ab", int);
    UNPACK_REFUSES("c", "a", double);
    UNPACK_REFUSES("H", "ab", const char *);
}

static void unpack_lends_a_text_only_where_it_ends(void **state)
{
    const char *text;
    (void)state;

    UNPACK_REFUSES("2s", "ab", const char *);
    UNPACK_REFUSES("4s", "a\0b\0", const char *);
    UNPACK_REFUSES("0s", "", const char *);
    UNPACK_REFUSES("c", "a", const char *);
    UNPACK_REFUSES("3p", "\2ab", const char *);
    UNPACK_REFUSES("3p", "\1ab", const char *);
    UNPACK_REFUSES("4p", "\3a\0b", const char *);
    UNPACK_REFUSES("p", "\0", const char *);
    assert_int_equal(lintel_unpack("ab\0", 3, NULL, "3s", &text), LINTEL_OK);
    assert_string_equal(text, "ab");
    assert_int_equal(lintel_unpack("\0\0", 2, NULL, "2s", &text), LINTEL_OK);
    assert_string_equal(text, "");
    assert_int_equal(lintel_unpack("\2ab\0", 4, NULL, "4p", &text), LINTEL_OK);
    assert_string_equal(text, "ab");
    assert_int_equal(lintel_unpack("\0\0", 2, NULL, "2p", &text), LINTEL_OK);
    assert_string_equal(text, "");
}

static void unpack_stores_doubles_that_a_float_can_hold(void **state)
{
    float f;
    float g;
    (void)state;

    assert_int_equal(
        lintel_unpack("\x3F\xF8\0\0\0\0\0\0\xFF\xF0\0\0\0\0\0\0", 16, NULL, "!2d", &f, &g),
        LINTEL_OK);
    assert_true(f == 1.5f && g < -3.4e38f);
    assert_int_equal(lintel_unpack("\x7F\xF8\0\0\0\0\0\1", 8, NULL, "!d", &f), LINTEL_OK);
    assert_true(f != f);
    assert_int_equal(lintel_unpack("\x36\xA0\0\0\0\0\0\0", 8, NULL, "!d", &f), LINTEL_OK);
    assert_true(f == 0x1p-149f);
}

static void unpack_refuses_wrong_counts_and_sizes(void **state)
{
    uint8_t a;
    uint8_t b;
    struct lintel_error error;
    (void)state;

    assert_int_equal(lintel_unpack("ab", 2, &error, "!BB", &a), LINTEL_E_COUNT);
    assert_string_equal(error.text, "the number of values is 2, not 1");
    assert_int_equal(lintel_unpack("ab", 2, &error, "!BB"), LINTEL_E_COUNT);
    assert_int_equal(lintel_unpack("ab", 2, &error, "!B", &a, &b), LINTEL_E_COUNT);
    assert_int_equal(lintel_unpack("ab", 1, &error, "!BB", &a, &b), LINTEL_E_SPACE);
    assert_int_equal(lintel_unpack("ab", 3, &error, "!BB", &a, &b), LINTEL_E_SPACE);
    assert_int_equal(lintel_unpack("ab", 2, &error, "!BB", &a, (uint8_t *)NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_unpack("ab", 2, &error, "!By", &a, &b), LINTEL_E_SYNTAX);
}

/* ---- accessors ------------------------------------------------------------------------------- */

/* Put and get at an odd address, against bytes made the slow way. */
#define TRY_ACCESSORS(name, type, bytes, little, value)       \
    do {                                                      \
        uint8_t put_[10];                                     \
        uint8_t wanted_[10];                                  \
        memset(put_, 0xAA, sizeof put_);                      \
        memset(wanted_, 0xAA, sizeof wanted_);                \
        spell(wanted_ + 1, (uint64_t)(value), bytes, little); \
        lintel_put_##name(put_ + 1, (type)(value));           \
        expect_bytes(#name, put_, wanted_, sizeof put_);      \
        if (lintel_get_##name(put_ + 1) != (type)(value))     \
            fail_msg("lintel_get_%s", #name);                 \
    } while (0)
#define TRY_INTEGERS(bits, holds)                                                                \
    do {                                                                                         \
        const uint64_t patterns_[] = {0, 1, 0x0123456789ABCDEF, UINT64_MAX, 0x8081828384858687}; \
        for (size_t i_ = 0; i_ < COUNT(patterns_); i_++) {                                       \
            uint64_t u_ = patterns_[i_] >> (64 - (bits));                                        \
            uint64_t sign_ = (uint64_t)1 << ((bits)-1);                                          \
            int64_t s_ = (int64_t)((u_ ^ sign_) - sign_);                                        \
            TRY_ACCESSORS(u##bits##be, uint##holds##_t, bits / 8, 0, u_);                        \
            TRY_ACCESSORS(u##bits##le, uint##holds##_t, bits / 8, 1, u_);                        \
            TRY_ACCESSORS(i##bits##be, int##holds##_t, bits / 8, 0, s_);                         \
            TRY_ACCESSORS(i##bits##le, int##holds##_t, bits / 8, 1, s_);                         \
        }                                                                                        \
    } while (0)

static void accessors_read_and_write_integers(void **state)
{
    (void)state;
    TRY_ACCESSORS(u8, uint8_t, 1, 0, 0xFE);
    TRY_ACCESSORS(i8, int8_t, 1, 0, -2);
    TRY_INTEGERS(16, 16);
    TRY_INTEGERS(24, 32);
    TRY_INTEGERS(32, 32);
    TRY_INTEGERS(64, 64);
}

static void accessors_read_and_write_floats(void **state)
{
    uint8_t bytes[8];
    (void)state;

    lintel_put_f32be(bytes, 1.5f);
    assert_memory_equal(bytes, "\x3F\xC0\0\0", 4);
    assert_true(lintel_get_f32be(bytes) == 1.5f);
    lintel_put_f32le(bytes, -1.5f);
    assert_memory_equal(bytes, "\0\0\xC0\xBF", 4);
    assert_true(lintel_get_f32le(bytes) == -1.5f);
    lintel_put_f64be(bytes, 1.5);
    assert_memory_equal(bytes, "\x3F\xF8\0\0\0\0\0\0", 8);
    assert_true(lintel_get_f64be(bytes) == 1.5);
    lintel_put_f64le(bytes, -1.5);
    assert_memory_equal(bytes, "\0\0\0\0\0\0\xF8\xBF", 8);
    assert_true(lintel_get_f64le(bytes) == -1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_size_is_that_of_struct),
        cmocka_unit_test(format_native_order_follows_the_abi),
        cmocka_unit_test(format_refuses_with_the_column),
        cmocka_unit_test(format_size_overflows_exactly),
        cmocka_unit_test(format_code_names_each_value),
        cmocka_unit_test(integer_codes_take_their_range_and_no_more),
        cmocka_unit_test(integer_refusal_names_the_range),
        cmocka_unit_test(pointer_takes_either_sign),
        cmocka_unit_test(values_of_the_wrong_kind_are_refused),
        cmocka_unit_test(bool_takes_anything_and_gives_0_or_1),
        cmocka_unit_test(strings_are_cut_and_filled_to_their_width),
        cmocka_unit_test(pascal_length_is_at_most_255),
        cmocka_unit_test(strings_unpack_as_views),
        cmocka_unit_test(padding_is_zeros),
        cmocka_unit_test(floats_round_to_nearest_even),
        cmocka_unit_test(floats_that_are_too_large_are_refused),
        cmocka_unit_test(nans_keep_sign_and_upper_bits),
        cmocka_unit_test(nans_go_there_and_back),
        cmocka_unit_test(halves_go_there_and_back),
        cmocka_unit_test(singles_round_as_the_processor_does),
        cmocka_unit_test(pack_refuses_a_wrong_count_before_all_else),
        cmocka_unit_test(pack_needs_room_and_writes_no_more_than_its_size),
        cmocka_unit_test(unpack_wants_exactly_its_size),
        cmocka_unit_test(misuse_is_a_status),
        cmocka_unit_test(nothing_packs_to_nothing),
        cmocka_unit_test(format_new_survives_failing_memory),
        cmocka_unit_test(format_new_allocates_by_the_text_not_by_its_counts),
        cmocka_unit_test(nothing_is_touched_past_the_end),
        cmocka_unit_test(plan_agrees_with_the_items),
        cmocka_unit_test(plan_with_vectors_takes_every_size),
        cmocka_unit_test(plan_is_aligned_whatever_the_allocator_gives),
        cmocka_unit_test(plan_is_made_for_a_few_integers_only),
        cmocka_unit_test(pack_knows_the_type_of_each_argument),
        cmocka_unit_test(pack_takes_characters_for_c),
        cmocka_unit_test(pack_takes_pointers),
        cmocka_unit_test(pack_refuses_what_does_not_fit),
        cmocka_unit_test(unpack_stores_into_each_type),
        cmocka_unit_test(unpack_stores_into_wider_types),
        cmocka_unit_test(unpack_takes_c_into_any_integer),
        cmocka_unit_test(unpack_refuses_what_the_variable_cannot_hold),
        cmocka_unit_test(unpack_lends_a_text_only_where_it_ends),
        cmocka_unit_test(unpack_stores_doubles_that_a_float_can_hold),
        cmocka_unit_test(unpack_refuses_wrong_counts_and_sizes),
        cmocka_unit_test(accessors_read_and_write_integers),
        cmocka_unit_test(accessors_read_and_write_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
