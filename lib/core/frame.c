#include "lintel/frame.h"
#include "core/internal.h"
#include "core/layout.h"
#include "core/rules.h"
#include "core/text.h"

#include <string.h>

/* ---- reading --------------------------------------------------------------------------------- */

static int read_number(const struct lintel_layout *layout, int view, struct lintelp_slot slot,
                       uint64_t *out, const struct lintel_frame *frame)
{
    struct lintel_value value;
    int rc;

    *out = 0;
    if (slot.size != 0 && frame->header_size == layout->header_min) {
        *out = lintelp_load(frame->header + slot.offset, slot.size, layout->little);
        return LINTEL_OK;
    }
    if (view < 0)
        return LINTEL_OK;
    rc = lintel_layout_read_one(layout, &value, (size_t)view, frame);
    if (rc == LINTEL_OK)
        *out = value.as.u;
    return rc;
}

int lintel_header_read(const struct lintel_layout *layout, struct lintel_header *out,
                       const struct lintel_frame *frame)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    uint64_t flags, type, id;
    int rc;

    if (out == NULL || frame == NULL)
        return LINTEL_E_USAGE;
    rc = read_number(l, l->flags, l->flags_slot, &flags, frame);
    if (rc == LINTEL_OK)
        rc = read_number(l, l->type, l->type_slot, &type, frame);
    if (rc == LINTEL_OK)
        rc = read_number(l, l->id, l->id_slot, &id, frame);
    if (rc < 0)
        return rc;
    out->flags = (uint8_t)flags;
    out->type = (uint32_t)type;
    out->id = (uint32_t)id;
    out->like = NULL;
    return LINTEL_OK;
}

int lintel_header_check(const struct lintel_header *header, uint64_t length,
                        struct lintel_error *error)
{
    const char *why;

    if (header == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "frame: NULL");
    if (lintelp_rules_check(header->flags, header->type, header->id, length, &why) < 0)
        return lintelp_fail(error, LINTEL_E_MALFORMED, 0, why);
    return LINTEL_OK;
}

/* ---- reasons of a BYE ------------------------------------------------------------------------ */

const char *lintel_bye_text(uint32_t reason)
{
    static const char *const texts[] = {"done",
                                        "draining",
                                        "idle",
                                        "too slow",
                                        "ill-formed input",
                                        "too large",
                                        "not authenticated",
                                        "too many connections",
                                        "internal error",
                                        "another version"};

    return reason < sizeof texts / sizeof texts[0] ? texts[reason] : "reason unknown";
}

