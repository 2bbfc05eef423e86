/*
 * Encode and decode are each other's inverse, under any layout.
 *
 *     input:  a layout, a byte that says which way, then the stream to decode; or the values, the
 *             length of the payload, and payload
 *
 * What is encoded decodes to the same values and payload. What decodes is written back: the same
 * frame, and the same bytes where views name all bits.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#define PAYLOAD_MAX ((size_t)4096)
#define WIRE_MAX    (PAYLOAD_MAX + 2 * (size_t)LINTEL_HEADER_MAX)

struct bytes {
    uint8_t *data; /* WIRE_MAX */
    size_t size;
};

/* Header, payload and trailer of a frame, from values. */
static int write_frame(const struct lintel_layout *layout, struct bytes *out,
                       const struct lintel_value *values, const uint8_t *payload, size_t length)
{
    size_t count = lintel_layout_view_count(layout), step;
    struct lintel_error error;
    int rc = lintel_layout_put_header(layout, out->data, WIRE_MAX, &out->size, values, count,
                                      length, &error);

    if (rc == LINTEL_OK) {
        if (length > 0)
            memcpy(out->data + out->size, payload, length);
        out->size += length;
        rc = lintel_layout_put_trailer(layout, out->data + out->size, WIRE_MAX - out->size, &step,
                                       values, count, &error);
    }
    if (rc == LINTEL_OK)
        out->size += step;
    else
        check_error(&error, rc);
    return rc;
}

/* The one frame that these bytes are; its views live as long as they do and the decoder. */
static struct lintel_decoder *read_frame(const struct lintel_layout *layout,
                                         struct lintel_frame *frame, const struct bytes *wire)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_decoder *decoder;
    int rc;

    options.layout = layout;
    CHECK(lintel_decoder_new(&decoder, &options, NULL) == LINTEL_OK);
    CHECK(lintel_decoder_feed(decoder, wire->data, wire->size) == LINTEL_OK);
    rc = lintel_decoder_next(decoder, frame);
    if (rc == 1) {
        CHECK(lintel_decoder_unread(decoder) == 0);
        return decoder;
    }
    /* What was written is a frame, but for the rules of lintel's own layout. */
    CHECK(rc == LINTEL_E_MALFORMED && lintel_layout_is_lintel(layout));
    lintel_decoder_free(decoder);
    return NULL;
}

/* ---- out and back ---------------------------------------------------------------------------- */

/* A view shows what was put, unless others wrote to the same bits. */
static int shares_bits(const struct lintel_layout *layout, size_t index)
{
    const struct lintel_field *field =
        lintel_layout_field(layout, lintel_layout_view(layout, index)->field);
    return field->views > 1;
}

static void check_value(const struct lintel_layout *layout, size_t index,
                        const struct lintel_value *put, const struct lintel_value *got)
{
    const struct lintel_view *view = lintel_layout_view(layout, index);
    struct lintel_value constant;

    if (lintel_layout_constant(layout, index, &constant))
        CHECK(same_value(&constant, got));
    else if (strcmp(view->name, "length") != 0 && view->code != 'f' && !shares_bits(layout, index))
        CHECK(same_value(put, got) || (put->kind == LINTEL_UINT && put->as.u == 0));
}

static void check_same_again(const struct lintel_layout *layout, const struct lintel_frame *frame,
                             const struct lintel_value *values, const struct bytes *wire)
{
    struct bytes again = {malloc(WIRE_MAX), 0};

    CHECK(again.data != NULL);
    CHECK(write_frame(layout, &again, values, frame->payload, frame->length) == LINTEL_OK);
    CHECK(again.size == wire->size && memcmp(again.data, wire->data, wire->size) == 0);
    free(again.data);
}

static void out_and_back(const struct lintel_layout *layout, struct input *in)
{
    struct lintel_value values[LINTEL_VIEWS_MAX], back[LINTEL_VIEWS_MAX];
    size_t count = lintel_layout_view_count(layout), length;
    struct bytes wire = {malloc(WIRE_MAX), 0};
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    const uint8_t *payload;

    CHECK(wire.data != NULL);
    input_values(in, layout, values);
    payload = input_take(in, (size_t)(input_number(in) % PAYLOAD_MAX), &length);
    if (write_frame(layout, &wire, values, payload, length) < 0) {
        free(wire.data);
        return;
    }
    decoder = read_frame(layout, &frame, &wire);
    if (decoder != NULL) {
        CHECK(frame.length == length &&
              (length == 0 || memcmp(frame.payload, payload, length) == 0));
        CHECK(lintel_layout_read(layout, back, count, &frame) == LINTEL_OK);
        for (size_t i = 0; i < count; i++)
            check_value(layout, i, &values[i], &back[i]);
        check_same_again(layout, &frame, back, &wire);
    }
    lintel_decoder_free(decoder);
    free(wire.data);
}

/* ---- in and out again ------------------------------------------------------------------------ */

