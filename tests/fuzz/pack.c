/*
 * The format language: compile, size, pack, unpack, and round trips, by all faces of pack.h, which
 * must agree.
 *
 *     input:  the format, up to a NUL or a newline; then values; what is left is unpacked
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#define VALUES_MAX ((size_t)300)
#define BYTES_MAX  ((size_t)4096)

/* The same value to the last bit. */
static int identical(const struct lintel_value *a, const struct lintel_value *b)
{
    if (a->kind != b->kind || a->size != b->size)
        return 0;
    if (a->kind == LINTEL_BYTES)
        return a->size == 0 || memcmp(a->as.bytes, b->as.bytes, a->size) == 0;
    return a->as.u == b->as.u;
}

static struct lintel_value value_for(struct input *in, char code)
{
    uint64_t number;
    int64_t integer;
    double real;
    size_t size;
    const uint8_t *bytes;

    switch (code) {
    case 'c':
        bytes = input_take(in, 1, &size);
        return lintel_bytes(bytes, size);
    case 's':
    case 'p':
        bytes = input_take(in, input_byte(in), &size);
        return lintel_bytes(bytes, size);
    case 'e':
    case 'f':
    case 'd':
        number = input_number(in);
        memcpy(&real, &number, sizeof real);
        return lintel_float(number < 0x10000 ? (double)number / 16 - 1000 : real);
    case 'b':
    case 'h':
    case 't':
    case 'i':
    case 'l':
    case 'q':
    case 'n':
        number = input_number(in);
        number = number & 1 ? ~(number >> 1) : number >> 1;
        memcpy(&integer, &number, sizeof integer);
        return lintel_int(integer);
    default:
        return lintel_uint(input_number(in));
    }
}

/* ---- the faces agree ------------------------------------------------------------------------- */

static void check_asking(const struct lintel_format *format, size_t size)
{
    size_t count = lintel_format_count(format);

    CHECK(lintel_format_size(format) == size);
    CHECK(lintel_format_code(format, count) == '\0');
    for (size_t i = 0; i < count && i < VALUES_MAX; i++)
        CHECK(strchr("cbB?hHiIlLqQnNPTtefdsp", lintel_format_code(format, i)) != NULL &&
              lintel_format_code(format, i) != '\0');
}

/* Compiled and at once. `c` takes a number only at once, so there the two may differ. */
static int pack_both(const struct lintel_format *format, const char *text, uint8_t *out,
                     const struct lintel_value *values, size_t count)
{
    size_t size = lintel_format_size(format);
    uint8_t *other = copy_of(out, size);
    struct lintel_error error, other_error;
    int rc, other_rc, number_for_c = 0;

    memset(out, 0xA5, size);
    memset(other, 0x5A, size);
    rc = lintel_format_pack(format, out, size, values, count, &error);
    other_rc = lintel_pack_values(other, size, text, values, count, &other_error);
    for (size_t i = 0; i < count && i < lintel_format_count(format); i++)
        number_for_c |= lintel_format_code(format, i) == 'c' && values[i].kind != LINTEL_BYTES;
    if (rc < 0)
        check_error(&error, rc);
    if (!number_for_c) {
        CHECK(rc == other_rc);
        CHECK(rc == LINTEL_OK ? memcmp(out, other, size) == 0
                              : strcmp(error.text, other_error.text) == 0);
    }
    free(other);
    return rc;
}

/* Any format of a size that can be had: all values as they are, or a refusal. */
static void unpack_both(const struct lintel_format *format, const char *text,
                        struct lintel_value *values, const uint8_t *bytes)
{
    static const struct lintel_value zero;
    size_t count = lintel_format_count(format), size = lintel_format_size(format);
    struct lintel_value others[VALUES_MAX];
    struct lintel_target targets[VALUES_MAX];

    CHECK(lintel_format_unpack(format, values, count, bytes, size, NULL) == LINTEL_OK);
    for (size_t i = 0; i < count; i++) {
        others[i] = zero;
        targets[i] = (struct lintel_target){&others[i], sizeof others[i], LINTEL_TO_VALUE};
    }
    CHECK(lintel_unpack_targets(targets, count, bytes, size, text, NULL) == LINTEL_OK);
    for (size_t i = 0; i < count; i++)
        CHECK(identical(&values[i], &others[i]));
}

