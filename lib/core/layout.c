/*
 * A compiled layout at work: asked, judged against bytes, read, and written. Numbers go in and out
 * through lintelp_view_compute() and lintelp_view_invert(), and nowhere else.
 */
#include "core/layout.h"
#include "core/internal.h"
#include "core/rules.h"
#include "core/text.h"

#include <float.h>
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
    .plan = {1,
             1,
             BIG_IS_SWAPPED,
             0,
             8,
             16,
             0xFFFFFFFF,
             1,
             0xFFFFFFFF,
             0,
             {{0, MEMORY_ORDER(UINT64_C(0xFFFFFFF000000000)),
               MEMORY_ORDER(UINT64_C(0x4C54010000000000))}}},
};

const struct lintel_layout *lintel_layout_default(void)
{
    return &lintel;
}

static const struct lintel_layout *or_default(const struct lintel_layout *layout)
{
    return layout != NULL ? layout : &lintel;
}

void lintel_layout_free(struct lintel_layout *layout)
{
    if (layout != NULL && !layout->fixed)
        (void)lintelp_resize(layout->allocator, layout, 0);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const char *lintel_layout_text(const struct lintel_layout *layout)
{
    return or_default(layout)->text;
}

int lintel_layout_is_lintel(const struct lintel_layout *layout)
{
    return or_default(layout)->lintel;
}

size_t lintel_layout_header_min(const struct lintel_layout *layout)
{
    return or_default(layout)->header_min;
}

size_t lintel_layout_header_max(const struct lintel_layout *layout)
{
    return or_default(layout)->header_max;
}

size_t lintel_layout_trailer_max(const struct lintel_layout *layout)
{
    return or_default(layout)->trailer_max;
}

uint64_t lintel_layout_length_max(const struct lintel_layout *layout)
{
    return or_default(layout)->length_max;
}

int lintel_layout_little_endian(const struct lintel_layout *layout)
{
    return or_default(layout)->little;
}

size_t lintel_layout_view_count(const struct lintel_layout *layout)
{
    return or_default(layout)->view_count;
}

const struct lintel_view *lintel_layout_view(const struct lintel_layout *layout, size_t index)
{
    return index < or_default(layout)->view_count ? &or_default(layout)->views[index].seen : NULL;
}

int lintel_layout_find(const struct lintel_layout *layout, const char *name)
{
    const struct lintel_layout *l = or_default(layout);
    size_t size = name != NULL ? strlen(name) : 0;

    for (size_t i = 0; name != NULL && i < l->view_count; i++)
        if (strlen(l->views[i].seen.name) == size && memcmp(l->views[i].seen.name, name, size) == 0)
            return (int)i;
    return -1;
}

size_t lintel_layout_field_count(const struct lintel_layout *layout)
{
    return or_default(layout)->field_count;
}

const struct lintel_field *lintel_layout_field(const struct lintel_layout *layout, size_t index)
{
    return index < or_default(layout)->field_count ? &or_default(layout)->fields[index] : NULL;
}

const char *lintel_layout_constant_text(const struct lintel_layout *layout, size_t view,
                                        size_t *length)
{
    const struct lintel_layout *l = or_default(layout);
    if (view >= l->view_count || !l->views[view].seen.constant)
        return NULL;
    if (length != NULL)
        *length = l->views[view].written_size;
    return l->views[view].written;
}

int lintel_layout_sums(const struct lintel_layout *layout, size_t view, int64_t *least,
                       uint64_t *greatest)
{
    const struct lintel_layout *l = or_default(layout);
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

/* ---- walking over fields --------------------------------------------------------------------- */

/* A run of fields, header or trailer, over the bytes it stands in. */
struct walk {
    const struct lintel_layout *layout;
    const uint8_t *bytes;
    size_t have;
    size_t at;   /* of the field's first byte */
    size_t size; /* of the field */
    size_t field, last;
    int status; /* 1: the field is whole; 0: more bytes are needed; else what is wrong with it */
    uint64_t word;
};

static struct walk walk_begin(const struct lintel_layout *layout, int trailer, const uint8_t *bytes,
                              size_t have)
{
    struct walk w = {layout, bytes, have, 0, 0, 0, layout->header_fields, 0, 0};
    if (trailer) {
        w.field = layout->header_fields;
        w.last = layout->field_count;
    }
    return w;
}

/* Look at the field that begins at w->at. Returns 0 behind the last one; then w->at is the size of
 * the whole run. */
static int walk_look(struct walk *w)
{
    const struct lintel_field *field = &w->layout->fields[w->field];

    if (w->field == w->last)
        return 0;
    if (field->code == 'v') {
        int size = lintelp_varint_get(&w->word, w->bytes + w->at, w->have - w->at, field->size);
        w->status = size > 0 ? 1 : size;
        w->size = size > 0 ? (size_t)size : 0;
        return 1;
    }
    w->status = w->have - w->at >= field->size;
    w->size = field->size;
    if (w->status && field->size <= 8)
        w->word = lintelp_load(w->bytes + w->at, field->size, w->layout->little);
    return 1;
}

static void walk_on(struct walk *w)
{
    w->at += w->size;
    w->field++;
}

/* Bytes that must be there before it is worth looking again. A varint may turn out bad with every
 * byte of it. */
static uint64_t walk_need(const struct walk *w)
{
    return w->layout->varints ? w->have + 1 : w->at + w->size;
}

/* ---- judging --------------------------------------------------------------------------------- */

static double real_of(uint64_t word, unsigned size)
{
    if (size == 8) {
        double d;
        memcpy(&d, &word, sizeof d);
        return d;
    }
    uint32_t half = (uint32_t)word;
    float f;
    memcpy(&f, &half, sizeof f);
    return (double)f;
}

static uint64_t word_of(double real, unsigned size)
{
    uint64_t word;
    uint32_t half;
    float f = (float)real;

    memcpy(&word, &real, sizeof word);
    memcpy(&half, &f, sizeof half);
    return size == 8 ? word : half;
}

/* Does the field under the walk hold this constant? */
static int holds(const struct walk *w, const struct lintelp_view *view)
{
    if (view->bytes != NULL)
        return memcmp(w->bytes + w->at, view->bytes, view->seen.size) == 0;
    if (view->seen.code == 'f' || view->seen.code == 'd')
        return w->word == word_of(view->real, view->seen.size);
    if (view->seen.code == '?')
        return (w->word != 0) == (view->bits != 0);
    return ((w->word ^ view->bits) & view->mask) == 0;
}

enum pass { CONSTANTS, VERSION, NUMBERS };

/* One pass over the views of a run: the first that fails, or LINTEL_OK. */
static int pass(const struct lintel_layout *layout, enum pass which, int trailer,
                const uint8_t *bytes, size_t have, struct lintelp_judgement *out)
{
    struct walk w = walk_begin(layout, trailer, bytes, have);

    for (; walk_look(&w) && w.status == 1; walk_on(&w)) {
        const struct lintel_field *field = &layout->fields[w.field];
        for (int i = field->first_view; i < field->first_view + field->views; i++) {
            const struct lintelp_view *view = &layout->views[i];
            uint64_t value;
            int rc = LINTEL_OK;
            if (which == CONSTANTS && i != layout->version && view->seen.constant &&
                !holds(&w, view))
                rc = LINTEL_E_MISMATCH;
            if (which == VERSION && i == layout->version && !holds(&w, view))
                rc = LINTEL_E_VERSION;
            if (which == NUMBERS && view->fallible && i != layout->length)
                rc = lintelp_view_compute(view, w.word, &value);
            if (rc < 0) {
                out->view = i;
                return rc;
            }
        }
    }
    return LINTEL_OK;
}

static int pass_all(const struct lintel_layout *layout, int trailer, const uint8_t *bytes,
                    size_t have, struct lintelp_judgement *out)
{
    int rc = pass(layout, CONSTANTS, trailer, bytes, have, out);
    if (rc == LINTEL_OK && layout->version >= 0)
        rc = pass(layout, VERSION, trailer, bytes, have, out);
    if (rc == LINTEL_OK && layout->lintel && !trailer)
        rc = lintelp_rules_judge(bytes, NULL);
    if (rc == LINTEL_OK)
        rc = pass(layout, NUMBERS, trailer, bytes, have, out);
    return rc;
}

/* The word of the length, in a header that is whole. */
static uint64_t length_word(const struct lintel_layout *layout, const uint8_t *bytes, size_t have)
{
    struct walk w = walk_begin(layout, 0, bytes, have);

    while (walk_look(&w) && w.field != layout->views[layout->length].seen.field)
        walk_on(&w);
    return w.word;
}

static enum lintelp_verdict bad(struct lintelp_judgement *out, int status, int view)
{
    out->status = status;
    out->view = view;
    return LINTELP_BAD;
}

static enum lintelp_verdict more(struct lintelp_judgement *out, uint64_t need)
{
    out->need = need;
    return LINTELP_MORE;
}

/* Walk to the end of a run, or to where it stops. */
static struct walk survey(const struct lintel_layout *layout, int trailer, const uint8_t *bytes,
                          size_t have)
{
    struct walk w = walk_begin(layout, trailer, bytes, have);

    if (!layout->varints) {
        w.size = trailer ? layout->trailer_min : layout->header_min;
        w.status = have >= w.size;
        w.field = w.status ? w.last : w.last - 1;
        w.at = w.status ? w.size : 0;
        return w;
    }
    while (walk_look(&w) && w.status == 1)
        walk_on(&w);
    return w;
}

static enum lintelp_verdict judge_header(const struct lintel_layout *layout,
                                         struct lintelp_judgement *out, const uint8_t *bytes,
                                         size_t have, uint64_t limit)
{
    struct walk w = survey(layout, 0, bytes, have);
    int rc;

    if (w.field != w.last && w.status == 0)
        return more(out, walk_need(&w));
    rc = pass_all(layout, 0, bytes, have, out);
    if (rc < 0)
        return bad(out, rc, out->view);
    if (w.field != w.last)
        return bad(out, w.status, layout->fields[w.field].first_view);
    rc = lintelp_view_compute(&layout->views[layout->length], length_word(layout, bytes, have),
                              &out->length);
    if (rc < 0)
        return bad(out, rc, layout->length);
    out->header_size = (uint32_t)w.at;
    out->trailer_size = layout->trailer_min;
    out->value = out->length;
    if (out->length <= limit)
        return LINTELP_FRAME;
    out->limited = out->length <= LINTEL_LENGTH_MAX && layout->trailer_min == layout->trailer_max;
    return bad(out, LINTEL_E_TOO_LARGE, layout->length);
}

enum lintelp_verdict lintelp_layout_judge_trailer(const struct lintel_layout *layout,
                                                  struct lintelp_judgement *out,
                                                  const uint8_t *bytes, size_t have)
{
    struct walk w = survey(layout, 1, bytes, have);
    int rc;

    out->view = -1;
    if (w.field != w.last && w.status == 0)
        return more(out, walk_need(&w));
    rc = pass_all(layout, 1, bytes, have, out);
    if (rc < 0)
        return bad(out, rc, out->view);
    if (w.field != w.last)
        return bad(out, w.status, layout->fields[w.field].first_view);
    out->trailer_size = (uint32_t)w.at;
    return LINTELP_FRAME;
}

enum lintelp_verdict lintelp_layout_judge(const struct lintel_layout *layout,
                                          struct lintelp_judgement *out, const uint8_t *bytes,
                                          size_t have, uint64_t limit)
{
    enum lintelp_verdict verdict;
    size_t trailer_at;

    *out = (struct lintelp_judgement){.view = -1};
    verdict = judge_header(layout, out, bytes, have, limit);
    if (verdict != LINTELP_FRAME)
        return verdict;
    out->need = out->header_size + out->length + lintelp_trailer_least(layout);
    if (have < out->need)
        return LINTELP_MORE;
    if (layout->trailer_max == 0)
        return LINTELP_FRAME;
    trailer_at = (size_t)(out->header_size + out->length);
    verdict = lintelp_layout_judge_trailer(layout, out, bytes + trailer_at, have - trailer_at);
    if (verdict == LINTELP_MORE)
        out->need += trailer_at;
    return verdict;
}

int lintelp_layout_measure(const struct lintel_layout *layout, struct lintelp_judgement *out,
                           const uint8_t *header, size_t size)
{
    *out = (struct lintelp_judgement){.view = -1};
    if (judge_header(layout, out, header, size, UINT64_MAX) != LINTELP_FRAME)
        return LINTEL_E_MALFORMED;
    return LINTEL_OK;
}

/* ---- the short way --------------------------------------------------------------------------- */

static struct lintelp_slot slot_of(const struct lintel_layout *layout, int index)
{
    struct lintelp_slot slot = {0, 0};
    const struct lintelp_view *view;

    if (index < 0 || layout->varints)
        return slot;
    view = &layout->views[index];
    if (view->ops || lintelp_view_is_signed(view) || view->seen.code == '?')
        return slot;
    slot.offset = (uint16_t)layout->fields[view->seen.field].offset;
    slot.size = (uint8_t)view->seen.size;
    return slot;
}

/* Bytes of the header that constants fix, as mask and bits. 0 if they cannot be put so. */
static int fixed_bytes(const struct lintel_layout *layout, uint8_t *mask, uint8_t *bits)
{
    for (size_t i = 0; i < layout->view_count; i++) {
        const struct lintelp_view *view = &layout->views[i];
        size_t at = layout->fields[view->seen.field].offset;
        uint8_t word[8];
        if (view->seen.in_trailer && (view->seen.constant || view->fallible))
            return 0;
        if (view->fallible && (int)i != layout->length)
            return 0;
        if (!view->seen.constant || view->seen.in_trailer)
            continue;
        if (view->seen.code == '?' || view->seen.code == 'f' || view->seen.code == 'd')
            return 0;
        for (uint32_t j = 0; view->bytes != NULL && j < view->seen.size; j++) {
            mask[at + j] = 0xFF;
            bits[at + j] = view->bytes[j];
        }
        if (view->bytes != NULL)
            continue;
        lintelp_store(word, view->seen.size, layout->little, view->mask);
        for (uint32_t j = 0; j < view->seen.size; j++)
            mask[at + j] |= word[j];
        lintelp_store(word, view->seen.size, layout->little, view->bits & view->mask);
        for (uint32_t j = 0; j < view->seen.size; j++)
            bits[at + j] |= word[j];
    }
    return 1;
}

/* Cover the fixed bytes by at most four loads of eight bytes. */
static int plan_checks(struct lintelp_plan *plan, const uint8_t *mask, const uint8_t *bits)
{
    static const uint8_t zero[8];

    for (size_t at = 0; at < plan->span;) {
        size_t from = at <= plan->span - 8u ? at : plan->span - 8u;
        struct lintelp_check *check = &plan->check[plan->checks];
        if (mask[at] == 0) {
            at++;
            continue;
        }
        if (plan->checks == sizeof plan->check / sizeof plan->check[0])
            return 0;
        check->offset = (uint16_t)from;
        memcpy(&check->mask, mask + from, 8);
        memcpy(&check->bits, bits + from, 8);
        if (memcmp(&check->mask, zero, 8) != 0)
            plan->checks++;
        at = from + 8;
    }
    return 1;
}

static void plan_length(const struct lintel_layout *layout, struct lintelp_plan *plan)
{
    const struct lintelp_view *view = &layout->views[layout->length];
    size_t at = layout->fields[view->seen.field].offset;
    size_t from = at <= plan->span - 8u ? at : plan->span - 8u;
    size_t left = 8 - (at - from) - view->seen.size; /* bytes of the load behind the field */

    plan->length_at = (uint16_t)from;
    plan->swap = layout->little ? !BIG_IS_SWAPPED : BIG_IS_SWAPPED;
    plan->shift = (uint8_t)(8 * (layout->little ? at - from : left) + view->seen.shift);
    plan->mask = view->mask >> view->seen.shift;
    plan->factor = view->seen.factor;
    plan->sum = view->seen.sum;
    plan->raw_max = lintelp_view_is_signed(view) ? view->mask >> 1 : plan->mask;
}

void lintelp_layout_plan(struct lintel_layout *layout)
{
    uint8_t mask[LINTEL_HEADER_MAX + 8] = {0};
    uint8_t bits[LINTEL_HEADER_MAX + 8] = {0};
    struct lintelp_plan *plan = &layout->plan;

    memset(plan, 0, sizeof *plan);
    layout->id_slot = slot_of(layout, layout->id);
    layout->type_slot = slot_of(layout, layout->type);
    layout->flags_slot = slot_of(layout, layout->flags);
    layout->length_slot = slot_of(layout, layout->length);
    if (layout->varints)
        return;
    plan->span = (uint16_t)(layout->header_min > 8 ? layout->header_min : 8);
    if (!fixed_bytes(layout, mask, bits) || !plan_checks(plan, mask, bits))
        return;
    plan_length(layout, plan);
    plan->usable = 1;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct lintel_value value_of(const struct walk *w, const struct lintelp_view *view)
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
        return lintel_float(real_of(w->word, view->seen.size));
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
    struct walk w = walk_begin(layout, trailer, bytes, have);

    for (; walk_look(&w); walk_on(&w)) {
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
    struct walk w = walk_begin(layout, layout->views[view].seen.in_trailer, bytes, have);

    while (walk_look(&w) && w.status == 1 && w.field != layout->views[view].seen.field)
        walk_on(&w);
    if (w.field == w.last || w.status != 1)
        return 0;
    *value = value_of(&w, &layout->views[view]);
    *word = w.word;
    return 1;
}

int lintel_layout_read(const struct lintel_layout *layout, struct lintel_value *values,
                       size_t count, const struct lintel_frame *frame)
{
    const struct lintel_layout *l = or_default(layout);
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
    const struct lintel_layout *l = or_default(layout);

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
        struct walk w = {.word = view->bits};
        return value_of(&w, view);
    }
    (void)lintelp_view_compute(view, view->bits, &value);
    return lintel_uint(value);
}

int lintel_layout_constant(const struct lintel_layout *layout, size_t view,
                           struct lintel_value *out)
{
    const struct lintel_layout *l = or_default(layout);

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

/* The word of a field that views share: all or-ed together, and constants and length still right.
 */
static int field_word(const struct source *s, const struct lintel_field *field, uint64_t *word)
{
    const struct lintel_layout *l = s->layout;
    uint64_t bits, back;
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
    for (int i = field->first_view; i < field->first_view + field->views; i++) {
        const struct lintelp_view *view = &l->views[i];
        if (view->seen.constant && ((*word ^ view->bits) & view->mask) != 0)
            return refuse(s->error, LINTEL_E_RANGE, view,
                          " is constant, and another view's bits "
                          "are in it");
        if (i == l->length && (lintelp_view_compute(view, *word, &back) < 0 || back != s->length))
            return refuse(s->error, LINTEL_E_RANGE, view, " is changed by another view's bits");
    }
    return LINTEL_OK;
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
    if (value->size > 0)
        memcpy(out, value->as.bytes, value->size);
    return LINTEL_OK;
}

static int real_word(const struct source *s, const struct lintel_field *field, uint64_t *word)
{
    const struct lintelp_view *view = &s->layout->views[field->first_view];
    double real = view->real;

    if (!view->seen.constant && s->values != NULL) {
        const struct lintel_value *value = &s->values[field->first_view];
        if (value->kind == LINTEL_BYTES)
            return refuse(s->error, LINTEL_E_RANGE, view, " must be a number");
        real = value->kind == LINTEL_FLOAT ? value->as.f
               : value->kind == LINTEL_INT ? (double)value->as.i
                                           : (double)value->as.u;
    }
    if (field->size == 4 && real - real == 0 && (real > FLT_MAX || real < -FLT_MAX))
        return refuse(s->error, LINTEL_E_RANGE, view, " is over the range of its field");
    *word = word_of(real, field->size);
    return LINTEL_OK;
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
    struct source s = {or_default(layout), values, length, error};
    int rc = check_put(s.layout, out, size, values, count, error);
    return rc < 0 ? rc : put_run(&s, 0, out, capacity, size);
}

int lintel_layout_put_trailer(const struct lintel_layout *layout, void *out, size_t capacity,
                              size_t *size, const struct lintel_value *values, size_t count,
                              struct lintel_error *error)
{
    struct source s = {or_default(layout), values, 0, error};
    int rc = check_put(s.layout, out, size, values, count, error);
    return rc < 0 ? rc : put_run(&s, 1, out, capacity, size);
}

/* A field with its length changed: the bits of other views stay as they are. */
static int put_length(const struct source *s, const struct walk *w, uint8_t *out, size_t room,
                      size_t *size)
{
    const struct lintelp_view *view = &s->layout->views[s->layout->length];
    uint8_t bytes[10];
    uint64_t bits, back;
    int rc = length_bits(view, s->length, &bits, s->error);

    if (rc < 0)
        return rc;
    bits |= w->word & ~view->mask;
    if (lintelp_view_compute(view, bits, &back) < 0 || back != s->length)
        return refuse(s->error, LINTEL_E_RANGE, view, " is changed by another view's bits");
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
    struct source s = {or_default(layout), NULL, length, error};
    uint8_t *bytes = out;
    size_t used = 0;
    struct walk w;

    if (out == NULL || size == NULL || frame == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "layout: NULL");
    w = walk_begin(s.layout, 0, frame->header, frame->header_size);
    for (; walk_look(&w); walk_on(&w)) {
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
