/*
 * Frames out of a decoder: the short way through headers that need no second look, and step by step
 * for all others.
 */
#include "core/decoder.h"
#include "core/explain.h"
#include "core/internal.h"

#include <string.h>

/* ---- frames out: the short way --------------------------------------------------------------- */

static inline void view(struct lintel_frame *out, const uint8_t *bytes, size_t header,
                        uint64_t length, size_t trailer, uint64_t offset)
{
    out->header = bytes;
    out->payload = bytes + header;
    out->trailer = bytes + header + length;
    out->length = (size_t)length;
    out->header_size = (uint32_t)header;
    out->trailer_size = (uint32_t)trailer;
    out->offset = offset;
}

/* A place as a number, to which any length can be added. */
static inline uint64_t address(const uint8_t *bytes)
{
    return (uint64_t)(uintptr_t)bytes;
}

/* What the header of a frame has in common with the one before it, in two words of eight bytes. */
struct like {
    size_t at[2];
    uint64_t bits[2], mask[2];
};

/* Whether it has: of lintel's own layout that are the first and the last four bytes, for NULL. */
static inline int is_like(const struct like *like, const uint8_t *bytes, uint32_t first,
                          uint32_t fourth)
{
    if (like == NULL)
        return lintelp_load4(bytes) == first && lintelp_load4(bytes + 12) == fourth;
    return (((lintelp_load8(bytes + like->at[0], 0) ^ like->bits[0]) & like->mask[0]) |
            ((lintelp_load8(bytes + like->at[1], 0) ^ like->bits[1]) & like->mask[1])) == 0;
}

/*
 * Frames that are as long as the one before them, and have its flags, from bytes on. Where a frame
 * begins is known only when the length before it is, and that wait is most of the work; here
 * nothing waits, the header is only compared. A view is three pairs of numbers that each grow by a
 * step. The first is the view of the frame at bytes, which has room; last is where one may begin at
 * the latest. Returns the place behind the last view.
 */
static inline struct lintel_frame *take_equals(const struct like *like, const uint8_t *bytes,
                                               const uint8_t *last, struct lintel_frame first,
                                               struct lintel_frame *to,
                                               const struct lintel_frame *full)
{
    const size_t step = first.header_size + first.length + first.trailer_size;
    const uint32_t word = like == NULL ? lintelp_load4(bytes - step) : 0;
    const uint32_t fourth = like == NULL ? lintelp_load4(bytes - step + 12) : 0;
    const size_t room = (size_t)(last - bytes) / step + 1;

    if (room < (size_t)(full - to))
        full = to + room;
#if defined(__GNUC__) && UINTPTR_MAX == UINT64_MAX
    typedef uint64_t pair __attribute__((vector_size(16)));
    pair pairs[3];
    const pair steps[3] = {{step, step}, {step, 0}, {0, step}};

    _Static_assert(sizeof first == sizeof pairs, "a view is three pairs");
    memcpy(pairs, &first, sizeof pairs);
    while (to < full && is_like(like, bytes, word, fourth)) {
        memcpy(to, &pairs[0], 16);
        memcpy((char *)to + 16, &pairs[1], 16);
        memcpy((char *)to + 32, &pairs[2], 16);
        pairs[0] += steps[0];
        pairs[1] += steps[1];
        pairs[2] += steps[2];
        bytes += step;
        to++;
    }
#else
    while (to < full && is_like(like, bytes, word, fourth)) {
        *to++ = first;
        bytes += step;
        first.header += step;
        first.payload += step;
        first.trailer += step;
        first.offset += step;
    }
#endif
    return to;
}

static LINTELP_APART struct lintel_frame *
take_equals_of_lintel(const uint8_t *bytes, const uint8_t *end, uint64_t length, uint64_t offset,
                      struct lintel_frame *to, const struct lintel_frame *full)
{
    struct lintel_frame first;

    view(&first, bytes, LINTEL_HEADER_SIZE, length, 0, offset);
    return take_equals(NULL, bytes, end - (LINTEL_HEADER_SIZE + length), first, to, full);
}

/*
 * As many frames as lie whole in a run of bytes and need no second look: constants right, length
 * within the limit, no control frames. Everything else is left to the step. This is the loop for
 * lintel's own layout, whose numbers are all known here.
 */
