/*
 * Values out of headers and trailers, and into them.
 */
#include "core/internal.h"
#include "core/layout_walk.h"
#include "core/pack.h"
#include "core/text.h"

/* ---- reading --------------------------------------------------------------------------------- */

/* Moved as bits: a NaN that is loaded as a number may be another one afterwards. */
static struct lintel_value real_of(uint64_t word, unsigned size)
{
    struct lintel_value value = lintel_float(0);

    value.as.u = size == 8 ? word : lintelp_widen(&lintelp_single, word);
    return value;
}

static struct lintel_value value_of(const struct lintelp_walk *w, const struct lintelp_view *view)
{
    unsigned bits = 8 * view->seen.size;
    uint64_t number = 0;

    switch (view->seen.code) {
    case 'x':
    case 'c':
    case 's':
        return lintel_bytes(w->bytes + w->at, view->seen.size);
    case 'f':
    case 'd':
        return real_of(w->word, view->seen.size);
    case '?':
        return lintel_uint(w->word != 0);
    default:
        break;
    }
    if (!view->ops && lintelp_view_is_signed(view)) {
        uint64_t sign = (uint64_t)1 << (bits - 1);
        uint64_t extended = (w->word ^ sign) - sign;
        int64_t number_signed;
        memcpy(&number_signed, &extended, sizeof number_signed);
        return lintel_int(number_signed);
    }
    (void)lintelp_view_compute(view, w->word, &number);
    return lintel_uint(number);
}

/* Read the views of header or trailer, all, or one where only is not negative. */
static int read_run(const struct lintel_layout *layout, int trailer, struct lintel_value *values,
                    int only, const uint8_t *bytes, size_t have)
{
    struct lintelp_walk w = lintelp_walk_begin(layout, trailer, bytes, have);

    for (; lintelp_walk_look(&w); lintelp_walk_on(&w)) {
        const struct lintel_field *field = &layout->fields[w.field];
        if (w.status != 1)
            return LINTEL_E_MALFORMED;
        for (int i = field->first_view; i < field->first_view + field->views; i++)
            if (only < 0)
                values[i] = value_of(&w, &layout->views[i]);
            else if (only == i)
                values[0] = value_of(&w, &layout->views[i]);
    }
    return w.at == have ? LINTEL_OK : LINTEL_E_MALFORMED;
}

int lintelp_layout_peek(const struct lintel_layout *layout, size_t view, const uint8_t *bytes,
                        size_t have, struct lintel_value *value, uint64_t *word)
{
    struct lintelp_walk w =
        lintelp_walk_begin(layout, layout->views[view].seen.in_trailer, bytes, have);

    while (lintelp_walk_look(&w) && w.status == 1 && w.field != layout->views[view].seen.field)
        lintelp_walk_on(&w);
    if (w.field == w.last || w.status != 1)
        return 0;
    *value = value_of(&w, &layout->views[view]);
    *word = w.word;
    return 1;
}

int lintel_layout_read(const struct lintel_layout *layout, struct lintel_value *values,
                       size_t count, const struct lintel_frame *frame)
{
    const struct lintel_layout *l = lintelp_or_default(layout);
    int rc;

    if (values == NULL || frame == NULL)
        return LINTEL_E_USAGE;
    if (count != l->view_count)
        return LINTEL_E_COUNT;
    rc = read_run(l, 0, values, -1, frame->header, frame->header_size);
    if (rc == LINTEL_OK && l->trailer_max > 0)
        rc = read_run(l, 1, values, -1, frame->trailer, frame->trailer_size);
    return rc;
}

int lintel_layout_read_one(const struct lintel_layout *layout, struct lintel_value *value,
                           size_t view, const struct lintel_frame *frame)
{
    const struct lintel_layout *l = lintelp_or_default(layout);

    if (value == NULL || frame == NULL || view >= l->view_count)
        return LINTEL_E_USAGE;
    if (l->views[view].seen.in_trailer)
        return read_run(l, 1, value, (int)view, frame->trailer, frame->trailer_size);
    return read_run(l, 0, value, (int)view, frame->header, frame->header_size);
}

