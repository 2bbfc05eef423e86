/*
 * Payloads in pieces, as they arrive. The header of the frame stays at the front of own storage
 * until its last piece is given; of the payload nothing stays longer than the caller looks at it.
 */
#include "core/decoder.h"
#include "core/explain.h"
#include "core/internal.h"

/* Pieces show the header in own storage, so that it may not move when the trailer comes out of the
 * same feed: room for it is made before the first of them. Within the budget: a trailer may be
 * shorter than the longest. */
static int reserve_trailer(struct lintel_decoder *d)
{
    size_t used = d->end - d->begin, size = d->layout->trailer_max;

    if (d->at == d->size)
        return LINTEL_OK;
    if (size > d->max_memory - used)
        size = (size_t)(d->max_memory - used);
    return lintelp_decoder_make_room(d, size);
}

static int begin_pieces(struct lintel_decoder *d, const struct lintelp_judgement *j)
{
    if (reserve_trailer(d) < 0)
        return LINTEL_E_NOMEM;
    d->given_header = j->header_size;
    d->given_length = j->length;
    d->given_left = j->length;
    d->given = 0;
    d->need = 0;
    d->drip = 0;
    return 2;
}

static inline void tell(struct lintel_decoder *d, struct lintel_piece *out, const uint8_t *bytes,
                        size_t size, uint64_t left)
{
    out->header = d->own + d->begin;
    out->header_size = d->given_header;
    out->bytes = bytes;
    out->size = size;
    out->position = d->given_length - left;
    out->length = d->given_length;
    out->trailer = bytes + size;
    out->trailer_size = 0;
    out->offset = d->offset;
    out->last = 0;
    d->live = 1;
}

/* The frame is behind us; trailer bytes of it lie in own storage. */
static inline void end_pieces(struct lintel_decoder *d, struct lintel_piece *out, uint32_t trailer)
{
    out->last = 1;
    d->offset += d->given_header + d->given_length + trailer;
    d->begin += d->given_header + d->given + trailer;
    d->given_header = 0;
    d->given = 0;
}

static int truncated(struct lintel_decoder *d, size_t trailer_have, uint64_t trailer_need)
{
    uint64_t have = d->given_header + d->given_length - d->given_left + trailer_have;
    return lintelp_decoder_finish(d, d->own + d->begin, have,
                                  d->given_header + d->given_length + trailer_need);
}

static int next_of_payload(struct lintel_decoder *d, struct lintel_piece *out)
{
    size_t own = d->end - d->begin - d->given_header - d->given;
    size_t size = own > 0 ? own : d->size - d->at;

    if (size == 0)
        return d->ended ? truncated(d, 0, lintelp_trailer_least(d->layout)) : 0;
    if (size > d->given_left)
        size = (size_t)d->given_left;
    if (!d->live && reserve_trailer(d) < 0)
        return LINTEL_E_NOMEM;
    tell(d, out, own > 0 ? d->own + d->begin + d->given_header + d->given : d->piece + d->at, size,
         d->given_left);
    if (own > 0)
        d->given += size;
    else
        d->at += size;
    d->given_left -= size;
    if (d->given_left == 0 && d->layout->trailer_max == 0)
        end_pieces(d, out, 0);
    return 1;
}

static int next_of_trailer(struct lintel_decoder *d, struct lintel_piece *out)
{
    struct lintelp_judgement j = {.header_size = d->given_header, .length = d->given_length};

    for (;;) {
        const uint8_t *bytes = d->own + d->begin + d->given_header + d->given;
        size_t have = d->end - d->begin - d->given_header - d->given;
        size_t left = d->size - d->at;
        switch (lintelp_layout_judge_trailer(d->layout, &j, bytes, have)) {
        case LINTELP_FRAME:
            tell(d, out, bytes, 0, 0);
            out->trailer_size = j.trailer_size;
            end_pieces(d, out, j.trailer_size);
            return 1;
        case LINTELP_BAD:
            lintelp_explain_trailer(lintelp_decoder_fail(d, j.status), d->layout, d->offset, &j,
                                    bytes, have);
            return j.status;
        case LINTELP_MORE:
            break;
        }
        if (left == 0)
            return d->ended ? truncated(d, have, j.need) : 0;
        if (lintelp_decoder_append(d, left < j.need - have ? left : (size_t)(j.need - have)) < 0)
            return LINTEL_E_NOMEM;
    }
}

