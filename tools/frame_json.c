#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "frame_json.h"
#include "json.h"

#define SHOWN 40 /* characters of a key or a value in an error */

static int fail(const struct frame_json *json, const char *problem)
{
    tool_fail("line %llu: %s", (unsigned long long)json->line, problem);
    return 0;
}

static int fail_about(const struct frame_json *json, const struct json_text *text,
                      const char *problem)
{
    int size = (int)(text->size < SHOWN ? text->size : SHOWN);
    tool_fail("line %llu: \"%.*s%s\" %s", (unsigned long long)json->line, size, text->text,
              text->size > SHOWN ? "..." : "", problem);
    return 0;
}

/* ---- one value ------------------------------------------------------------------------------- */

static int read_integer(struct lintel_value *out, const char *text)
{
    const char *digits = text + (*text == '-');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return 0;
    struct tool_buffer none = {NULL, 0, 0};
    return tool_read_value(out, &none, 'Q', text) == 1;
}

static int read_float(struct lintel_value *out, char code, const char *text)
{
    static const char numeric[] = "0123456789+-.eE";
    const char *word = text + (*text == '-');
    struct tool_buffer none = {NULL, 0, 0};
    if (strcmp(word, "inf") != 0 && strncmp(word, "nan", 3) != 0 && strncmp(word, "snan", 4) != 0 &&
        strspn(text, numeric) != strlen(text))
        return 0;
    return tool_read_value(out, &none, code, text) == 1;
}

/* A number, or a string that is one. */
static int read_number(struct lintel_value *out, const struct json_text *value, char code)
{
    char text[64];
    if (value->size >= sizeof text || memchr(value->text, 0, value->size))
        return 0;
    memcpy(text, value->text, value->size);
    text[value->size] = 0;
    return code == 'f' || code == 'd' ? read_float(out, code, text) : read_integer(out, text);
}

static int read_bytes(struct lintel_value *out, struct tool_buffer *storage,
                      const struct json_text *value)
{
    storage->used = 0;
    if (!value->quoted || tool_read_hex(storage, value->text, value->size) != 1)
        return 0;
    *out = lintel_bytes(storage->used ? (const void *)storage->bytes : "", storage->used);
    return 1;
}

static int same(const struct lintel_value *a, const struct lintel_value *b)
{
    if (a->kind == LINTEL_BYTES || b->kind == LINTEL_BYTES)
        return a->kind == b->kind && a->size == b->size &&
               memcmp(a->as.bytes, b->as.bytes, a->size) == 0;
    if (a->kind == LINTEL_FLOAT || b->kind == LINTEL_FLOAT)
        return a->kind == b->kind && a->as.f == b->as.f;
    int a_negative = a->kind == LINTEL_INT && a->as.i < 0;
    int b_negative = b->kind == LINTEL_INT && b->as.i < 0;
    return a_negative == b_negative && a->as.u == b->as.u;
}

/* ---- the header ------------------------------------------------------------------------------ */

static int find_view(const struct frame_json *json, const struct json_text *key)
{
    char name[LINTEL_NAME_MAX + 1];
    if (key->size >= sizeof name || memchr(key->text, 0, key->size))
        return -1;
    memcpy(name, key->text, key->size);
    name[key->size] = 0;
    return lintel_layout_find(json->framing->layout, name);
}

static int read_view(struct frame_json *json, size_t view, const struct json_text *key,
                     const struct json_text *value)
{
    const struct lintel_view *about = lintel_layout_view(json->framing->layout, view);
    struct lintel_value *out = &json->values[view], constant;
    int bytes = about->code == 's' || about->code == 'c' || about->code == 'x';
    if (json->seen[view]++)
        return fail_about(json, key, "stands there twice");
    if (strcmp(about->name, "length") == 0)
        return 1;
    if (!(bytes ? read_bytes(out, &json->storage[view], value)
                : read_number(out, value, about->code)))
        return fail_about(json, value,
                          bytes ? "is not a string of hexadecimal digits in pairs"
                                : "is not a number for this field");
    if (lintel_layout_constant(json->framing->layout, view, &constant) && !same(out, &constant))
        return fail_about(json, key, "is not the constant that the layout says");
    return 1;
}

static int read_header(struct frame_json *json, struct json *text)
{
    struct json_text key, value;
    if (!json_begin(text))
        return fail(json, text->problem);
    while (json_key(text, &key)) {
        int view = find_view(json, &key);
        if (view < 0)
            return fail_about(json, &key, "is not in this layout's header");
        if (!json_scalar(text, &value))
            return fail(json, text->problem);
        if (!read_view(json, (size_t)view, &key, &value))
            return 0;
    }
    return text->problem ? fail(json, text->problem) : 1;
}

/* ---- the frame ------------------------------------------------------------------------------- */

static int read_payload(struct frame_json *json, const struct json_text *value)
{
    if (value->size / 2 > json->framing->limit) {
        tool_fail("line %llu: the payload is longer than the limit of %llu bytes",
                  (unsigned long long)json->line, (unsigned long long)json->framing->limit);
        return 0;
    }
    json->payload.used = 0;
    if (!value->quoted || tool_read_hex(&json->payload, value->text, value->size) != 1)
        return fail(json, "the payload is not a string of hexadecimal digits in pairs");
    return 1;
}

/* What a frame is shown with and not made of. */
static int is_remark(const struct json_text *key)
{
    return json_is(key, "offset") || json_is(key, "length") || json_is(key, "connection") ||
           json_is(key, "direction") || json_is(key, "verified");
}

static int read_object(struct frame_json *json, struct json *text)
{
    enum { HEADER = 1, PAYLOAD = 2 };
    struct json_text key, value;
    int seen = 0, bit;
    if (!json_begin(text))
        return fail(json, text->problem);
    while (json_key(text, &key)) {
        bit = json_is(&key, "header") ? HEADER : json_is(&key, "payload") ? PAYLOAD : 0;
        if (seen & bit)
            return fail_about(json, &key, "stands there twice");
        seen |= bit;
        if (bit == HEADER) {
            if (!read_header(json, text))
                return 0;
            continue;
        }
        if (bit == 0 && !is_remark(&key))
            return fail_about(json, &key, "is none of offset, header, length and payload");
        if (!json_scalar(text, &value))
            return fail(json, text->problem);
        if (bit == PAYLOAD && !read_payload(json, &value))
            return 0;
    }
    return json_done(text) ? 1 : fail(json, text->problem);
}

static int is_blank(const char *line, size_t size)
{
    while (size > 0 && *line && strchr(" \t\r", *line)) {
        line++;
        size--;
    }
    return size == 0;
}

int frame_json_read(struct frame_json *json, struct message_head *head, char *line, size_t size)
{
    struct json text;
    struct lintel_error error;
    json->line++;
    if (is_blank(line, size))
        return 0;
    memcpy(json->values, json->framing->values, json->framing->count * sizeof json->values[0]);
    memset(json->seen, 0, sizeof json->seen);
    json->payload.used = 0;
    json_open(&text, line, size);
    if (!read_object(json, &text))
        return -1;
    if (message_head_of(head, json->framing->layout, json->values, json->payload.used, &error) <
        0) {
        fail(json, error.text);
        return -1;
    }
    return 1;
}

void frame_json_free(struct frame_json *json)
{
    tool_buffer_free(&json->payload);
    for (size_t i = 0; i < LINTEL_VIEWS_MAX; i++)
        tool_buffer_free(&json->storage[i]);
}
