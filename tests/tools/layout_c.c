/*
 * Headers of `lintel layout --c` against the library: over the frames of the vectors, and over
 * random headers and values. layout_c.py prints the tables and the glue.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lintel/lintel.h"

#define ROUNDS 400

struct layout_test {
    const char *text;
    const char *(*view_name)(int number);
    /* Bytes used, 0 for more, below 0 for bad: a view's number where there is a check(). */
    int (*read_header)(const uint8_t *bytes, size_t have, struct lintel_value *values);
    int (*write_header)(uint8_t *bytes, size_t room, const struct lintel_value *values);
    int (*read_trailer)(const uint8_t *bytes, size_t have, struct lintel_value *values);
    int (*write_trailer)(uint8_t *bytes, size_t room, const struct lintel_value *values);
};

struct frame_test {
    const char *name;
    const struct layout_test *test;
    const char *bytes;
    size_t size, length;
    const char *values; /* of `lintel decode --json` */
};

static void put_number(struct lintel_value *value, uint64_t number)
{
    *value = lintel_uint(number);
}

/* A value's number; of a c, its byte. */
static uint64_t get_number(const struct lintel_value *value)
{
    return value->kind == LINTEL_BYTES ? *(const uint8_t *)value->as.bytes : value->as.u;
}

/* Whether a type of 64 bits, with a sign or without, can hold it. */
static int is_in_range(const struct lintel_value *value, int has_sign)
{
    if (value->kind == LINTEL_BYTES)
        return 1;
    return value->as.u <= INT64_MAX || has_sign == (value->kind == LINTEL_INT);
}

static void get_bytes(uint8_t *out, size_t size, const struct lintel_value *value)
{
    memset(out, 0, size);
    memcpy(out, value->as.bytes, value->size < size ? value->size : size);
}

#define LAYOUT_C_GLUE
#include "layouts.h"

static const char *doing;

static void check(int right, const char *what)
{
    if (right)
        return;
    printf("%s: %s\n", doing, what);
    exit(1);
}

/* ---- against the library --------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;

static uint64_t random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Numbers near to where something ends, more often than others. */
static uint64_t random_number(void)
{
    uint64_t number = random64() >> random64() % 64;
    switch (random64() % 4) {
    case 0:
        return number;
    case 1:
        return (uint64_t)1 << random64() % 64;
    case 2:
        return ((uint64_t)1 << random64() % 64) - 1;
    default:
        return random64() % 300;
    }
}

static void random_bytes(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(random64() >> 32);
}

/* A few bytes of a right header changed, so that some stay right. */
static void change_bytes(uint8_t *bytes, size_t size)
{
    for (uint64_t i = random64() % 4; i > 0 && size > 0; i--)
        bytes[random64() % size] = (uint8_t)(random64() % 3 ? random64() >> 32 : 0);
}

static int equal(const struct lintel_value *ours, const struct lintel_value *theirs)
{
    if (theirs->kind == LINTEL_BYTES && ours->kind == LINTEL_UINT)
        return theirs->size == 1 && get_number(theirs) == ours->as.u;
    if (theirs->kind == LINTEL_INT && ours->kind == LINTEL_UINT)
        return theirs->as.i >= 0 && theirs->as.u == ours->as.u; /* the length */
    if (ours->kind != theirs->kind || ours->size != theirs->size)
        return 0;
    if (theirs->kind == LINTEL_BYTES)
        return memcmp(ours->as.bytes, theirs->as.bytes, theirs->size) == 0;
    if (theirs->kind == LINTEL_FLOAT && ours->as.f != ours->as.f)
        return theirs->as.f != theirs->as.f;
    return memcmp(&ours->as, &theirs->as, 8) == 0;
}