int lintel_bye_reason(int status)
{
    switch (status) {
    case LINTEL_E_TOO_LARGE:
        return LINTEL_BYE_TOO_LARGE;
    case LINTEL_E_VERSION:
        return LINTEL_BYE_VERSION;
    case LINTEL_E_TIMEOUT:
        return LINTEL_BYE_TOO_SLOW;
    case LINTEL_E_NOMEM:
        return LINTEL_BYE_INTERNAL;
    case LINTEL_E_SEAL:
        return LINTEL_BYE_NOT_AUTHENTICATED;
    case LINTEL_E_MISMATCH:
    case LINTEL_E_MALFORMED:
    case LINTEL_E_TOO_SMALL:
    case LINTEL_E_TRUNCATED:
        return LINTEL_BYE_MALFORMED;
    default:
        return -1;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

uint64_t lintel_frame_size_max(const struct lintel_layout *layout, uint64_t length)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    uint64_t around = (uint64_t)l->header_max + l->trailer_max;
    return length > UINT64_MAX - around ? UINT64_MAX : length + around;
}

static LINTELP_APART int refuse_lintel(const struct lintel_header *header, uint64_t length,
                                       struct lintel_error *error)
{
    const char *why = "no room for a header";

    if (length > UINT32_MAX)
        return lintelp_fail(error, LINTEL_E_TOO_LARGE, 0,
                            "a length over 4294967295 is not one that the header can carry");
    if (lintelp_rules_check(header->flags, header->type, header->id, length, &why) < 0)
        return lintelp_fail(error, LINTEL_E_MALFORMED, 0, why);
    return lintelp_fail(error, LINTEL_E_SPACE, 0, why);
}

/* The header of lintel's own layout: constants, three numbers, the length. */
static inline int put_lintel(uint8_t *out, size_t capacity, const struct lintel_header *header,
                             uint64_t length, struct lintel_error *error)
{
    if (length > UINT32_MAX || capacity < LINTEL_HEADER_SIZE ||
        (header->flags > LINTEL_REPLY &&
         lintelp_rules_check(header->flags, header->type, header->id, length, NULL) < 0))
        return refuse_lintel(header, length, error);
    lintel_header_put(out, header->flags, header->type, header->id, (uint32_t)length);
    return LINTEL_OK;
}

static inline int is_lintel(const struct lintel_layout *layout, const struct lintel_header *header)
{
    return (layout == NULL || layout->lintel) && header->like == NULL;
}

static int set_view(struct lintel_value *values, int view, uint32_t number, const char *why,
                    struct lintel_error *error)
{
    if (view >= 0)
        values[view] = lintel_uint(number);
    else if (number != 0)
        return lintelp_fail(error, LINTEL_E_RANGE, 0, why);
    return LINTEL_OK;
}

/* Flags, type and id as one value for each view of a foreign layout. */
static int header_values(const struct lintel_layout *l, struct lintel_value *values,
                         const struct lintel_header *header, struct lintel_error *error)
{
    int rc;

    for (size_t i = 0; i < l->view_count; i++)
        values[i] = lintel_uint(0);
    rc = set_view(values, l->flags, header->flags, "the layout has no view named flags", error);
    if (rc == LINTEL_OK)
        rc = set_view(values, l->type, header->type, "the layout has no view named type", error);
    if (rc == LINTEL_OK)
        rc = set_view(values, l->id, header->id, "the layout has no view named id", error);
    return rc;
}

static LINTELP_APART int put_foreign(const struct lintel_layout *l, void *out, size_t capacity,
                                     size_t *size, const struct lintel_header *header,
                                     uint64_t length, struct lintel_error *error)
{
    struct lintel_value values[LINTEL_VIEWS_MAX];
    int rc;

    if (header->like != NULL)
        return lintel_layout_put_like(l, out, capacity, size, header->like, length, error);
    rc = header_values(l, values, header, error);
    if (rc < 0)
        return rc;
    return lintel_layout_put_header(l, out, capacity, size, values, l->view_count, length, error);
}

int lintel_frame_put_header(const struct lintel_layout *layout, void *out, size_t capacity,
                            size_t *size, const struct lintel_header *header, uint64_t length,
                            struct lintel_error *error)
{
    if (out == NULL || size == NULL || header == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "frame: NULL");
    if (!is_lintel(layout, header))
        return put_foreign(lintelp_or_default(layout), out, capacity, size, header, length, error);
    *size = LINTEL_HEADER_SIZE;
    return put_lintel(out, capacity, header, length, error);
}

/* Whether a frame has a whole trailer of this layout: one made by hand may not. */
static int has_trailer(const struct lintel_layout *layout, const struct lintel_frame *frame)
{
    struct lintelp_judgement j = {.header_size = frame->header_size, .length = frame->length};

    return frame->trailer != NULL &&
           lintelp_layout_judge_trailer(layout, &j, frame->trailer, frame->trailer_size) ==
               LINTELP_FRAME &&
           j.trailer_size == frame->trailer_size;
}

int lintel_frame_put_trailer(const struct lintel_layout *layout, void *out, size_t capacity,
                             size_t *size, const struct lintel_header *header,
                             struct lintel_error *error)
{
    const struct lintel_layout *l = lintelp_or_default(layout);

    if (size == NULL || header == NULL || (out == NULL && l->trailer_max > 0))
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "frame: NULL");
    *size = 0;
    if (l->trailer_max == 0)
        return LINTEL_OK;
    if (header->like == NULL)
        return lintel_layout_put_trailer(l, out, capacity, size, NULL, 0, error);
    if (!has_trailer(l, header->like))
        return lintelp_fail(error, LINTEL_E_MALFORMED, 0,
                            "the frame to be like has no whole trailer of this layout");
    if (header->like->trailer_size > capacity)
        return lintelp_fail(error, LINTEL_E_SPACE, 0, "no room for a trailer");
    memcpy(out, header->like->trailer, header->like->trailer_size);
    *size = header->like->trailer_size;
    return LINTEL_OK;
}

