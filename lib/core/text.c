#include "core/text.h"

#include <string.h>

struct lintelp_text lintelp_text(char *out, size_t size)
{
    struct lintelp_text text = {out, size, 0};
    if (size > 0)
        out[0] = '\0';
    return text;
}

struct lintelp_text lintelp_error(struct lintel_error *error, int status, uint64_t at)
{
    if (error == NULL)
        return lintelp_text(NULL, 0);
    error->status = status;
    error->system = 0;
    error->at = at;
    return lintelp_text(error->text, sizeof error->text);
}

int lintelp_fail(struct lintel_error *error, int status, uint64_t at, const char *sentence)
{
    struct lintelp_text text = lintelp_error(error, status, at);
    lintelp_text_str(&text, sentence);
    return status;
}

void lintelp_text_char(struct lintelp_text *text, char c)
{
    if (text->size - text->used < 2 || text->size == 0)
        return;
    text->out[text->used++] = c;
    text->out[text->used] = '\0';
}

void lintelp_text_strn(struct lintelp_text *text, const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        lintelp_text_char(text, s[i]);
}

void lintelp_text_str(struct lintelp_text *text, const char *s)
{
    lintelp_text_strn(text, s, strlen(s));
}

void lintelp_text_u64(struct lintelp_text *text, uint64_t u)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + u % 10);
        u /= 10;
    } while (u > 0);
    lintelp_text_strn(text, digits + n, sizeof digits - n);
}

void lintelp_text_i64(struct lintelp_text *text, int64_t i)
{
    if (i < 0)
        lintelp_text_char(text, '-');
    lintelp_text_u64(text, i < 0 ? 0 - (uint64_t)i : (uint64_t)i);
}

void lintelp_text_hex(struct lintelp_text *text, uint64_t u, unsigned digits)
{
    unsigned n = 16;
    while (n > 1 && n > digits && u >> (4 * (n - 1)) == 0)
        n--;
    lintelp_text_str(text, "0x");
    while (n > 0)
        lintelp_text_char(text, "0123456789ABCDEF"[u >> (4 * --n) & 15]);
}

void lintelp_text_bytes(struct lintelp_text *text, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        lintelp_text_char(text, "0123456789abcdef"[bytes[i] >> 4]);
        lintelp_text_char(text, "0123456789abcdef"[bytes[i] & 15]);
    }
}

void lintelp_text_quote(struct lintelp_text *text, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;

    lintelp_text_char(text, '"');
    for (size_t i = 0; i < size; i++) {
        if (p[i] == '"' || p[i] == '\\')
            lintelp_text_char(text, '\\');
        if (p[i] >= 0x20 && p[i] < 0x7F) {
            lintelp_text_char(text, (char)p[i]);
        } else if (p[i] == '\n' || p[i] == '\r' || p[i] == '\t') {
            lintelp_text_char(text, '\\');
            lintelp_text_char(text, p[i] == '\n' ? 'n' : p[i] == '\r' ? 'r' : 't');
        } else {
            lintelp_text_str(text, "\\x");
            lintelp_text_bytes(text, p + i, 1);
        }
    }
    lintelp_text_char(text, '"');
}
