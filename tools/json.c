#include "config.h"

#include <stdint.h>
#include <string.h>

#include "json.h"

static int fail(struct json *json, const char *problem)
{
    if (!json->problem)
        json->problem = problem;
    json->at = json->end;
    return 0;
}

static char peek(struct json *json)
{
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at)
        json->at++;
    return json->at < json->end ? *json->at : 0;
}

static int take(struct json *json, char c, const char *problem)
{
    if (json->problem || peek(json) != c)
        return fail(json, problem);
    json->at++;
    return 1;
}

/* ---- strings --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Four digits behind \u. */
static int read_unit(struct json *json, uint32_t *unit)
{
    if (json->end - json->at < 4)
        return fail(json, "a \\u wants four hexadecimal digits");
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(*json->at++);
        if (digit < 0)
            return fail(json, "a \\u wants four hexadecimal digits");
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return 1;
}

static int read_point(struct json *json, uint32_t *point)
{
    uint32_t low;
    if (!read_unit(json, point))
        return 0;
    if (*point < 0xd800 || *point > 0xdfff)
        return 1;
    if (*point > 0xdbff || json->end - json->at < 6 || json->at[0] != '\\' || json->at[1] != 'u')
        return fail(json, "half a surrogate pair");
    json->at += 2;
    if (!read_unit(json, &low))
        return 0;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(json, "half a surrogate pair");
    *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
    return 1;
}

static size_t put_utf8(char *out, uint32_t point)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(unsigned char)(0x80 | (point & 0x3f));
    out[0] = (char)(unsigned char)(lead[size == 1 ? 0 : size] | point);
    return size;
}

/* What stands behind a backslash; it is never longer than what it is written with. */
static int read_escape(struct json *json, char *out, size_t *size)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t point;
    if (json->at == json->end)
        return fail(json, "a string does not end");
    char c = *json->at++;
    if (c == 'u') {
        if (!read_point(json, &point))
            return 0;
        *size = put_utf8(out, point);
        return 1;
    }
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        return fail(json, "a backslash before something that is not escaped");
    *out = to[found - from];
    *size = 1;
    return 1;
}

static int read_string(struct json *json, struct json_text *text)
{
    if (!take(json, '"', "a string is missing"))
        return 0;
    char *out = json->at;
    text->text = out;
    text->quoted = 1;
    while (json->at < json->end) {
        char c = *json->at++;
        if (c == '"') {
            text->size = (size_t)(out - text->text);
            return 1;
        }
        if ((unsigned char)c < 0x20)
            return fail(json, "a control character in a string");
        size_t size = 1;
        if (c != '\\')
            *out = c;
        else if (!read_escape(json, out, &size))
            return 0;
        out += size;
    }
    return fail(json, "a string does not end");
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int take_digits(struct json *json)
{
    const char *begin = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9')
        json->at++;
    return json->at > begin;
}

static int take_one_of(struct json *json, const char *set)
{
    if (json->at == json->end || !*json->at || !strchr(set, *json->at))
        return 0;
    json->at++;
    return 1;
}

static int read_number(struct json *json, struct json_text *text)
{
    text->text = json->at;
    text->quoted = 0;
    take_one_of(json, "-");
    if (!take_one_of(json, "0") && !take_digits(json))
        return fail(json, "neither a string nor a number");
    if (take_one_of(json, ".") && !take_digits(json))
        return fail(json, "a number without digits behind its point");
    if (take_one_of(json, "eE")) {
        take_one_of(json, "+-");
        if (!take_digits(json))
            return fail(json, "a number without digits in its exponent");
    }
    text->size = (size_t)(json->at - text->text);
    return 1;
}

/* ---- objects --------------------------------------------------------------------------------- */

void json_open(struct json *json, char *text, size_t size)
{
    *json = (struct json){.at = text, .end = text + size, .first = 1};
}

int json_begin(struct json *json)
{
    json->first = 1;
    return take(json, '{', "an object is missing");
}

int json_key(struct json *json, struct json_text *key)
{
    if (json->problem)
        return 0;
    if (peek(json) == '}') {
        json->at++;
        json->first = 0;
        return 0;
    }
    if (!json->first && !take(json, ',', "a comma or a closing brace is missing"))
        return 0;
    json->first = 0;
    peek(json);
    return read_string(json, key) && take(json, ':', "a colon is missing");
}

int json_scalar(struct json *json, struct json_text *value)
{
    if (json->problem)
        return 0;
    return peek(json) == '"' ? read_string(json, value) : read_number(json, value);
}

int json_done(struct json *json)
{
    if (json->problem)
        return 0;
    peek(json);
    return json->at == json->end ? 1 : fail(json, "something stands behind the object");
}

int json_is(const struct json_text *text, const char *word)
{
    return text->size == strlen(word) && memcmp(text->text, word, text->size) == 0;
}