/* Bits of a field that its views carry in both directions. 0 in *exact: not bit by bit. */
static uint64_t named_bits(const struct lintel_layout *layout, const struct lintel_field *field,
                           int *exact)
{
    uint64_t bits = 0;

    *exact = field->code != '?' && field->code != 'f' && field->code != 'd';
    for (size_t i = field->first_view; i < (size_t)field->first_view + field->views; i++) {
        const struct lintel_view *view = lintel_layout_view(layout, i);
        uint64_t whole = view->size >= 8 ? UINT64_MAX : ((uint64_t)1 << 8 * view->size) - 1;
        uint64_t mask = view->mask != 0 ? view->mask : whole;
        bits |= mask >> view->shift << view->shift;
    }
    return bits;
}

/* Whether views name all bits of the header and trailer, so that they come back as they were. */
static int names_all_bits(const struct lintel_layout *layout)
{
    for (size_t i = 0; i < lintel_layout_field_count(layout); i++) {
        const struct lintel_field *field = lintel_layout_field(layout, i);
        int exact;
        uint64_t bits = named_bits(layout, field, &exact);
        uint64_t all = field->size >= 8 ? UINT64_MAX : ((uint64_t)1 << 8 * field->size) - 1;
        if (field->views == 0 || !exact)
            return 0;
        if (field->code == 'v')
            all = UINT64_MAX;
        if (field->code != 'c' && field->code != 's' && field->code != 'x' && (~bits & all) != 0)
            return 0;
    }
    return 1;
}

static void check_like(const struct lintel_layout *layout, const struct lintel_frame *frame)
{
    struct lintel_header header = {.like = frame}, plain;
    uint8_t bytes[LINTEL_HEADER_MAX];
    uint8_t *out = malloc(WIRE_MAX);
    char line[80];
    size_t size;

    CHECK(lintel_layout_put_like(layout, bytes, sizeof bytes, &size, frame, frame->length, NULL) ==
          LINTEL_OK);
    CHECK(size == frame->header_size && memcmp(bytes, frame->header, size) == 0);
    CHECK(out != NULL);
    CHECK(lintel_frame_encode(layout, out, WIRE_MAX, &size, &header, frame->payload, frame->length,
                              NULL) == LINTEL_OK);
    CHECK(size == frame->header_size + frame->length + frame->trailer_size);
    CHECK(memcmp(out, frame->header, frame->header_size) == 0);
    CHECK(memcmp(out + size - frame->trailer_size, frame->trailer, frame->trailer_size) == 0);
    free(out);
    CHECK(lintel_header_read(layout, &plain, frame) == LINTEL_OK && plain.like == NULL);
    size = lintel_frame_dump(layout, line, sizeof line, frame);
    CHECK(size < sizeof line && line[size] == '\0' && strlen(line) == size);
}

static void in_and_out(const struct lintel_layout *layout, const struct lintel_frame *frame)
{
    struct lintel_value values[LINTEL_VIEWS_MAX], back[LINTEL_VIEWS_MAX];
    size_t count = lintel_layout_view_count(layout);
    struct bytes wire = {malloc(WIRE_MAX), 0};
    struct lintel_decoder *decoder;
    struct lintel_frame again;

    CHECK(wire.data != NULL);
    CHECK(lintel_layout_read(layout, values, count, frame) == LINTEL_OK);
    CHECK(write_frame(layout, &wire, values, frame->payload, frame->length) == LINTEL_OK);
    decoder = read_frame(layout, &again, &wire);
    CHECK(decoder != NULL && again.length == frame->length);
    CHECK(lintel_layout_read(layout, back, count, &again) == LINTEL_OK);
    for (size_t i = 0; i < count; i++)
        CHECK(same_value(&values[i], &back[i]));
    if (names_all_bits(layout)) {
        CHECK(again.header_size == frame->header_size &&
              memcmp(again.header, frame->header, again.header_size) == 0);
        CHECK(again.trailer_size == frame->trailer_size &&
              memcmp(again.trailer, frame->trailer, again.trailer_size) == 0);
    }
    lintel_decoder_free(decoder);
    free(wire.data);
}

static void all_in_and_out(const struct lintel_layout *layout, const struct input *in)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    size_t size = in->size < PAYLOAD_MAX ? in->size : PAYLOAD_MAX;
    uint8_t *bytes = copy_of(in->bytes, size);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;

    options.layout = layout;
    CHECK(lintel_decoder_new(&decoder, &options, NULL) == LINTEL_OK);
    CHECK(lintel_decoder_feed(decoder, bytes, size) == LINTEL_OK);
    for (int n = 0; n < 8 && lintel_decoder_next(decoder, &frame) == 1; n++) {
        check_like(layout, &frame);
        in_and_out(layout, &frame);
    }
    lintel_decoder_free(decoder);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct lintel_layout *layout = input_layout(&in);

    if (layout == NULL)
        return 0;
    if (input_byte(&in) & 1)
        out_and_back(layout, &in);
    else
        all_in_and_out(layout, &in);
    lintel_layout_free(layout);
    return 0;
}
