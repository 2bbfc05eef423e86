/*
 * pack_plan: packing and unpacking with a compiled format. The plan (pack.h) is made here; formats
 * without one, and values that it refuses, go through the items of pack.c.
 */
#include "core/pack.h"

/* ---- making a plan --------------------------------------------------------------------------- */

/* What makes the plan: the window that is open. */
struct cursor {
    struct lintel_format *format;
    struct lintelp_field *field; /* the next one */
    size_t start;                /* offset of the window's first byte */
};

static struct lintelp_window *open_window(const struct cursor *cursor)
{
    return &cursor->format->windows[cursor->format->windows_count - 1];
}

/* Close windows until one that begins at offset or before it holds what ends at end. */
static void advance(struct cursor *cursor, size_t offset, size_t end)
{
    while (end - cursor->start > 8) {
        size_t bytes = offset - cursor->start < 8 ? offset - cursor->start : 8;
        open_window(cursor)->bytes = (uint32_t)bytes;
        cursor->start += bytes;
        cursor->format->windows_count++;
    }
}

static void add_field(struct cursor *cursor, const struct lintelp_item *item, size_t offset)
{
    const struct lintel_format *format = cursor->format;
    struct lintelp_field *field = cursor->field++;
    unsigned width = (unsigned)item->size * 8;
    size_t room = format->size < 8 ? 8 : format->size; /* bytes that may be loaded from */
    size_t at = offset <= room - 8 ? offset : room - 8;
    struct lintelp_window *window;
    unsigned shift;

    advance(cursor, offset, offset + item->size);
    window = open_window(cursor);
    shift = (unsigned)(offset - cursor->start) * 8;
    if (!format->little)
        shift = 64 - shift - width;
    field->factor = (uint64_t)1 << shift;
    field->outside = width < 64 ? ~(uint64_t)0 << width : 0;
    field->bias = item->form == LINTELP_SIGNED ? (uint64_t)1 << (width - 1) : 0;
    field->kind = item->form == LINTELP_SIGNED ? LINTEL_INT : LINTEL_UINT;
    window->fields++;
    window->signs |= field->bias * field->factor;

    shift = (unsigned)(offset - at) * 8;
    field->at = (uint16_t)at;
    field->left = (uint8_t)(format->little ? 64 - shift - width : shift);
    field->right = (uint8_t)(64 - width);
}

void lintelp_plan_make(struct lintel_format *format)
{
    struct cursor cursor = {format, format->fields, 0};

    format->windows_count = 1;
    for (size_t i = 0; i < format->items_count; i++) {
        const struct lintelp_item *item = &format->items[i];
        format->has_signed |= item->form == LINTELP_SIGNED;
        for (size_t j = 0; j < item->repeat; j++)
            add_field(&cursor, item, item->offset + j * item->size);
    }
    advance(&cursor, format->size, format->size);
    open_window(&cursor)->bytes = (uint32_t)(format->size - cursor.start);
}

/* ---- following it ---------------------------------------------------------------------------- */

static void store(uint8_t *out, uint64_t word, int little)
{
    if (little)
        lintel_put_u64le(out, word);
    else
        lintel_put_u64be(out, word);
}

static uint64_t load(const uint8_t *bytes, int little)
{
    return little ? lintel_get_u64le(bytes) : lintel_get_u64be(bytes);
}

/* The first bytes of what store() would write. */
static void store_part(uint8_t *out, uint64_t word, size_t bytes, int little)
{
    if (bytes == 8) {
        store(out, word, little);
        return;
    }
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(word >> (little ? 8 * i : 56 - 8 * i));
}

/* A plan's loops are inlined once for each order and for formats without signed numbers. */

/* 1: packed; 0: a value is not of the kind that the field has, or does not fit. */
static inline int plan_pack(const struct lintel_format *format, uint8_t *out,
                            const struct lintel_value *value, int little, int has_signed)
{
    const struct lintelp_field *field = format->fields;
    const struct lintelp_window *window = format->windows;
    const struct lintelp_window *last = window + format->windows_count - 1;
    uint64_t outside = 0;
    uint32_t kinds = 0;

    for (;; window++) {
        const struct lintelp_field *end = field + window->fields;
        uint64_t word = 0;
        for (; field < end; field++, value++) {
            uint64_t u = value->as.u + (has_signed ? field->bias : 0);
            kinds |= (uint32_t)value->kind ^ (has_signed ? field->kind : LINTEL_UINT);
            outside |= u & field->outside;
            word += u * field->factor;
        }
        if (has_signed)
            word ^= window->signs;
        if (window == last) {
            store_part(out, word, window->bytes, little);
            return (outside | kinds) == 0;
        }
        store(out, word, little);
        out += window->bytes;
    }
}

static inline void plan_unpack(const struct lintel_format *format, struct lintel_value *value,
                               const uint8_t *bytes, int little, int has_signed)
{
    const struct lintelp_field *field = format->fields;
    const struct lintelp_field *end = field + format->count;

    for (; field < end; field++, value++) {
        uint64_t u = load(bytes + field->at, little) << field->left >> field->right;
        value->kind = has_signed ? (enum lintel_kind)field->kind : LINTEL_UINT;
        value->size = 0;
        value->as.u = has_signed ? (u ^ field->bias) - field->bias : u;
    }
}

static int plan_pack_any(const struct lintel_format *format, uint8_t *out,
                         const struct lintel_value *values)
{
    if (format->has_signed)
        return format->little ? plan_pack(format, out, values, 1, 1)
                              : plan_pack(format, out, values, 0, 1);
    return format->little ? plan_pack(format, out, values, 1, 0)
                          : plan_pack(format, out, values, 0, 0);
}

static void plan_unpack_any(const struct lintel_format *format, struct lintel_value *values,
                            const uint8_t *bytes)
{
    uint8_t whole[8] = {0};

    if (format->size < sizeof whole)
        bytes = memcpy(whole, bytes, format->size);
    if (format->has_signed && format->little)
        plan_unpack(format, values, bytes, 1, 1);
    else if (format->has_signed)
        plan_unpack(format, values, bytes, 0, 1);
    else if (format->little)
        plan_unpack(format, values, bytes, 1, 0);
    else
        plan_unpack(format, values, bytes, 0, 0);
}

/* ---- with a compiled format ------------------------------------------------------------------ */

int lintel_format_pack(const struct lintel_format *format, void *out, size_t capacity,
                       const struct lintel_value *values, size_t count, struct lintel_error *error)
{
    if (format == NULL || (out == NULL && capacity > 0) || (values == NULL && count > 0))
        return lintelp_refuse_usage(error);
    if (count != format->count)
        return lintelp_refuse_count(error, format->count, count);
    if (capacity < format->size)
        return lintelp_refuse_capacity(error, format->size, capacity);
    if (format->windows_count > 0 && plan_pack_any(format, out, values))
        return LINTEL_OK;
    return lintelp_pack_items(format, out, values, error);
}

int lintel_format_unpack(const struct lintel_format *format, struct lintel_value *values,
                         size_t count, const void *bytes, size_t size, struct lintel_error *error)
{
    if (format == NULL || (bytes == NULL && size > 0) || (values == NULL && count > 0))
        return lintelp_refuse_usage(error);
    if (count != format->count)
        return lintelp_refuse_count(error, format->count, count);
    if (size != format->size)
        return lintelp_refuse_size(error, format->size, size);
    if (format->windows_count > 0) {
        plan_unpack_any(format, values, bytes);
        return LINTEL_OK;
    }
    lintelp_unpack_items(format, values, bytes);
    return LINTEL_OK;
}
