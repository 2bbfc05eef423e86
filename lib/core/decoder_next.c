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

/*
 * Frames of lintel's layout that are as long as the one before them, and have its flags, from bytes
 * on. Where a frame begins is known only when the length before it is, and that wait is most of the
 * work; here nothing waits, the header is only compared. A view is three pairs of numbers that each
 * grow by a step. One has room in size. Returns the place behind the last view.
 */
static LINTELP_APART struct lintel_frame *scan_run_of_equals(const uint8_t *bytes, size_t size,
                                                             struct lintel_frame *to,
                                                             const struct lintel_frame *full,
                                                             uint64_t length, uint64_t offset)
{
    const size_t step = LINTEL_HEADER_SIZE + (size_t)length;
    const uint32_t first = lintelp_load4(bytes - step), fourth = lintelp_load4(bytes - step + 12);
    const uint8_t *const last = bytes + (size - step); /* where one may begin at the latest */
#if defined(__GNUC__) && UINTPTR_MAX == UINT64_MAX
    typedef uint64_t pair __attribute__((vector_size(16)));
    struct lintel_frame frame;
    pair pairs[3];
    const pair steps[3] = {{step, step}, {step, 0}, {0, step}};

    _Static_assert(sizeof frame == sizeof pairs, "a view is three pairs");
    view(&frame, bytes, LINTEL_HEADER_SIZE, length, 0, offset);
    memcpy(pairs, &frame, sizeof pairs);
    while (to < full && bytes <= last && lintelp_load4(bytes) == first &&
           lintelp_load4(bytes + 12) == fourth) {
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
    while (to < full && bytes <= last && lintelp_load4(bytes) == first &&
           lintelp_load4(bytes + 12) == fourth) {
        view(to++, bytes, LINTEL_HEADER_SIZE, length, 0, offset);
        bytes += step;
        offset += step;
    }
#endif
    return to;
}

/*
 * As many frames as lie whole in a run of bytes and need no second look: constants right, length
 * within the limit, no control frames. Everything else is left to the step. This is the loop for
 * lintel's own layout, whose numbers are all known here.
 */
static LINTELP_APART int scan_lintel(struct lintel_decoder *d, const uint8_t *bytes, size_t size,
                                     size_t *at, struct lintel_frame *out, int capacity)
{
    const uint8_t *const start = bytes + *at, *const end = bytes + size;
    const struct lintel_frame *const full = out + capacity;
    const uint64_t limit = d->raw_span, offset = d->offset;
    const uint8_t *p = start;
    struct lintel_frame *to = out;
    uint64_t last = UINT64_MAX;

    while (to < full && end - p >= LINTEL_HEADER_SIZE) {
        const uint8_t *payload = p + LINTEL_HEADER_SIZE;
        uint64_t length = lintelp_length(p);
        if (!lintelp_is_plain(p) || length > limit || length > (size_t)(end - payload))
            break;
        view(to++, p, LINTEL_HEADER_SIZE, length, 0, offset + (size_t)(p - start));
        p = payload + length;
        if (length == last && (uint64_t)(end - p) >= LINTEL_HEADER_SIZE + length) {
            to = scan_run_of_equals(p, (size_t)(end - p), to, full, length,
                                    offset + (size_t)(p - start));
            p = to[-1].trailer;
        }
        last = length;
    }
    d->offset = offset + (size_t)(p - start);
    *at += (size_t)(p - start);
    return (int)(to - out);
}

/* The same for one frame, where speculation would only cost. */
static inline int scan_one_lintel(struct lintel_decoder *d, struct lintel_frame *out)
{
    size_t left = d->size - d->at;
    const uint8_t *p;
    uint64_t length;

    if (left < LINTEL_HEADER_SIZE)
        return 0;
    p = d->piece + d->at;
    if (!lintelp_is_plain(p))
        return 0;
    length = lintelp_length(p);
    if (length > d->raw_span || length > left - LINTEL_HEADER_SIZE)
        return 0;
    view(out, p, LINTEL_HEADER_SIZE, length, 0, d->offset);
    d->at += LINTEL_HEADER_SIZE + (size_t)length;
    d->offset += LINTEL_HEADER_SIZE + length;
    return 1;
}

/* The same for any other layout that has a plan. */
static LINTELP_APART int scan(struct lintel_decoder *d, const uint8_t *bytes, size_t size,
                              size_t *at, struct lintel_frame *out, int capacity)
{
    const struct lintelp_plan plan = d->layout->plan;
    const size_t header = d->layout->header_min;
    const size_t trailer = d->layout->trailer_min;
    const uint64_t low = d->raw_low, span = d->raw_span;
    uint64_t offset = d->offset - *at;
    size_t i = *at;
    int n = 0;

    while (n < capacity && size - i >= plan.span) {
        const uint8_t *p = bytes + i;
        uint64_t raw = lintelp_load8(p + plan.length_at, plan.swap) >> plan.shift & plan.mask;
        uint64_t length = raw * plan.factor + (uint64_t)plan.sum;
        uint64_t wrong = 0;
        for (unsigned c = 0; c < plan.checks; c++)
            wrong |= (lintelp_load8(p + plan.check[c].offset, 0) ^ plan.check[c].bits) &
                     plan.check[c].mask;
        if (wrong != 0 || raw - low > span || length > size - i - header ||
            trailer > size - i - header - length)
            break;
        view(&out[n++], p, header, length, trailer, offset + i);
        i += header + (size_t)length + trailer;
    }
    *at = i;
    d->offset = offset + i;
    return n;
}

static int scan_run(struct lintel_decoder *d, const uint8_t *bytes, size_t size, size_t *at,
                    struct lintel_frame *out, int capacity)
{
    if (d->quick == QUICK_LINTEL)
        return scan_lintel(d, bytes, size, at, out, capacity);
    return scan(d, bytes, size, at, out, capacity);
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
    switch (lintelp_decoder_judge(d, &j, d->own + d->begin, have)) {
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

int lintel_decoder_next(struct lintel_decoder *decoder, struct lintel_frame *out)
{
    struct lintel_decoder *d = decoder;

    if (d == NULL || out == NULL)
        return LINTEL_E_USAGE;
    if (d->drip > 0)
        return 0;
    if (d->status == LINTEL_OK && d->begin == d->end && d->quick == QUICK_LINTEL && d->skip == 0 &&
        scan_one_lintel(d, out))
        return 1;
    return lintel_decoder_next_batch(d, out, 1);
}

int lintel_decoder_next_batch(struct lintel_decoder *decoder, struct lintel_frame *out,
                              int capacity)
{
    struct lintel_decoder *d = decoder;
    int n = 0;
    int rc;

    if (d == NULL || out == NULL || capacity < 1)
        return LINTEL_E_USAGE;
    if (d->status < 0)
        return d->status;
    if (d->given_header > 0)
        return LINTEL_E_USAGE;
    if (d->quick != SLOW && d->skip == 0) {
        if (d->begin == d->end) {
            if (d->at < d->size)
                n = scan_run(d, d->piece, d->size, &d->at, out, capacity);
        } else if (d->need == 0) {
            n = scan_run(d, d->own, d->end, &d->begin, out, capacity);
            d->live |= n > 0;
        }
        if (n > 0)
            return n;
    }
    rc = next(d, out);
    if (rc != 1 || capacity == 1 || d->quick == SLOW || d->begin < d->end)
        return rc;
    return 1 + scan_run(d, d->piece, d->size, &d->at, out + 1, capacity - 1);
}