static LINTELP_APART int scan_lintel(struct lintel_decoder *d, const uint8_t *bytes, size_t size,
                                     size_t *at, struct lintel_frame *out, int capacity)
{
    const struct lintel_frame *const full = out + capacity;
    const uint8_t *const end = bytes + size;
    const uint8_t *p = bytes + *at, *last;
    const uint64_t limit = d->raw_span, shift = d->offset - address(p);
    struct lintel_frame *to = out;
    uint64_t before = UINT64_MAX;

    if (size - *at < LINTEL_HEADER_SIZE)
        return 0;
    last = end - LINTEL_HEADER_SIZE; /* where a header may begin */
    do {
        uint64_t length = lintelp_length(p);
        if (!lintelp_is_plain(p) || length > limit ||
            address(p) + LINTEL_HEADER_SIZE + length > address(end))
            break;
        view(to++, p, LINTEL_HEADER_SIZE, length, 0, shift + address(p));
        p += LINTEL_HEADER_SIZE + (size_t)length;
        if (length == before && (uint64_t)(end - p) >= LINTEL_HEADER_SIZE + length) {
            to = take_equals_of_lintel(p, end, length, shift + address(p), to, full);
            p = to[-1].trailer;
        }
        before = length;
    } while (to < full && p <= last);
    d->offset = shift + address(p);
    *at = (size_t)(p - bytes);
    return (int)(to - out);
}

/* The same for one frame in the window, where speculation would only cost. */
static inline int scan_one_lintel(struct lintel_decoder *d, struct lintel_frame *out)
{
    size_t payload = *d->edge + LINTEL_HEADER_SIZE;
    const uint8_t *p;
    uint64_t length;

    if (payload > d->window)
        return 0;
    p = d->base + *d->edge;
    if (!lintelp_is_plain(p))
        return 0;
    length = lintelp_length(p);
    if (length > d->raw_span || length > d->window - payload)
        return 0;
    view(out, p, LINTEL_HEADER_SIZE, length, 0, d->offset);
    d->offset += LINTEL_HEADER_SIZE + length;
    *d->edge = payload + (size_t)length;
    return 1;
}

/* Frames that are as long as the one before them, which is to[-1], in a layout that has a plan. */
static LINTELP_APART struct lintel_frame *take_equals_of(const struct lintelp_plan *plan,
                                                         const uint8_t *end,
                                                         struct lintel_frame *to,
                                                         const struct lintel_frame *full)
{
    struct lintel_frame first = to[-1];
    const size_t step = first.header_size + first.length + first.trailer_size;
    const size_t varint = first.header_size - plan->length_at;
    const uint8_t *bytes = first.header + step;
    uint64_t mask = plan->mask << plan->shift;
    size_t reach = plan->span; /* so many bytes are looked at */
    struct like like = {{plan->check[0].offset, plan->length_at},
                        {plan->check[0].bits, 0},
                        {plan->check[0].mask, 0}};

    if (plan->varint > 0 && varint < sizeof mask) {
        mask = (UINT64_C(1) << 8 * varint) - 1;
        reach = plan->length_at + sizeof mask;
    }
    if (reach < step)
        reach = step;
    if (mask == 0 || plan->checks > 1 || (size_t)(end - bytes) < reach)
        return to;
    like.bits[1] = lintelp_load8(first.header + plan->length_at, 0);
    like.mask[1] = lintelp_load8((const uint8_t *)&mask, plan->swap);
    first.header += step;
    first.payload += step;
    first.trailer += step;
    first.offset += step;
    return take_equals(&like, bytes, end - reach, first, to, full);
}

/* The same for any other layout that has a plan. */
static LINTELP_APART int scan_planned(struct lintel_decoder *d, const uint8_t *bytes, size_t size,
                                      size_t *at, struct lintel_frame *out, int capacity)
{
    const struct lintelp_plan *const plan = &d->layout->plan;
    const uint8_t *const start = bytes + *at, *const end = bytes + size;
    const struct lintel_frame *const full = out + capacity;
    const size_t trailer = d->layout->trailer_min;
    const uint64_t offset = d->offset;
    const uint8_t *p = start;
    struct lintel_frame *to = out;
    uint64_t length, last = UINT64_MAX;
    size_t header;

    while (to < full && lintelp_decoder_measure(d, p, (size_t)(end - p), &header, &length)) {
        size_t left = (size_t)(end - p) - header;
        if (length > left || trailer > left - length)
            break;
        view(to++, p, header, length, trailer, offset + (size_t)(p - start));
        if (length == last)
            to = take_equals_of(plan, end, to, full);
        p = to[-1].trailer + trailer;
        last = length;
    }
    d->offset = offset + (size_t)(p - start);
    *at += (size_t)(p - start);
    return (int)(to - out);
}