static struct lintel_value constant_of(const struct lintelp_view *view)
{
    uint64_t value = 0;

    if (view->bytes != NULL)
        return lintel_bytes(view->bytes, view->seen.size);
    if (view->seen.code == 'f' || view->seen.code == 'd')
        return lintel_float(view->real);
    if (!view->ops && lintelp_view_is_signed(view)) {
        struct lintelp_walk w = {.word = view->bits};
        return value_of(&w, view);
    }
    (void)lintelp_view_compute(view, view->bits, &value);
    return lintel_uint(value);
}

int lintel_layout_constant(const struct lintel_layout *layout, size_t view,
                           struct lintel_value *out)
{
    const struct lintel_layout *l = lintelp_or_default(layout);

    if (view >= l->view_count || !l->views[view].seen.constant || out == NULL)
        return 0;
    *out = constant_of(&l->views[view]);
    return 1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int refuse(struct lintel_error *error, int status, const struct lintelp_view *view,
                  const char *sentence)
{
    struct lintelp_text text = lintelp_error(error, status, 0);
    lintelp_text_str(&text, view->seen.name);
    lintelp_text_str(&text, sentence);
    return status;
}

static int refuse_value(struct lintel_error *error, const struct lintelp_view *view,
                        const struct lintel_value *value)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_RANGE, 0);

    lintelp_text_str(&text, view->seen.name);
    lintelp_text_char(&text, ' ');
    if (value->kind == LINTEL_UINT)
        lintelp_text_u64(&text, value->as.u);
    if (value->kind == LINTEL_INT)
        lintelp_text_i64(&text, value->as.i);
    lintelp_text_str(&text, " does not fit its field");
    return LINTEL_E_RANGE;
}

/* An integer's bits in its word. */
static int word_bits(const struct lintelp_view *view, const struct lintel_value *value,
                     uint64_t *bits, struct lintel_error *error)
{
    uint64_t number = value->as.u;
    int negative = value->kind == LINTEL_INT && value->as.i < 0;

    if (value->kind != LINTEL_UINT && value->kind != LINTEL_INT)
        return refuse(error, LINTEL_E_RANGE, view, " must be an integer");
    if (view->seen.code == '?') {
        *bits = number;
        return number <= 1 ? LINTEL_OK : refuse_value(error, view, value);
    }
    if (!view->ops && lintelp_view_is_signed(view)) {
        uint64_t most = view->mask >> 1;
        if (negative ? ~number > most : number > most)
            return refuse_value(error, view, value);
        *bits = number & view->mask;
        return LINTEL_OK;
    }
    if (negative || lintelp_view_invert(view, number, bits) < 0)
        return refuse_value(error, view, value);
    return LINTEL_OK;
}

static int length_bits(const struct lintelp_view *view, uint64_t length, uint64_t *bits,
                       struct lintel_error *error)
{
    struct lintelp_text text;

    if (length <= LINTEL_LENGTH_MAX && lintelp_view_invert(view, length, bits) == LINTEL_OK)
        return LINTEL_OK;
    text = lintelp_error(error, LINTEL_E_TOO_LARGE, 0);
    lintelp_text_str(&text, "length ");
    lintelp_text_u64(&text, length);
    lintelp_text_str(&text, " is not one that the layout's length field can carry");
    return LINTEL_E_TOO_LARGE;
}

/* What a run of fields is written from. */
struct source {
    const struct lintel_layout *layout;
    const struct lintel_value *values; /* NULL: all 0 */
    uint64_t length;
    struct lintel_error *error;
};

/* A word that is to be written: constants and length are right in it, and other views in range. */
static int check_word(const struct source *s, const struct lintel_field *field, uint64_t word)
{
    const struct lintel_layout *l = s->layout;
    uint64_t back;

    for (int i = field->first_view; i < field->first_view + field->views; i++) {
        const struct lintelp_view *view = &l->views[i];
        if (view->seen.constant && ((word ^ view->bits) & view->mask) != 0)
            return refuse(s->error, LINTEL_E_RANGE, view,
                          " is constant, and another view's bits "
                          "are in it");
        if (i == l->length && (lintelp_view_compute(view, word, &back) < 0 || back != s->length))
            return refuse(s->error, LINTEL_E_RANGE, view, " is changed by another view's bits");
        if (view->fallible && lintelp_view_compute(view, word, &back) < 0)
            return refuse(s->error, LINTEL_E_RANGE, view, " would be out of range when read");
    }
    return LINTEL_OK;
}