static LINTELP_APART int encode_foreign(const struct lintel_layout *layout, uint8_t *out,
                                        size_t capacity, size_t *size,
                                        const struct lintel_header *header, const void *payload,
                                        size_t length, struct lintel_error *error)
{
    size_t used, step;
    int rc = lintel_frame_put_header(layout, out, capacity, &used, header, length, error);

    if (rc < 0)
        return rc;
    if (length > capacity - used)
        return lintelp_fail(error, LINTEL_E_SPACE, 0, "no room for the payload");
    if (length > 0)
        memcpy(out + used, payload, length);
    used += length;
    rc = lintel_frame_put_trailer(layout, out + used, capacity - used, &step, header, error);
    if (rc == LINTEL_OK)
        *size = used + step;
    return rc;
}

int lintel_frame_encode(const struct lintel_layout *layout, void *out, size_t capacity,
                        size_t *size, const struct lintel_header *header, const void *payload,
                        size_t length, struct lintel_error *error)
{
    uint8_t *bytes = out;
    int rc;

    if (out == NULL || size == NULL || header == NULL || (payload == NULL && length > 0))
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "frame: NULL");
    if (!is_lintel(layout, header))
        return encode_foreign(layout, out, capacity, size, header, payload, length, error);
    rc = put_lintel(bytes, capacity, header, length, error);
    if (rc < 0)
        return rc;
    if (length > capacity - LINTEL_HEADER_SIZE)
        return lintelp_fail(error, LINTEL_E_SPACE, 0, "no room for the payload");
    if (length > 0)
        memcpy(bytes + LINTEL_HEADER_SIZE, payload, length);
    *size = LINTEL_HEADER_SIZE + length;
    return LINTEL_OK;
}

/* ---- showing --------------------------------------------------------------------------------- */

static void dump_lintel(struct lintelp_text *text, const struct lintel_header *header)
{
    static const char *const controls[] = {"", "HELLO", "PING", "PONG", "BYE", "SEALED", "FDS"};
    static const char *const flags[] = {" REPLY", " ERROR", " MORE", " CONTROL"};

    if (header->flags == LINTEL_CONTROL && header->type <= LINTEL_FDS) {
        lintelp_text_str(text, controls[header->type]);
    } else {
        lintelp_text_str(text, "type ");
        lintelp_text_u64(text, header->type);
    }
    lintelp_text_str(text, " id ");
    lintelp_text_u64(text, header->id);
    for (unsigned i = 0; i < 4 && header->flags != LINTEL_CONTROL; i++)
        if (header->flags >> i & 1)
            lintelp_text_str(text, flags[i]);
}

static void dump_value(struct lintelp_text *text, const struct lintel_value *value)
{
    if (value->kind == LINTEL_BYTES)
        lintelp_text_quote(text, value->as.bytes, value->size);
    else if (value->kind == LINTEL_INT)
        lintelp_text_i64(text, value->as.i);
    else if (value->kind == LINTEL_UINT)
        lintelp_text_u64(text, value->as.u);
    else
        lintelp_text_char(text, '~');
}

static void dump_views(struct lintelp_text *text, const struct lintel_layout *l,
                       const struct lintel_frame *frame)
{
    struct lintel_value value;

    for (size_t i = 0; i < l->view_count; i++) {
        if (l->views[i].seen.constant || (int)i == l->length ||
            lintel_layout_read_one(l, &value, i, frame) < 0)
            continue;
        lintelp_text_str(text, l->views[i].seen.name);
        lintelp_text_char(text, ' ');
        dump_value(text, &value);
        lintelp_text_char(text, ' ');
    }
}

size_t lintel_frame_dump(const struct lintel_layout *layout, char *out, size_t size,
                         const struct lintel_frame *frame)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    struct lintelp_text text = lintelp_text(out, out != NULL ? size : 0);
    struct lintel_header header;

    if (frame == NULL)
        return 0;
    lintelp_text_char(&text, '#');
    lintelp_text_u64(&text, frame->offset);
    lintelp_text_char(&text, ' ');
    if (!l->lintel)
        dump_views(&text, l, frame);
    else if (lintel_header_read(l, &header, frame) == LINTEL_OK)
        dump_lintel(&text, &header);
    if (l->lintel)
        lintelp_text_char(&text, ' ');
    lintelp_text_u64(&text, frame->length);
    lintelp_text_str(&text, frame->length == 1 ? " byte" : " bytes");
    return text.used;
}
