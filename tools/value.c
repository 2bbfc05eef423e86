#include "config.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* A NaN's fraction in the format of this code: one bit, set where it is quiet, then the payload. */
static unsigned payload_bits(char code)
{
    return code == 'e' ? 9 : code == 'f' ? 22 : 51;
}

/* [sign] nan | [sign] nan(PAYLOAD) | [sign] snan(PAYLOAD), PAYLOAD being a number of the code's
 * own width. The value's bits are put together: processors make a signalling NaN quiet. */
static int read_nan(struct lintel_value *out, char code, const char *text)
{
    char digits[24];
    uint64_t payload = 0, bits = (uint64_t)0x7FF << 52;
    bits |= *text == '-' ? (uint64_t)1 << 63 : 0;
    text += strspn(text, "+-") == 1;
    int signals = *text == 's' || *text == 'S';
    if (strncasecmp(text + signals, "nan", 3) != 0)
        return 0;
    text += signals + 3;
    size_t size = strlen(text);
    if (size > 0 && (size < 3 || size >= sizeof digits || *text != '(' || text[size - 1] != ')'))
        return 0;
    if (size > 0) {
        memcpy(digits, text + 1, size - 2);
        digits[size - 2] = 0;
        if (!tool_read_number(&payload, digits) || payload >> payload_bits(code))
            return 0;
    }
    if (signals && payload == 0) /* that would be an infinity */
        return 0;
    bits |= signals ? 0 : (uint64_t)1 << 51;
    *out = lintel_float(0);
    out->as.u = bits | payload << (51 - payload_bits(code));
    return 1;
}

static int read_float(struct lintel_value *out, char code, const char *text)
{
    char *end;
    if (read_nan(out, code, text))
        return 1;
    if (!*text || strchr(" \t\n\v\f\r", *text))
        return 0;
    double number = strtod(text, &end);
    if (*end || isnan(number) || (isinf(number) && !strchr("iI", text[strspn(text, "+-")])))
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
        return read_float(out, code, text);
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

/* What read_nan() reads. */
static void nan_text(char out[TOOL_FLOAT_SIZE], char code, uint64_t bits)
{
    uint64_t payload = (bits & (((uint64_t)1 << 51) - 1)) >> (51 - payload_bits(code));
    int used =
        snprintf(out, TOOL_FLOAT_SIZE, "%s%snan", bits >> 63 ? "-" : "", bits >> 51 & 1 ? "" : "s");
    if (payload != 0)
        snprintf(out + used, TOOL_FLOAT_SIZE - (size_t)used, "(0x%llx)",
                 (unsigned long long)payload);
}

/* Without an exponent where that is as short. A NaN is told by its bits: once its value is loaded,
 * compilers take the bits from there, and on x87 those are of a quiet one. */
void tool_float_text(char out[TOOL_FLOAT_SIZE], char code, const struct lintel_value *value)
{
    char text[TOOL_FLOAT_SIZE];
    if (value->as.u << 1 > (uint64_t)0x7FF << 53) {
        nan_text(out, code, value->as.u);
        return;
    }
    double number = value->as.f;
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