/* The word of a field that views share: all or-ed together. */
static int field_word(const struct source *s, const struct lintel_field *field, uint64_t *word)
{
    const struct lintel_layout *l = s->layout;
    uint64_t bits;
    int rc = LINTEL_OK;

    *word = 0;
    for (int i = field->first_view; i < field->first_view + field->views; i++) {
        const struct lintelp_view *view = &l->views[i];
        bits = view->bits;
        if (i == l->length)
            rc = length_bits(view, s->length, &bits, s->error);
        else if (!view->seen.constant && s->values != NULL)
            rc = word_bits(view, &s->values[i], &bits, s->error);
        else if (!view->seen.constant && lintelp_view_invert(view, 0, &bits) < 0)
            bits = 0;
        if (rc < 0)
            return rc;
        *word |= bits;
    }
    return check_word(s, field, *word);
}

static int put_bytes(const struct source *s, const struct lintel_field *field, uint8_t *out)
{
    const struct lintelp_view *view = &s->layout->views[field->first_view];
    const struct lintel_value *value;

    memset(out, 0, field->size);
    if (field->views == 0)
        return LINTEL_OK;
    if (view->bytes != NULL) {
        memcpy(out, view->bytes, field->size);
        return LINTEL_OK;
    }
    if (s->values == NULL)
        return LINTEL_OK;
    value = &s->values[field->first_view];
    if (value->kind == LINTEL_UINT && value->as.u == 0)
        return LINTEL_OK;
    if (value->kind != LINTEL_BYTES)
        return refuse(s->error, LINTEL_E_RANGE, view, " must be a byte string");
    if (value->size > field->size || (field->code == 'c' && value->size != 1))
        return refuse(s->error, LINTEL_E_RANGE, view, " has more or fewer bytes than its field");
    if (value->as.bytes == NULL && value->size > 0)
        return refuse(s->error, LINTEL_E_RANGE, view, " has bytes at NULL");
    if (value->size > 0)
        memcpy(out, value->as.bytes, value->size);
    return LINTEL_OK;
}

static int real_word(const struct source *s, const struct lintel_field *field, uint64_t *word)
{
    const struct lintelp_view *view = &s->layout->views[field->first_view];
    const struct lintel_value *value;
    int overflow = 0;

    *word = lintelp_word_of(view->real, field->size);
    if (view->seen.constant || s->values == NULL)
        return LINTEL_OK;
    value = &s->values[field->first_view];
    if (value->kind == LINTEL_BYTES)
        return refuse(s->error, LINTEL_E_RANGE, view, " must be a number");
    *word = lintelp_double_bits(value);
    if (field->size == 4)
        *word = lintelp_narrow(&lintelp_single, *word, &overflow);
    return overflow ? refuse(s->error, LINTEL_E_RANGE, view, " is over the range of its field")
                    : LINTEL_OK;
}

static int put_field(const struct source *s, const struct lintel_field *field, uint8_t *out,
                     size_t room, size_t *size)
{
    uint8_t varint[10];
    uint64_t word = 0;
    int rc;

    *size = field->size;
    if (field->code == 'x' || field->code == 'c' || field->code == 's')
        return field->size > room
                   ? lintelp_fail(s->error, LINTEL_E_SPACE, 0, "no room for a header")
                   : put_bytes(s, field, out);
    rc = field->code == 'f' || field->code == 'd' ? real_word(s, field, &word)
                                                  : field_word(s, field, &word);
    if (rc < 0)
        return rc;
    if (field->code == 'v')
        *size = lintelp_varint_put(varint, word);
    if (*size > room)
        return lintelp_fail(s->error, LINTEL_E_SPACE, 0, "no room for a header");
    if (field->code == 'v')
        memcpy(out, varint, *size);
    else
        lintelp_store(out, field->size, s->layout->little, word);
    return LINTEL_OK;
}