/* Into variables of any type: all are written, or none. */
static void unpack_wild(struct input *in, const char *text, size_t count, const uint8_t *bytes,
                        size_t size)
{
    static const uint8_t sizes[] = {1, 2, 4, 8, 3, sizeof(void *), sizeof(struct lintel_value), 1};
    struct lintel_target targets[VALUES_MAX];
    uint8_t *variables[VALUES_MAX];
    struct lintel_error error;
    int rc;

    for (size_t i = 0; i < count; i++) {
        uint8_t what = input_byte(in);
        targets[i].size = sizes[what >> 3 & 7];
        targets[i].type = (enum lintel_target_type)(what % (LINTEL_TO_VALUE + 1));
        variables[i] = copy_of("\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5"
                               "\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5",
                               targets[i].size);
        targets[i].to = variables[i];
    }
    rc = lintel_unpack_targets(targets, count, bytes, size, text, &error);
    if (rc < 0)
        check_error(&error, rc);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; rc < 0 && j < targets[i].size; j++)
            CHECK(variables[i][j] == 0xA5);
        free(variables[i]);
    }
}

/* ---- round trips ----------------------------------------------------------------------------- */

/* What was unpacked packs to bytes that unpack to the same, and these pack to themselves. */
static void round_trip(const struct lintel_format *format, const char *text,
                       const struct lintel_value *values)
{
    size_t count = lintel_format_count(format), size = lintel_format_size(format);
    struct lintel_value back[VALUES_MAX];
    uint8_t *bytes = calloc(1, size + 1), *again = calloc(1, size + 1);

    CHECK(bytes != NULL && again != NULL);
    CHECK(pack_both(format, text, bytes, values, count) == LINTEL_OK);
    unpack_both(format, text, back, bytes);
    for (size_t i = 0; i < count; i++)
        CHECK(identical(&values[i], &back[i]));
    CHECK(pack_both(format, text, again, back, count) == LINTEL_OK);
    CHECK(memcmp(bytes, again, size) == 0);
    free(again);
    free(bytes);
}

static void with_values(const struct lintel_format *format, const char *text, struct input *in)
{
    size_t count = lintel_format_count(format), size = lintel_format_size(format);
    struct lintel_value values[VALUES_MAX + 1];
    uint8_t wild = input_byte(in);
    uint8_t *bytes = calloc(1, size + 1);

    CHECK(bytes != NULL);
    for (size_t i = 0; i < count; i++)
        values[i] = wild == 0xFF ? input_value(in) : value_for(in, lintel_format_code(format, i));
    if (pack_both(format, text, bytes, values, count) == LINTEL_OK) {
        unpack_both(format, text, values, bytes);
        round_trip(format, text, values);
    }
    values[count] = lintel_uint(0);
    CHECK(lintel_format_pack(format, bytes, size, values, count + 1, NULL) == LINTEL_E_COUNT);
    if (size > 0)
        CHECK(lintel_format_pack(format, bytes, size - 1, values, count, NULL) == LINTEL_E_SPACE);
    free(bytes);
}

static void with_bytes(const struct lintel_format *format, const char *text, struct input *in)
{
    size_t count = lintel_format_count(format), size = lintel_format_size(format), got;
    struct lintel_value values[VALUES_MAX];
    const uint8_t *part = input_take(in, size, &got);
    uint8_t *bytes = copy_of(part, got);

    if (got == size) {
        unpack_both(format, text, values, bytes);
        round_trip(format, text, values);
        unpack_wild(in, text, count, bytes, size);
    } else {
        CHECK(lintel_format_unpack(format, values, count, bytes, got, NULL) == LINTEL_E_SPACE);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct lintel_format *format = NULL;
    struct lintel_error error, sizing;
    struct memory memory;
    size_t total = 0;
    char text[512];
    int rc;

    memory_init(&memory);
    memory.greatest = 128 * 1024;
    input_line(&in, text, sizeof text);
    rc = lintel_format_new(&format, text, &memory.allocator, &error);
    CHECK(rc == lintel_calcsize(&total, text, &sizing));
    if (rc < 0) {
        check_error(&error, rc);
        CHECK(rc == LINTEL_E_SYNTAX && error.at >= 1 && error.at <= strlen(text) + 1);
        CHECK(error.at == sizing.at && strcmp(error.text, sizing.text) == 0);
        CHECK(memory.blocks == 0);
        return 0;
    }
    check_asking(format, total);
    if (lintel_format_count(format) <= VALUES_MAX && total <= BYTES_MAX) {
        with_values(format, text, &in);
        with_bytes(format, text, &in);
    }
    lintel_format_free(format);
    CHECK(memory.blocks == 0);
    return 0;
}