static void compare(const struct lintel_layout *layout, const struct lintel_value *ours,
                    const struct lintel_frame *frame, int trailer)
{
    struct lintel_value theirs[LINTEL_VIEWS_MAX];
    size_t count = lintel_layout_view_count(layout);
    check(lintel_layout_read(layout, theirs, count, frame) == LINTEL_OK, "the library reads it");
    for (size_t i = 0; i < count; i++) {
        const struct lintel_view *view = lintel_layout_view(layout, i);
        if (view->in_trailer == trailer)
            check(equal(&ours[i], &theirs[i]), view->name);
    }
}

/* What a decoder says of bytes: 1 a frame, 0 more, or an error. */
static int judge(const struct lintel_layout *layout, const uint8_t *bytes, size_t size,
                 struct lintel_frame *frame, struct lintel_error *error)
{
    static struct lintel_decoder *decoder;
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    options.layout = layout;
    options.max_frame = lintel_layout_length_max(layout);
    lintel_decoder_free(decoder);
    check(lintel_decoder_new(&decoder, &options, NULL) == LINTEL_OK, "a decoder");
    check(lintel_decoder_feed(decoder, bytes, size) == LINTEL_OK, "feeding it");
    int rc = lintel_decoder_next(decoder, frame);
    if (rc < 0)
        lintel_decoder_error(decoder, error);
    return rc;
}

/* Both say the same of a header, or of a trailer behind a right header. */
static void try_reading(const struct layout_test *test, const struct lintel_layout *layout,
                        const uint8_t *bytes, size_t size, const struct lintel_frame *right)
{
    struct lintel_value ours[LINTEL_VIEWS_MAX];
    struct lintel_error error;
    struct lintel_frame frame;
    uint8_t whole[4096];
    size_t before = right ? right->header_size + right->length : 0;
    if (right)
        memcpy(whole, right->header, right->header_size);
    if (right)
        memset(whole + right->header_size, 0, right->length);
    memcpy(whole + before, bytes, size);
    int used = (right ? test->read_trailer : test->read_header)(bytes, size, ours);
    /* What is behind a header is not looked at. */
    int said =
        judge(layout, whole, used > 0 && !right ? (size_t)used : before + size, &frame, &error);
    if (lintel_layout_is_lintel(layout) && said == LINTEL_E_MALFORMED)
        return;
    check((used < 0) == (said < 0), "right for one, wrong for the other");
    check(!right || (used > 0) == (said == 1), "enough for one, not for the other");
    /* Where the number of a view is told, the library's text is about the same view. */
    if (used < -1)
        check(strstr(error.text, test->view_name(-used)) != NULL, "another view is wrong");
    if (used <= 0)
        return;
    frame = (struct lintel_frame){whole, NULL, NULL, 0, (uint32_t)used, 0, 0};
    if (right) {
        frame.header_size = right->header_size;
        frame.trailer = whole + before;
        frame.trailer_size = (uint32_t)used;
        compare(layout, ours, &frame, 1);
        return;
    }
    for (size_t i = 0; i < (size_t)used; i++)
        check(test->read_header(bytes, i, ours) == 0, "a part of it is to need more");
    check(test->read_header(bytes, size, ours) == used, "again");
    /* The library reads both at once: behind the header stands a trailer of zeros. */
    static const uint8_t zeros[LINTEL_HEADER_MAX];
    frame.trailer = zeros;
    for (size_t i = 0; i < lintel_layout_field_count(layout); i++) {
        const struct lintel_field *field = lintel_layout_field(layout, i);
        if (field->in_trailer)
            frame.trailer_size += field->code == 'v' ? 1 : field->size;
    }
    compare(layout, ours, &frame, 0);
}

/* Views of one word that have bits in common, or have some of the length's, are set by each side in
 * its own way: the library refuses what a setter lets the last one win. */
static int overlaps(const struct lintel_layout *layout, size_t index)
{
    const struct lintel_view *view = lintel_layout_view(layout, index);
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++) {
        const struct lintel_view *other = lintel_layout_view(layout, i);
        uint64_t a = view->mask ? view->mask : UINT64_MAX;
        uint64_t b = other->mask ? other->mask : UINT64_MAX;
        a = a >> view->shift << view->shift;
        b = b >> other->shift << other->shift;
        if (i != index && other->field == view->field && !other->constant && (a & b) != 0)
            return 1;
    }
    return 0;
}