static int put_run(const struct source *s, int trailer, uint8_t *out, size_t capacity, size_t *size)
{
    size_t first = trailer ? s->layout->header_fields : 0;
    size_t last = trailer ? s->layout->field_count : s->layout->header_fields;
    size_t used = 0;

    for (size_t i = first; i < last; i++) {
        size_t step;
        int rc = put_field(s, &s->layout->fields[i], out + used, capacity - used, &step);
        if (rc < 0)
            return rc;
        used += step;
    }
    *size = used;
    return LINTEL_OK;
}

static int check_put(const struct lintel_layout *l, const void *out, const size_t *size,
                     const struct lintel_value *values, size_t count, struct lintel_error *error)
{
    if (out == NULL || size == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "layout: NULL");
    if (values != NULL && count != l->view_count)
        return lintelp_fail(error, LINTEL_E_COUNT, 0, "layout: not one value for each view");
    return LINTEL_OK;
}

int lintel_layout_put_header(const struct lintel_layout *layout, void *out, size_t capacity,
                             size_t *size, const struct lintel_value *values, size_t count,
                             uint64_t length, struct lintel_error *error)
{
    struct source s = {lintelp_or_default(layout), values, length, error};
    int rc = check_put(s.layout, out, size, values, count, error);
    return rc < 0 ? rc : put_run(&s, 0, out, capacity, size);
}

int lintel_layout_put_trailer(const struct lintel_layout *layout, void *out, size_t capacity,
                              size_t *size, const struct lintel_value *values, size_t count,
                              struct lintel_error *error)
{
    struct source s = {lintelp_or_default(layout), values, 0, error};
    int rc = check_put(s.layout, out, size, values, count, error);
    return rc < 0 ? rc : put_run(&s, 1, out, capacity, size);
}

/* A field with its length changed: the bits of other views stay as they are. */
static int put_length(const struct source *s, const struct lintelp_walk *w, uint8_t *out,
                      size_t room, size_t *size)
{
    const struct lintelp_view *view = &s->layout->views[s->layout->length];
    uint8_t bytes[10];
    uint64_t bits;
    int rc = length_bits(view, s->length, &bits, s->error);

    if (rc == LINTEL_OK) {
        bits |= w->word & ~view->mask;
        rc = check_word(s, &s->layout->fields[w->field], bits);
    }
    if (rc < 0)
        return rc;
    *size = view->seen.size;
    if (view->seen.code == 'v')
        *size = lintelp_varint_put(bytes, bits);
    else
        lintelp_store(bytes, view->seen.size, s->layout->little, bits);
    if (*size > room)
        return lintelp_fail(s->error, LINTEL_E_SPACE, 0, "no room for a header");
    memcpy(out, bytes, *size);
    return LINTEL_OK;
}

int lintel_layout_put_like(const struct lintel_layout *layout, void *out, size_t capacity,
                           size_t *size, const struct lintel_frame *frame, uint64_t length,
                           struct lintel_error *error)
{
    struct source s = {lintelp_or_default(layout), NULL, length, error};
    uint8_t *bytes = out;
    size_t used = 0;
    struct lintelp_walk w;

    if (out == NULL || size == NULL || frame == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "layout: NULL");
    w = lintelp_walk_begin(s.layout, 0, frame->header, frame->header_size);
    for (; lintelp_walk_look(&w); lintelp_walk_on(&w)) {
        size_t step = w.size;
        int rc = LINTEL_OK;
        if (w.status != 1)
            return lintelp_fail(error, LINTEL_E_MALFORMED, 0, "the header is not this layout's");
        if (w.field == s.layout->views[s.layout->length].seen.field)
            rc = put_length(&s, &w, bytes + used, capacity - used, &step);
        else if (step > capacity - used)
            rc = lintelp_fail(error, LINTEL_E_SPACE, 0, "no room for a header");
        else
            memcpy(bytes + used, w.bytes + w.at, step);
        if (rc < 0)
            return rc;
        used += step;
    }
    *size = used;
    return LINTEL_OK;
}
