/*
 * A compiled layout, asked; the ready-made one; and the arithmetic of views. layout_parse.c makes
 * one from its text, layout_judge.c judges bytes by it, layout_value.c reads and writes headers.
 * Numbers go in and out through lintelp_view_compute() and lintelp_view_invert(), and nowhere else.
 */
#include "core/layout.h"
#include "core/internal.h"

#include <string.h>

/* ---- known layouts --------------------------------------------------------------------------- */

static const struct lintel_known_layout known[] = {
#include "core/known.inc"
};

size_t lintel_layout_known_count(void)
{
    return sizeof known / sizeof known[0];
}

const struct lintel_known_layout *lintel_layout_known(size_t index)
{
    return index < lintel_layout_known_count() ? &known[index] : NULL;
}

/* ---- lintel's own ---------------------------------------------------------------------------- */

/* What lintel_layout_new("lintel") makes, ready-made; a test holds the two against each other. */
#define SEEN(name, code, size, mask, column, field, constant)       \
    {                                                               \
        name, code, size, mask, 0, 1, 0, column, field, constant, 0 \
    }
static const struct lintelp_view lintel_views[] = {
    {.seen = SEEN("magic", 'H', 2, 0, 4, 0, 1),
     .mask = 0xFFFF,
     .hex = 1,
     .bits = 0x4C54,
     .written = "0x4c54",
     .written_size = 6},
    {.seen = SEEN("version", 'B', 1, 0, 19, 1, 1),
     .mask = 0xFF,
     .bits = 1,
     .written = "1",
     .written_size = 1},
    {.seen = SEEN("flags", 'B', 1, 0, 31, 2, 0), .mask = 0xFF},
    {.seen = SEEN("reserved", 'B', 1, 0xF0, 37, 2, 1),
     .mask = 0xF0,
     .ops = 1,
     .written = "0",
     .written_size = 1},
    {.seen = SEEN("type", 'I', 4, 0, 55, 3, 0), .mask = 0xFFFFFFFF},
    {.seen = SEEN("id", 'I', 4, 0, 62, 4, 0), .mask = 0xFFFFFFFF},
    {.seen = SEEN("length", 'I', 4, 0, 67, 5, 0), .mask = 0xFFFFFFFF},
};
static const struct lintel_field lintel_fields[] = {
    {'H', 0, 0, 1, 2, 0}, {'B', 0, 1, 1, 1, 2}, {'B', 0, 2, 2, 1, 3},
    {'I', 0, 4, 1, 4, 4}, {'I', 0, 5, 1, 4, 8}, {'I', 0, 6, 1, 4, 12},
};
static const struct lintel_layout lintel = {
    .text = "!H:magic=0x4c54 B:version=1 B:flags,reserved&0xf0=0 I:type I:id I:length *",
    .fields = lintel_fields,
    .views = lintel_views,
    .field_count = 6,
    .header_fields = 6,
    .view_count = 7,
    .fixed = 1,
    .lintel = 1,
    .length = 6,
    .id = 5,
    .type = 4,
    .flags = 2,
    .version = 1,
    .header_min = 16,
    .header_max = 16,
    .length_max = 0xFFFFFFFF,
    .id_slot = {8, 4},
    .type_slot = {4, 4},
    .flags_slot = {3, 1},
    .length_slot = {12, 4},
    .plan = {.usable = 1,
             .checks = 1,
             .swap = BIG_IS_SWAPPED,
             .length_at = 8,
             .span = 16,
             .mask = 0xFFFFFFFF,
             .factor = 1,
             .raw_max = 0xFFFFFFFF,
             .check = {{0, MEMORY_ORDER(UINT64_C(0xFFFFFFF000000000)),
                        MEMORY_ORDER(UINT64_C(0x4C54010000000000))}}},
};

const struct lintel_layout *lintel_layout_default(void)
{
    return &lintel;
}