static int give_whole(struct lintel_decoder *d, struct lintel_piece *out, const uint8_t *bytes,
                      const struct lintelp_judgement *j)
{
    struct lintel_frame frame;

    lintelp_decoder_give(d, &frame, bytes, j);
    out->header = frame.header;
    out->header_size = frame.header_size;
    out->bytes = frame.payload;
    out->size = frame.length;
    out->position = 0;
    out->length = frame.length;
    out->trailer = frame.trailer;
    out->trailer_size = frame.trailer_size;
    out->offset = frame.offset;
    out->last = 1;
    return 1;
}

/* Look for a header that is whole. Returns as next, or 2: look again. */
static int look(struct lintel_decoder *d, struct lintel_piece *out)
{
    uint8_t owned = d->begin < d->end;
    size_t have = owned ? d->end - d->begin : d->size - d->at;
    size_t left = d->size - d->at;
    const uint8_t *bytes;
    struct lintelp_judgement j;

    if (have == 0)
        return d->ended ? lintelp_decoder_finish(d, NULL, 0, 0) : 0;
    bytes = owned ? d->own + d->begin : d->piece + d->at;
    j.header_size = 0;
    j.length = 0;
    switch (lintelp_decoder_judge(d, &j, bytes, have)) {
    case LINTELP_FRAME:
        if (owned)
            d->begin += (size_t)(j.header_size + j.length + j.trailer_size);
        else
            d->at += (size_t)(j.header_size + j.length + j.trailer_size);
        d->live |= owned;
        return give_whole(d, out, bytes, &j);
    case LINTELP_BAD:
        return lintelp_decoder_bad(d, &j, bytes, have);
    case LINTELP_MORE:
        break;
    }
    if (j.length > 0 && (owned ? have + left : have) > j.header_size && j.header_size > 0) {
        if (!owned && lintelp_decoder_append(d, j.header_size) < 0)
            return LINTEL_E_NOMEM;
        return begin_pieces(d, &j);
    }
    if (owned && left > j.need - have)
        left = (size_t)(j.need - have);
    if (d->ended && (left == 0 || !owned))
        return lintelp_decoder_finish(d, bytes, have, j.need);
    if (left == 0) {
        d->need = j.need;
        return 0;
    }
    return lintelp_decoder_append(d, left) < 0 ? LINTEL_E_NOMEM : 2;
}

static LINTELP_APART int next_piece(struct lintel_decoder *d, struct lintel_piece *out)
{
    int rc = 2;

    if (d->status < 0)
        return d->status;
    while (rc == 2) {
        if (d->skip > 0) {
            rc = lintelp_decoder_pass_over(d);
            if (rc < 1)
                return rc;
        }
        if (d->given_header == 0)
            rc = look(d, out);
        else if (d->given_left > 0)
            rc = next_of_payload(d, out);
        else
            rc = next_of_trailer(d, out);
    }
    return rc;
}

/* A header of lintel's own layout at the front of what was fed, with some of its payload: the
 * payload's length if it needs no second look and is stored now; 0, and nothing has changed. */
static inline uint64_t begin_lintel(struct lintel_decoder *d, const uint8_t *p, size_t have)
{
    uint64_t length;

    if (d->quick != QUICK_LINTEL || have <= LINTEL_HEADER_SIZE || d->begin != d->end ||
        d->capacity - d->end < LINTEL_HEADER_SIZE || d->skip > 0 || !lintelp_is_plain(p))
        return 0;
    length = lintelp_length(p);
    if (length > d->raw_span || length <= have - LINTEL_HEADER_SIZE)
        return 0;
    memcpy(d->own + d->end, p, LINTEL_HEADER_SIZE);
    d->end += LINTEL_HEADER_SIZE;
    d->given_header = LINTEL_HEADER_SIZE;
    d->given_length = length;
    d->need = 0;
    d->drip = 0;
    return length;
}