/* The same for one frame. */
static int scan_one_planned(struct lintel_decoder *d, size_t left, struct lintel_frame *out)
{
    const uint8_t *p = d->base + *d->edge;
    size_t header, trailer = d->layout->trailer_min;
    uint64_t length;

    if (!lintelp_decoder_measure(d, p, left, &header, &length) || length > left - header ||
        trailer > left - header - length)
        return 0;
    view(out, p, header, length, trailer, d->offset);
    d->offset += header + length + trailer;
    *d->edge += header + (size_t)length + trailer;
    return 1;
}

/* What the window shows. It is closed where that is less than there is room for: what comes next
 * needs a second look. */
static inline int scan_window(struct lintel_decoder *d, struct lintel_frame *out, int capacity)
{
    int n = d->quick == QUICK_LINTEL ? scan_lintel(d, d->base, d->window, d->edge, out, capacity)
                                     : scan_planned(d, d->base, d->window, d->edge, out, capacity);

    if (n < capacity)
        d->window = 0;
    return n;
}

/* ---- frames out: step by step ---------------------------------------------------------------- */

void lintelp_decoder_give(struct lintel_decoder *d, struct lintel_frame *out, const uint8_t *bytes,
                          const struct lintelp_judgement *j)
{
    view(out, bytes, j->header_size, j->length, j->trailer_size, d->offset);
    d->offset += j->header_size + j->length + j->trailer_size;
    d->need = 0;
}

int lintelp_decoder_finish(struct lintel_decoder *d, const uint8_t *bytes, uint64_t have,
                           uint64_t need)
{
    if (have == 0) {
        d->status = LINTEL_E_END;
        return LINTEL_E_END;
    }
    lintelp_explain_truncated(lintelp_decoder_fail(d, LINTEL_E_TRUNCATED), d->layout, d->offset,
                              bytes, have, need);
    return LINTEL_E_TRUNCATED;
}

int lintelp_decoder_pass_over(struct lintel_decoder *d)
{
    size_t own = d->end - d->begin;
    size_t piece = d->size - d->at;
    size_t step = own < d->skip_left ? own : (size_t)d->skip_left;

    d->begin += step;
    d->skip_left -= step;
    step = piece < d->skip_left ? piece : (size_t)d->skip_left;
    d->at += step;
    d->skip_left -= step;
    if (d->skip_left > 0)
        return d->ended ? lintelp_decoder_finish(d, NULL, d->skip - d->skip_left, d->skip) : 0;
    d->offset += d->skip;
    d->skip = 0;
    d->need = 0;
    d->skipped++;
    return 1;
}

int lintelp_decoder_bad(struct lintel_decoder *d, const struct lintelp_judgement *j,
                        const uint8_t *bytes, size_t have)
{
    if (!j->limited || !d->over_limit) {
        lintelp_explain_bad(lintelp_decoder_fail(d, j->status), d->layout, d->offset, j, bytes,
                            have, d->limit);
        return j->status;
    }
    d->skip = d->skip_left = j->header_size + j->length + j->trailer_size;
    d->need = 0;
    return 2;
}

/* The frame at the front lies in the piece. Returns as next, or 2: look again. */
static int next_in_piece(struct lintel_decoder *d, struct lintel_frame *out)
{
    const uint8_t *bytes = d->piece + d->at;
    size_t have = d->size - d->at;
    struct lintelp_judgement j;

    switch (lintelp_decoder_judge(d, &j, bytes, have)) {
    case LINTELP_FRAME:
        lintelp_decoder_give(d, out, bytes, &j);
        d->at += out->header_size + out->length + out->trailer_size;
        return 1;
    case LINTELP_BAD:
        return lintelp_decoder_bad(d, &j, bytes, have);
    case LINTELP_MORE:
        break;
    }
    if (d->ended)
        return lintelp_decoder_finish(d, bytes, have, j.need);
    if (j.need > d->max_memory)
        return lintelp_decoder_over_budget(d, j.need);
    if (lintelp_decoder_append(d, have) < 0)
        return LINTEL_E_NOMEM;
    return lintelp_decoder_wants(d, j.need);
}