void lintel_layout_free(struct lintel_layout *layout)
{
    if (layout != NULL && !layout->fixed)
        (void)lintelp_resize(layout->allocator, layout, 0);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const char *lintel_layout_text(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->text;
}

int lintel_layout_is_lintel(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->lintel;
}

size_t lintel_layout_header_min(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->header_min;
}

size_t lintel_layout_header_max(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->header_max;
}

size_t lintel_layout_trailer_max(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->trailer_max;
}

uint64_t lintel_layout_length_max(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->length_max;
}

int lintel_layout_little_endian(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->little;
}

size_t lintel_layout_view_count(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->view_count;
}

const struct lintel_view *lintel_layout_view(const struct lintel_layout *layout, size_t index)
{
    return index < lintelp_or_default(layout)->view_count
               ? &lintelp_or_default(layout)->views[index].seen
               : NULL;
}

int lintel_layout_find(const struct lintel_layout *layout, const char *name)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    size_t size = name != NULL ? strlen(name) : 0;

    for (size_t i = 0; name != NULL && i < l->view_count; i++)
        if (strlen(l->views[i].seen.name) == size && memcmp(l->views[i].seen.name, name, size) == 0)
            return (int)i;
    return -1;
}

size_t lintel_layout_field_count(const struct lintel_layout *layout)
{
    return lintelp_or_default(layout)->field_count;
}

const struct lintel_field *lintel_layout_field(const struct lintel_layout *layout, size_t index)
{
    return index < lintelp_or_default(layout)->field_count
               ? &lintelp_or_default(layout)->fields[index]
               : NULL;
}

const char *lintel_layout_constant_text(const struct lintel_layout *layout, size_t view,
                                        size_t *length)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    if (view >= l->view_count || !l->views[view].seen.constant)
        return NULL;
    if (length != NULL)
        *length = l->views[view].written_size;
    return l->views[view].written;
}

int lintel_layout_sums(const struct lintel_layout *layout, size_t view, int64_t *least,
                       uint64_t *greatest)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    if (view >= l->view_count || least == NULL || greatest == NULL)
        return LINTEL_E_USAGE;
    *least = l->views[view].low;
    *greatest = l->views[view].high;
    return l->views[view].ops;
}

/* ---- numbers --------------------------------------------------------------------------------- */

int lintelp_view_is_signed(const struct lintelp_view *view)
{
    char c = view->seen.code;
    int code = c == 'b' || c == 'h' || c == 't' || c == 'i' || c == 'l' || c == 'q';
    return code && view->seen.mask == 0 && view->seen.shift == 0;
}

int lintelp_view_compute(const struct lintelp_view *view, uint64_t word, uint64_t *value)
{
    uint64_t number = (word & view->mask) >> view->seen.shift;

    if (lintelp_view_is_signed(view) && number > view->mask >> 1)
        return LINTEL_E_TOO_SMALL;
    if (number > UINT64_MAX / view->seen.factor)
        return LINTEL_E_TOO_LARGE;
    number *= view->seen.factor;
    if (view->low < 0 && number < 0 - (uint64_t)view->low)
        return LINTEL_E_TOO_SMALL;
    if (number > UINT64_MAX - view->high)
        return LINTEL_E_TOO_LARGE;
    *value = number + (uint64_t)view->seen.sum;
    return LINTEL_OK;
}

int lintelp_view_invert(const struct lintelp_view *view, uint64_t value, uint64_t *bits)
{
    uint64_t number = value - (uint64_t)view->seen.sum;
    uint64_t most = view->mask >> view->seen.shift;
    uint64_t back;

    if (lintelp_view_is_signed(view))
        most >>= 1;
    if (number % view->seen.factor != 0 || number / view->seen.factor > most)
        return LINTEL_E_RANGE;
    *bits = number / view->seen.factor << view->seen.shift;
    if ((*bits & ~view->mask) != 0 || lintelp_view_compute(view, *bits, &back) < 0 || back != value)
        return LINTEL_E_RANGE;
    return LINTEL_OK;
}

int lintelp_varint_get(uint64_t *value, const uint8_t *bytes, size_t have, unsigned max)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < max; i++) {
        if (i == have)
            return 0;
        if (i == 9 && bytes[i] > 1)
            return LINTEL_E_TOO_LARGE;
        number |= (uint64_t)(bytes[i] & 0x7F) << 7 * i;
        if (bytes[i] >= 0x80)
            continue;
        if (i > 0 && bytes[i] == 0)
            return LINTEL_E_MALFORMED;
        *value = number;
        return (int)i + 1;
    }
    return LINTEL_E_TOO_LARGE;
}

unsigned lintelp_varint_put(uint8_t *out, uint64_t value)
{
    unsigned size = 0;

    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}
