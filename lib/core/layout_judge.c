/*
 * The pure step: what the bytes of a frame come to under a layout; and the plan of the short way
 * around it.
 */
#include "core/layout_walk.h"
#include "core/rules.h"

/* ---- judging --------------------------------------------------------------------------------- */

/* Does the field under the walk hold this constant? */
static int holds(const struct lintelp_walk *w, const struct lintelp_view *view)
{
    if (view->bytes != NULL)
        return memcmp(w->bytes + w->at, view->bytes, view->seen.size) == 0;
    if (view->seen.code == 'f' || view->seen.code == 'd')
        return w->word == lintelp_word_of(view->real, view->seen.size);
    if (view->seen.code == '?')
        return (w->word != 0) == (view->bits != 0);
    return ((w->word ^ view->bits) & view->mask) == 0;
}

enum pass { CONSTANTS, VERSION, NUMBERS };

/* One pass over the views of a run: the first that fails, or LINTEL_OK. */
static int pass(const struct lintel_layout *layout, enum pass which, int trailer,
                const uint8_t *bytes, size_t have, struct lintelp_judgement *out)
{
    struct lintelp_walk w = lintelp_walk_begin(layout, trailer, bytes, have);

    for (; lintelp_walk_look(&w) && w.status == 1; lintelp_walk_on(&w)) {
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
    struct lintelp_walk w = lintelp_walk_begin(layout, 0, bytes, have);

    while (lintelp_walk_look(&w) && w.field != layout->views[layout->length].seen.field)
        lintelp_walk_on(&w);
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
static struct lintelp_walk survey(const struct lintel_layout *layout, int trailer,
                                  const uint8_t *bytes, size_t have)
{
    struct lintelp_walk w = lintelp_walk_begin(layout, trailer, bytes, have);

    if (!layout->varints) {
        w.size = trailer ? layout->trailer_min : layout->header_min;
        w.status = have >= w.size;
        w.field = w.status ? w.last : w.last - 1;
        w.at = w.status ? w.size : 0;
        return w;
    }
    while (lintelp_walk_look(&w) && w.status == 1)
        lintelp_walk_on(&w);
    return w;
}

static enum lintelp_verdict judge_header(const struct lintel_layout *layout,
                                         struct lintelp_judgement *out, const uint8_t *bytes,
                                         size_t have, uint64_t limit)
{
    struct lintelp_walk w = survey(layout, 0, bytes, have);
    int rc;

    if (w.field != w.last && w.status == 0)
        return more(out, lintelp_walk_need(&w));
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
    struct lintelp_walk w = survey(layout, 1, bytes, have);
    int rc;

    out->view = -1;
    if (w.field != w.last && w.status == 0)
        return more(out, lintelp_walk_need(&w));
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

/* Whether the length is a varint at the end of the header, and nothing else is one. */
static int ends_in_varint(const struct lintel_layout *layout)
{
    const struct lintelp_view *view = &layout->views[layout->length];
    const struct lintel_field *field = &layout->fields[view->seen.field];

    for (size_t i = 0; i < layout->field_count; i++)
        if (layout->fields[i].code == 'v' && &layout->fields[i] != field)
            return 0;
    return view->seen.field + 1u == layout->header_fields && !view->ops && field->views == 1;
}

static void plan_varint(const struct lintel_layout *layout, struct lintelp_plan *plan)
{
    const struct lintel_field *field = &layout->fields[layout->views[layout->length].seen.field];

    plan->length_at = (uint16_t)field->offset;
    plan->swap = BIG_IS_SWAPPED ? 0 : 1; /* the varint's first byte is the word's lowest */
    plan->varint = (uint8_t)field->size;
    plan->factor = 1;
    plan->raw_max = UINT64_MAX;
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
    if (layout->varints && !ends_in_varint(layout))
        return;
    plan->span = (uint16_t)(layout->header_min > 8 ? layout->header_min : 8);
    if (!fixed_bytes(layout, mask, bits) || !plan_checks(plan, mask, bits))
        return;
    if (layout->varints)
        plan_varint(layout, plan);
    else
        plan_length(layout, plan);
    plan->usable = 1;
}