/* A value of the kind that a view takes. */
static struct lintel_value random_value(const struct lintel_view *view, uint8_t *storage)
{
    uint64_t number = random_number();
    if (view->code == 'f' || view->code == 'd')
        return lintel_float((double)(int64_t)number / 4);
    if (view->code == 'c' || view->code == 's' || view->code == 'x') {
        random_bytes(storage, view->size);
        return lintel_bytes(storage, view->size);
    }
    if (strchr("bhtilq", view->code) && random64() % 2)
        return lintel_int(-(int64_t)(number >> 1));
    return lintel_uint(number);
}

/* One view of a right frame gets another value: both write the same, or both refuse. */
static void try_writing(const struct layout_test *test, const struct lintel_layout *layout,
                        const struct lintel_frame *right, size_t index)
{
    static uint8_t storage[LINTEL_HEADER_MAX], ours[LINTEL_HEADER_MAX], theirs[LINTEL_HEADER_MAX];
    const struct lintel_view *view = lintel_layout_view(layout, index);
    struct lintel_value values[LINTEL_VIEWS_MAX];
    size_t count = lintel_layout_view_count(layout), size = 0;
    int length = lintel_layout_find(layout, "length");

    check(lintel_layout_read(layout, values, count, right) == LINTEL_OK, "a right frame");
    values[index] = random_value(view, storage);
    int said =
        view->in_trailer
            ? lintel_layout_put_trailer(layout, theirs, sizeof theirs, &size, values, count, NULL)
            : lintel_layout_put_header(layout, theirs, sizeof theirs, &size, values, count,
                                       values[length].as.u, NULL);
    if ((int)index == length && values[length].kind == LINTEL_INT && values[length].as.i < 0)
        return;
    int used =
        (view->in_trailer ? test->write_trailer : test->write_header)(ours, sizeof ours, values);
    check((used >= 0) == (said == LINTEL_OK), view->name);
    if (used >= 0)
        check((size_t)used == size && memcmp(ours, theirs, size) == 0, view->name);
}

/* A frame with the least length, from the generated init() or out of a search. */
static int right_frame(const struct lintel_layout *layout, struct lintel_frame *frame)
{
    static uint8_t header[LINTEL_HEADER_MAX], trailer[LINTEL_HEADER_MAX], whole[4096];
    size_t header_size, trailer_size, count = lintel_layout_view_count(layout);
    struct lintel_value values[LINTEL_VIEWS_MAX];
    struct lintel_error error;

    for (unsigned step = 0; step < 100000; step++) {
        for (size_t i = 0; i < count; i++)
            values[i] = lintel_uint(step % 7);
        size_t length = step / 7;
        if (length > 2000)
            return 0;
        if (lintel_layout_put_header(layout, header, sizeof header, &header_size, values, count,
                                     length, &error) != LINTEL_OK ||
            lintel_layout_put_trailer(layout, trailer, sizeof trailer, &trailer_size, values, count,
                                      &error) != LINTEL_OK)
            continue;
        memcpy(whole, header, header_size);
        memset(whole + header_size, 0, length);
        memcpy(whole + header_size + length, trailer, trailer_size);
        if (judge(layout, whole, header_size + length + trailer_size, frame, &error) == 1)
            return 1;
    }
    return 0;
}

