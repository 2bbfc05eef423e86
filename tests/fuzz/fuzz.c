#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

/* ---- the input ------------------------------------------------------------------------------- */

uint8_t input_byte(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->bytes++;
}

const uint8_t *input_take(struct input *in, size_t size, size_t *got)
{
    const uint8_t *bytes = in->bytes;

    *got = size < in->size ? size : in->size;
    in->bytes += *got;
    in->size -= *got;
    return bytes;
}

uint64_t input_number(struct input *in)
{
    uint8_t first = input_byte(in);
    uint64_t number = 0;

    if (first < 0x80)
        return first;
    if (first < 0xC0)
        return ((uint64_t)1 << (first & 63)) + (uint64_t)(input_byte(in) - 128);
    for (int i = 0; i <= (first & 7); i++)
        number = number << 8 | input_byte(in);
    return number;
}

void input_line(struct input *in, char *out, size_t capacity)
{
    size_t used = 0;

    while (in->size > 0) {
        uint8_t c = input_byte(in);
        if (c == '\n' || c == '\0')
            break;
        if (used < capacity - 1)
            out[used++] = (char)c;
    }
    out[used] = '\0';
}

struct lintel_layout *input_layout(struct input *in)
{
    struct lintel_layout *layout;
    char text[1024];

    if (in->size > 0 && in->bytes[0] >= 0x80) {
        size_t index = (input_byte(in) - 0x80u) % lintel_layout_known_count();
        const char *name = lintel_layout_known(index)->name;
        CHECK(lintel_layout_new(&layout, name, NULL, NULL) == LINTEL_OK);
        return layout;
    }
    input_line(in, text, sizeof text);
    return lintel_layout_new(&layout, text, NULL, NULL) == LINTEL_OK ? layout : NULL;
}

static double input_float(struct input *in)
{
    uint64_t bits = input_number(in);
    double number;

    memcpy(&number, &bits, sizeof number);
    return bits < 0x10000 ? (double)bits - 1000 : number;
}

struct lintel_value input_value(struct input *in)
{
    uint64_t number;
    int64_t integer;
    size_t size;
    const uint8_t *bytes;
    uint8_t kind;

    kind = input_byte(in);
    if (kind == 0xFF)
        return lintel_text(NULL); /* a byte at NULL */
    switch (kind & 3) {
    case 0:
        return lintel_uint(input_number(in));
    case 1:
        number = input_number(in);
        memcpy(&integer, &number, sizeof integer);
        return lintel_int(integer);
    case 2:
        return lintel_float(input_float(in));
    default:
        bytes = input_take(in, input_byte(in), &size);
        return lintel_bytes(bytes, size);
    }
}

static struct lintel_value value_for(struct input *in, const struct lintel_view *view)
{
    size_t size;
    const uint8_t *bytes;

    switch (view->code) {
    case 'x':
    case 'c':
    case 's':
        bytes = input_take(in, view->size, &size);
        return lintel_bytes(bytes, size);
    case 'f':
    case 'd':
        return lintel_float(input_float(in));
    case '?':
        return lintel_uint(input_byte(in) & 1);
    default:
        return lintel_uint(input_number(in));
    }
}

void input_values(struct input *in, const struct lintel_layout *layout,
                  struct lintel_value values[LINTEL_VIEWS_MAX])
{
    uint8_t wild = input_byte(in);

    for (size_t i = 0; i < lintel_layout_view_count(layout); i++)
        values[i] = wild == 0xFF ? input_value(in) : value_for(in, lintel_layout_view(layout, i));
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void *resize(void *user, void *ptr, size_t size)
{
    struct memory *memory = user;
    void *block;

    if (size == 0) {
        memory->blocks -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    CHECK(memory->greatest == 0 || size <= memory->greatest);
    memory->calls++;
    if (memory->fail_every > 0 && memory->calls % memory->fail_every == 0) {
        memory->failures++;
        return NULL;
    }
    block = realloc(ptr, size);
    CHECK(block != NULL);
    memory->blocks += ptr == NULL;
    return block;
}

void memory_init(struct memory *memory)
{
    memset(memory, 0, sizeof *memory);
    memory->allocator.resize = resize;
    memory->allocator.user = memory;
}

/* ---- what holds everywhere ------------------------------------------------------------------- */

void check_error(const struct lintel_error *error, int status)
{
    size_t size;

    CHECK(status < 0 && error->status == status);
    CHECK(memchr(error->text, '\0', sizeof error->text) != NULL);
    size = strlen(error->text);
    CHECK(size > 0);
    for (size_t i = 0; i < size; i++)
        CHECK(error->text[i] >= ' ' && error->text[i] <= '~');
}

int same_error(const struct lintel_error *a, const struct lintel_error *b)
{
    return a->status == b->status && a->system == b->system && a->at == b->at &&
           strcmp(a->text, b->text) == 0;
}

static double as_float(const struct lintel_value *value)
{
    if (value->kind == LINTEL_FLOAT)
        return value->as.f;
    return value->kind == LINTEL_INT ? (double)value->as.i : (double)value->as.u;
}

static int same_number(const struct lintel_value *a, const struct lintel_value *b)
{
    if (a->kind == LINTEL_FLOAT || b->kind == LINTEL_FLOAT) {
        double x = as_float(a), y = as_float(b);
        return memcmp(&x, &y, sizeof x) == 0 || x - y == 0 || (x != x && y != y);
    }
    if (a->kind != b->kind && a->as.u > INT64_MAX)
        return 0;
    return a->as.u == b->as.u;
}

int same_value(const struct lintel_value *a, const struct lintel_value *b)
{
    const struct lintel_value *longer = a->size > b->size ? a : b;
    const struct lintel_value *shorter = a->size > b->size ? b : a;
    const uint8_t *rest = longer->as.bytes;

    if (a->kind != LINTEL_BYTES && b->kind != LINTEL_BYTES)
        return same_number(a, b);
    if (a->kind != b->kind)
        return 0;
    if (shorter->size > 0 && memcmp(rest, shorter->as.bytes, shorter->size) != 0)
        return 0;
    for (size_t i = shorter->size; i < longer->size; i++)
        if (rest[i] != 0)
            return 0;
    return 1;
}

uint8_t *copy_of(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    CHECK(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}