/* Where a payload goes on in what was fed, next to nothing is to be decided. */
static inline int next_quickly(struct lintel_decoder *d, struct lintel_piece *out)
{
    uint64_t left = d->given_left;
    size_t size = d->size - d->at;
    const uint8_t *bytes = d->piece + d->at;

    if (d->status < 0 || d->ended || d->given > 0)
        return next_piece(d, out);
    if (left == 0) {
        left = begin_lintel(d, bytes, size);
        if (left == 0)
            return next_piece(d, out);
        bytes += LINTEL_HEADER_SIZE;
        size -= LINTEL_HEADER_SIZE;
    } else if (d->end - d->begin != d->given_header) {
        return next_piece(d, out);
    } else if (size == 0) {
        return 0;
    } else if (size >= left) {
        if (d->layout->trailer_max > 0)
            return next_piece(d, out);
        size = (size_t)left;
    }
    tell(d, out, bytes, size, left);
    d->at = (size_t)(bytes - d->piece) + size;
    d->given_left = left - size;
    if (left == size)
        end_pieces(d, out, 0);
    return 1;
}

/*
 * What a stream of large payloads is made of: what was fed ends one, and its rest begins the next,
 * whose header needs no second look. Both at once, 2; or 0, and nothing has changed.
 */
static inline int next_two(struct lintel_decoder *d, struct lintel_piece *out)
{
    const uint8_t *bytes = d->piece + d->at;
    const uint64_t left = d->given_left;
    uint64_t have = d->size - d->at, length;

    if (left == 0 || have <= LINTEL_HEADER_SIZE || left >= have - LINTEL_HEADER_SIZE ||
        d->quick != QUICK_LINTEL || d->status < 0 || d->given > 0 ||
        d->end - d->begin != LINTEL_HEADER_SIZE || d->capacity - d->end < LINTEL_HEADER_SIZE ||
        !lintelp_is_plain(bytes + left))
        return 0;
    length = lintelp_length(bytes + left);
    have -= left + LINTEL_HEADER_SIZE;
    if (length > d->raw_span || length <= have)
        return 0;
    tell(d, &out[0], bytes, (size_t)left, left);
    end_pieces(d, &out[0], 0);
    bytes += left;
    memcpy(d->own + d->end, bytes, LINTEL_HEADER_SIZE);
    d->end += LINTEL_HEADER_SIZE;
    d->given_header = LINTEL_HEADER_SIZE;
    d->given_length = length;
    d->given_left = length - have;
    d->at = d->size;
    tell(d, &out[1], bytes + LINTEL_HEADER_SIZE, (size_t)have, length);
    return 2;
}

int lintel_decoder_next_piece(struct lintel_decoder *decoder, struct lintel_piece *out)
{
    if (decoder == NULL || out == NULL)
        return LINTEL_E_USAGE;
    decoder->window = 0;
    return next_quickly(decoder, out);
}

int lintel_decoder_next_pieces(struct lintel_decoder *decoder, struct lintel_piece *out,
                               int capacity)
{
    int n = 0;
    int rc;

    if (decoder == NULL || out == NULL || capacity < 1)
        return LINTEL_E_USAGE;
    decoder->window = 0;
    if (capacity > 1 && next_two(decoder, out) > 0)
        return 2;
    do {
        rc = next_quickly(decoder, &out[n]);
        n += rc == 1;
    } while (rc == 1 && n < capacity &&
             (decoder->at < decoder->size ||
              decoder->end - decoder->begin > decoder->given_header + decoder->given));
    return n > 0 ? n : rc;
}