static int random_test(const struct layout_test *test)
{
    struct lintel_layout *layout;
    struct lintel_frame right;
    uint8_t bytes[LINTEL_HEADER_MAX + 16];

    doing = test->text;
    check(lintel_layout_new(&layout, test->text, NULL, NULL) == LINTEL_OK, "the layout");
    size_t most = lintel_layout_header_max(layout), trailer = lintel_layout_trailer_max(layout);
    int has_frame = right_frame(layout, &right);
    for (int i = 0; i < ROUNDS; i++) {
        random_bytes(bytes, most);
        if (has_frame && i % 4)
            memcpy(bytes, right.header, right.header_size);
        change_bytes(bytes, most);
        try_reading(test, layout, bytes, most, NULL);
        if (!has_frame || trailer == 0 || !test->read_trailer)
            continue;
        random_bytes(bytes, trailer);
        if (i % 4)
            memcpy(bytes, right.trailer, right.trailer_size);
        change_bytes(bytes, trailer);
        try_reading(test, layout, bytes, trailer, &right);
    }
    for (size_t i = 0; has_frame && i < lintel_layout_view_count(layout); i++)
        for (int j = 0; j < ROUNDS && !lintel_layout_view(layout, i)->constant; j++)
            if (!overlaps(layout, i))
                try_writing(test, layout, &right, i);
    lintel_layout_free(layout);
    return has_frame;
}

/* ---- against the vectors --------------------------------------------------------------------- */

static void show(char *out, size_t size, const struct lintel_value *value, char code)
{
    const uint8_t *bytes = value->as.bytes;
    if (code == 'c' || value->kind == LINTEL_BYTES) {
        uint8_t byte = code == 'c' ? (uint8_t)get_number(value) : 0;
        size_t count = code == 'c' ? 1 : value->size;
        for (size_t i = 0; i < count; i++)
            snprintf(out + 2 * i, size - 2 * i, "%02x", code == 'c' ? byte : bytes[i]);
    } else if (value->kind == LINTEL_INT) {
        snprintf(out, size, "%" PRId64, value->as.i);
    } else {
        snprintf(out, size, "%" PRIu64, value->as.u);
    }
}

static void frame_check(const struct frame_test *frame)
{
    const uint8_t *bytes = (const uint8_t *)frame->bytes;
    const struct layout_test *test = frame->test;
    struct lintel_value values[LINTEL_VIEWS_MAX];
    char text[8192], *at = text;
    uint8_t again[LINTEL_HEADER_MAX];
    struct lintel_layout *layout;
    int used, trailer = 0;

    doing = frame->name;
    check(lintel_layout_new(&layout, test->text, NULL, NULL) == LINTEL_OK, "the layout");
    used = test->read_header(bytes, frame->size, values);
    check(used > 0, "the header is right");
    if (test->read_trailer)
        trailer = test->read_trailer(bytes + used + frame->length,
                                     frame->size - (size_t)used - frame->length, values);
    check(trailer >= 0, "the trailer is right");
    check((size_t)used + frame->length + (size_t)trailer == frame->size, "the sizes are right");
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++) {
        const struct lintel_view *view = lintel_layout_view(layout, i);
        at += snprintf(at, sizeof text - (size_t)(at - text), "%s%s=", i ? " " : "", view->name);
        show(at, sizeof text - (size_t)(at - text), &values[i], view->code);
        at += strlen(at);
    }
    if (strcmp(text, frame->values) != 0)
        printf("%s\n%s\n", text, frame->values);
    check(strcmp(text, frame->values) == 0, "the values are those of decode");
    check(test->write_header(again, sizeof again, values) == used &&
              memcmp(again, bytes, (size_t)used) == 0,
          "the header is written as it was");
    if (test->read_trailer)
        check(test->write_trailer(again, sizeof again, values) == trailer &&
                  memcmp(again, bytes + used + frame->length, (size_t)trailer) == 0,
              "the trailer is written as it was");
    lintel_layout_free(layout);
}

int main(void)
{
    size_t layouts = sizeof tests / sizeof tests[0], count = sizeof frames / sizeof frames[0];
    int with_frames = 0;
    for (size_t i = 0; i < count; i++)
        frame_check(&frames[i]);
    for (size_t i = 0; i < layouts; i++)
        with_frames += random_test(&tests[i]);
    printf("%zu layouts, %d of them written too, %zu frames\n", layouts, with_frames, count);
    return 0;
}