/* What own storage has of the frame at its front. Where more is needed than a header of lintel's
 * own, the header was judged when that was said. */
static inline enum lintelp_verdict judge_own(const struct lintel_decoder *d,
                                             struct lintelp_judgement *j, size_t have)
{
    if (!d->layout->lintel || d->need <= LINTEL_HEADER_SIZE)
        return lintelp_decoder_judge(d, j, d->own + d->begin, have);
    j->header_size = LINTEL_HEADER_SIZE;
    j->length = d->need - LINTEL_HEADER_SIZE;
    j->trailer_size = 0;
    return LINTELP_FRAME;
}

/* The frame at the front begins in own storage. Returns as next, or 2: look again. */
static int next_in_own(struct lintel_decoder *d, struct lintel_frame *out)
{
    struct lintelp_judgement j;
    size_t have = d->end - d->begin;

    while (d->need > have && d->at < d->size) {
        size_t left = d->size - d->at;
        if (lintelp_decoder_append(d, left < d->need - have ? left : (size_t)(d->need - have)) < 0)
            return LINTEL_E_NOMEM;
        have = d->end - d->begin;
    }
    if (d->need > have)
        return d->ended ? lintelp_decoder_finish(d, d->own + d->begin, have, d->need)
                        : lintelp_decoder_wants(d, d->need);
    switch (judge_own(d, &j, have)) {
    case LINTELP_FRAME:
        lintelp_decoder_give(d, out, d->own + d->begin, &j);
        d->begin += out->header_size + out->length + out->trailer_size;
        d->live = 1;
        return 1;
    case LINTELP_BAD:
        return lintelp_decoder_bad(d, &j, d->own + d->begin, have);
    case LINTELP_MORE:
        break;
    }
    d->need = j.need;
    return j.need > d->max_memory ? lintelp_decoder_over_budget(d, j.need) : 2;
}

static int next(struct lintel_decoder *d, struct lintel_frame *out)
{
    int rc = 2;

    while (rc == 2) {
        if (d->skip > 0) {
            rc = lintelp_decoder_pass_over(d);
            if (rc < 1)
                return rc;
        }
        if (d->begin < d->end)
            rc = next_in_own(d, out);
        else if (d->at < d->size)
            rc = next_in_piece(d, out);
        else
            rc = d->ended ? lintelp_decoder_finish(d, NULL, 0, 0) : 0;
    }
    return rc;
}

/* Step by step, and from the next frame on through the window again. It is closed when this is
 * called: storage may move, also from under one that is only used up. */
static LINTELP_APART int next_behind(struct lintel_decoder *d, struct lintel_frame *out,
                                     int capacity)
{
    int rc;

    if (d->status < 0)
        return d->status;
    if (d->given_header > 0)
        return LINTEL_E_USAGE;
    rc = next(d, out);
    if (rc != 1)
        return rc;
    lintelp_decoder_open(d);
    if (capacity == 1 || *d->edge >= d->window)
        return 1;
    return 1 + scan_window(d, out + 1, capacity - 1);
}

/* Where the shortest way, of one frame of lintel's own layout, does not go. */
static LINTELP_APART int next_otherwise(struct lintel_decoder *d, struct lintel_frame *out)
{
    if (*d->edge < d->window && d->quick == QUICK && scan_one_planned(d, d->window - *d->edge, out))
        return 1;
    d->window = 0;
    return next_behind(d, out, 1);
}

int lintel_decoder_next(struct lintel_decoder *decoder, struct lintel_frame *out)
{
    struct lintel_decoder *d = decoder;

    if (d == NULL || out == NULL)
        return LINTEL_E_USAGE;
    if (d->quick == QUICK_LINTEL && scan_one_lintel(d, out))
        return 1;
    return d->drip > 0 ? 0 : next_otherwise(d, out);
}

int lintel_decoder_next_batch(struct lintel_decoder *decoder, struct lintel_frame *out,
                              int capacity)
{
    struct lintel_decoder *d = decoder;
    int n;

    if (capacity <= 1)
        return capacity == 1 ? lintel_decoder_next(d, out) : LINTEL_E_USAGE;
    if (d == NULL || out == NULL)
        return LINTEL_E_USAGE;
    if (*d->edge < d->window) {
        n = scan_window(d, out, capacity);
        if (n > 0)
            return n;
    }
    d->window = 0;
    return next_behind(d, out, capacity);
}
