/*
 * The C side of check-struct: reads a case a line, answers a line, all fields separated by blanks.
 *
 *     C FORMAT            ok SIZE COUNT
 *     P FORMAT VALUE...   ok HEX
 *     U FORMAT HEX        ok VALUE...
 *                         or: NAME-OF-STATUS COLUMN
 *
 * FORMAT is in hex. HEX is in hex behind a '.'. A VALUE is u and a number, i and a number, f and
 * the bits of a double in hex, b and bytes in hex. Every case goes through the compiled format,
 * once more without its plan for vectors if it has one, and through the faces that do not compile;
 * where they disagree the answer is "differ".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pack.h"

#define LINE_MAX_BYTES 65536
#define VALUES_MAX     8192
#define BYTES_MAX      16384

static char line[LINE_MAX_BYTES];
static uint8_t storage[LINE_MAX_BYTES];
static size_t stored;

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Bytes out of hex digits, kept in storage with a NUL behind them. */
static uint8_t *read_hex(const char *hex, size_t *size)
{
    uint8_t *bytes = storage + stored;

    for (*size = 0; hex[0] != '\0'; hex += 2)
        bytes[(*size)++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
    bytes[*size] = 0;
    stored += *size + 1;
    return bytes;
}

static struct lintel_value read_value(const char *word)
{
    struct lintel_value value;
    size_t size;

    switch (word[0]) {
    case 'u':
        return lintel_uint(strtoull(word + 1, NULL, 10));
    case 'i':
        return lintel_int(strtoll(word + 1, NULL, 10));
    case 'f':
        value = lintel_float(0);
        value.as.u = strtoull(word + 1, NULL, 16);
        return value;
    default:
        value.as.bytes = read_hex(word + 1, &size);
        return lintel_bytes(value.as.bytes, size);
    }
}

static void print_hex(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", ((const uint8_t *)bytes)[i]);
}

static void print_value(const struct lintel_value *value)
{
    if (value->kind == LINTEL_UINT)
        printf(" u%" PRIu64, value->as.u);
    else if (value->kind == LINTEL_INT)
        printf(" i%" PRId64, value->as.i);
    else if (value->kind == LINTEL_FLOAT)
        printf(" f%016" PRIx64, value->as.u);
    else {
        printf(" b");
        print_hex(value->as.bytes, value->size);
    }
}

static int same_value(const struct lintel_value *a, const struct lintel_value *b)
{
    return a->kind == b->kind && a->size == b->size && a->as.u == b->as.u;
}

static void print_failure(const struct lintel_error *error)
{
    printf("%s %" PRIu64 " %s\n", lintel_status_name(error->status), error->at, error->text);
}

/* The two faces differ on purpose in one thing only: an integer for `c`. */
static int same_result(int compiled, int direct, const struct lintel_error *error)
{
    return compiled == direct || (compiled == LINTEL_E_RANGE && direct != LINTEL_E_RANGE &&
                                  strstr(error->text, "'c'") != NULL);
}

/* The plan without vectors gives the same status, text and bytes. */
static int same_without_vectors(const struct lintel_format *format, int status, const uint8_t *out,
                                size_t room, const struct lintel_value *values, size_t count,
                                const struct lintel_error *error)
{
    static uint8_t plain[BYTES_MAX];
    struct lintel_format without = *format;
    struct lintel_error other;

    without.pairs_count = 0;
    return lintel_format_pack(&without, plain, room, values, count, &other) == status &&
           (status < 0 ? strcmp(other.text, error->text) == 0
                       : memcmp(plain, out, format->size) == 0);
}

static void do_pack(const char *text, const struct lintel_format *format,
                    const struct lintel_value *values, size_t count)
{
    static uint8_t out[BYTES_MAX];
    static uint8_t direct[BYTES_MAX];
    struct lintel_error error;
    struct lintel_error other;
    size_t size = lintel_format_size(format);
    size_t room = size < sizeof out ? size : sizeof out;
    int status;
    int direct_status;

    memset(out, 0xAA, sizeof out);
    memset(direct, 0x55, sizeof direct);
    status = lintel_format_pack(format, out, room, values, count, &error);
    direct_status = lintel_pack_values(direct, room, text, values, count, &other);
    if (!same_result(status, direct_status, &error) ||
        (status == LINTEL_OK && memcmp(out, direct, size) != 0)) {
        printf("differ: %d and %d\n", status, direct_status);
        return;
    }
    if (!same_without_vectors(format, status, out, room, values, count, &error)) {
        printf("differ: with vectors and without\n");
        return;
    }
    if (status < 0) {
        print_failure(&error);
        return;
    }
    printf("ok .");
    print_hex(out, size);
    printf("\n");
}

static void do_unpack(const char *text, const struct lintel_format *format, const void *bytes,
                      size_t size)
{
    static struct lintel_value values[VALUES_MAX];
    static struct lintel_value direct[VALUES_MAX];
    static struct lintel_value plain[VALUES_MAX];
    static struct lintel_target targets[VALUES_MAX];
    struct lintel_format without = *format;
    struct lintel_error error;
    size_t count = lintel_format_count(format);
    int status;

    if (count > VALUES_MAX) {
        printf("differ: too many values for this driver\n");
        return;
    }
    for (size_t i = 0; i < count; i++)
        targets[i] = (struct lintel_target){&direct[i], sizeof direct[i], LINTEL_TO_VALUE};
    status = lintel_format_unpack(format, values, count, bytes, size, &error);
    if (status != lintel_unpack_targets(targets, count, bytes, size, text, NULL)) {
        printf("differ: %d\n", status);
        return;
    }
    if (status < 0) {
        print_failure(&error);
        return;
    }
    without.pairs_count = 0;
    if (lintel_format_unpack(&without, plain, count, bytes, size, NULL) != LINTEL_OK) {
        printf("differ: without vectors\n");
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (!same_value(&values[i], &direct[i]) || !same_value(&values[i], &plain[i])) {
            printf("differ: value %zu\n", i + 1);
            return;
        }
    printf("ok");
    for (size_t i = 0; i < count; i++)
        print_value(&values[i]);
    printf("\n");
}

static void do_line(void)
{
    static struct lintel_value values[VALUES_MAX];
    const char *verb = strtok(line, " \n");
    const char *hex = strtok(NULL, " \n");
    struct lintel_format *format;
    struct lintel_error error;
    const char *text;
    const char *word;
    size_t count = 0;
    size_t size;
    size_t direct;
    int status;

    stored = 0;
    text = (const char *)read_hex(hex + 1, &size);
    status = lintel_format_new(&format, text, NULL, &error);
    if (status != lintel_calcsize(&direct, text, NULL)) {
        printf("differ: calcsize\n");
        return;
    }
    if (status < 0) {
        print_failure(&error);
        return;
    }
    if (verb[0] == 'C')
        printf("ok %zu %zu\n", lintel_format_size(format), lintel_format_count(format));
    if (verb[0] == 'P') {
        while ((word = strtok(NULL, " \n")) != NULL && count < VALUES_MAX)
            values[count++] = read_value(word);
        do_pack(text, format, values, count);
    }
    if (verb[0] == 'U') {
        const void *bytes = read_hex(strtok(NULL, " \n") + 1, &size);
        do_unpack(text, format, bytes, size);
    }
    lintel_format_free(format);
}

int main(void)
{
    while (fgets(line, sizeof line, stdin) != NULL)
        do_line();
    return 0;
}
