#include "config.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- numbers --------------------------------------------------------------------------------- */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Digits at the front of a text; *end is what follows them. 0 if there is none, or too many. */
static int read_digits(uint64_t *out, const char **end, const char *text)
{
    uint64_t number = 0;
    int base = 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    if (digit_value(*text) >= base)
        return 0;
    for (; digit_value(*text) < base; text++) {
        unsigned digit = (unsigned)digit_value(*text);
        if (number > (UINT64_MAX - digit) / (unsigned)base)
            return 0;
        number = number * (unsigned)base + digit;
    }
    *out = number;
    *end = text;
    return 1;
}

int tool_read_number(uint64_t *out, const char *text)
{
    const char *end;
    uint64_t number;
    if (!read_digits(&number, &end, text) || *end)
        return 0;
    *out = number;
    return 1;
}

int tool_read_size(uint64_t *out, const char *text)
{
    static const char units[] = "KMG";
    const char *end, *unit;
    uint64_t number;
    if (!read_digits(&number, &end, text))
        return 0;
    if (*end) {
        unit = strchr(units, *end);
        if (!unit || end[1])
            return 0;
        unsigned shift = 10 * ((unsigned)(unit - units) + 1);
        if (number > UINT64_MAX >> shift)
            return 0;
        number <<= shift;
    }
    *out = number;
    return 1;
}

int tool_read_time(int *out_ms, const char *text)
{
    char *end;
    if (!((text[0] >= '0' && text[0] <= '9') || text[0] == '.') || strpbrk(text, "xXpP"))
        return 0;
    double seconds = strtod(text, &end);
    if (*end || !(seconds >= 0) || seconds > INT_MAX / 1000)
        return 0;
    *out_ms = (int)(seconds * 1000);
    *out_ms += *out_ms < seconds * 1000;
    return 1;
}

int tool_read_hex(struct tool_buffer *out, const char *digits, size_t size)
{
    if (size % 2 != 0)
        return 0;
    if (tool_buffer_reserve(out, size / 2))
        return -1;
    for (size_t i = 0; i < size; i += 2) {
        int high = digit_value(digits[i]), low = digit_value(digits[i + 1]);
        if (high > 15 || low > 15)
            return 0;
        out->bytes[out->used++] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

/* ---- values ---------------------------------------------------------------------------------- */

static int read_integer(struct lintel_value *out, const char *text)
{
    uint64_t number;
    if (*text != '-') {
        if (!tool_read_number(&number, text + (*text == '+')))
            return 0;
        *out = lintel_uint(number);
        return 1;
    }
    if (!tool_read_number(&number, text + 1) || number > (uint64_t)1 << 63)
        return 0;
    *out = number == 0 ? lintel_uint(0) : lintel_int(-(int64_t)(number - 1) - 1);
    return 1;
}

static int read_float(struct lintel_value *out, const char *text)
{
    char *end;
    if (!*text || strchr(" \t\n\v\f\r", *text))
        return 0;
    double number = strtod(text, &end);
    if (*end || (isinf(number) && !strchr("iI", text[strspn(text, "+-")])))
        return 0;
    *out = lintel_float(number);
    return 1;
}

static int read_bytes(struct lintel_value *out, struct tool_buffer *storage, const char *text)
{
    storage->used = 0;
    if (strncmp(text, "hex:", 4) == 0) {
        int status = tool_read_hex(storage, text + 4, strlen(text + 4));
        if (status <= 0)
            return status;
    } else if (tool_buffer_add(storage, text, strlen(text))) {
        return -1;
    }
    *out = lintel_bytes(storage->used ? (const void *)storage->bytes : "", storage->used);
    return 1;
}

int tool_read_value(struct lintel_value *out, struct tool_buffer *storage, char code,
                    const char *text)
{
    if (strchr("cpsx", code))
        return read_bytes(out, storage, text);
    if (strchr("efd", code))
        return read_float(out, text);
    return read_integer(out, text);
}

/* Whether a text packs to the number again. */
static int reads_back(const char *text, char code, double number)
{
    const char format[] = {'!', code, '\0'};
    uint8_t wanted[8] = {0}, got[8] = {0};
    return lintel_pack(wanted, sizeof wanted, NULL, format, number) == LINTEL_OK &&
           lintel_pack(got, sizeof got, NULL, format, strtod(text, NULL)) == LINTEL_OK &&
           memcmp(wanted, got, sizeof got) == 0;
}

/* With sign and payload where they are not plain; strtod() reads it back to the same bits. */
static void nan_text(char out[TOOL_FLOAT_SIZE], double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    const char *sign = bits >> 63 ? "-" : "";
    bits &= ((uint64_t)1 << 51) - 1;
    if (bits == 0)
        snprintf(out, TOOL_FLOAT_SIZE, "%snan", sign);
    else
        snprintf(out, TOOL_FLOAT_SIZE, "%snan(0x%llx)", sign, (unsigned long long)bits);
}

/* Without an exponent where that is as short. */
void tool_float_text(char out[TOOL_FLOAT_SIZE], char code, double number)
{
    char text[TOOL_FLOAT_SIZE];
    if (number != number) {
        nan_text(out, number);
        return;
    }
    if (isinf(number)) {
        snprintf(out, TOOL_FLOAT_SIZE, number < 0 ? "-inf" : "inf");
        return;
    }
    snprintf(out, TOOL_FLOAT_SIZE, "%.17g", number);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strlen(text) <= strlen(out) && reads_back(text, code, number))
            memcpy(out, text, sizeof text);
    }
}
