/*
 * decoder, inside: what its parts share. decoder.c has the life and the storage, decoder_next.c the
 * frames, decoder_piece.c the frames in pieces.
 *
 *     own:    | delivered | unfinished ........ | free ...... |     piece: | delivered | rest |
 *             0           begin                 end           capacity            at      size
 *
 * The frame at the front begins in own storage if anything is unfinished there (begin < end), and
 * then goes on in the piece; else it begins in the piece. The piece is the caller's memory.
 */
#ifndef LINTELP_CORE_DECODER_H
#define LINTELP_CORE_DECODER_H

#include "core/layout.h"
#include "lintel/decoder.h"

#include <string.h>

/* What stands in front of the bytes of a block. */
struct lintelp_block {
    struct lintelp_block *next;
    size_t size; /* bytes behind this */
};

/* Which short way there is through headers that need no second look. */
enum quick { SLOW, QUICK, QUICK_LINTEL };

/*
 * Between calls:
 * - begin <= end <= capacity <= max_memory, at <= size
 * - lent <= capacity - end, and 0 unless at == size
 * - drip > 0: begin < end, at == size; drip - 1 bytes fit behind end, and do not meet need
 * - given_header > 0: the header is at begin, begin + given_header + given <= end,
 *   given_left <= given_length, and skip is 0
 * - skip > 0: 0 < skip_left <= skip, and nothing is unread
 * - *edge < window, it is open: the frame at the front begins at base + *edge; status is LINTEL_OK,
 *   quick is not SLOW, skip, drip and given_header are 0. Either edge is &at, base is piece, window
 *   is size, and begin == end; or edge is &begin, base is own, window is end, and live is 1
 * - status < 0: only reset() changes it; lack of memory is not noted there
 */
struct lintel_decoder {
    const struct lintel_layout *layout;
    const struct lintel_allocator *allocator;
    uint64_t limit;
    uint64_t max_memory;
    uint64_t raw_low, raw_span; /* words of the length that the short way takes */
    uint8_t quick;              /* one of enum quick */
    uint8_t over_limit;
    uint8_t ended;
    uint8_t live;               /* 1: views point into own storage */
    uint8_t full;               /* 1: the space lent last was filled to the end */
    int status;                 /* sticky */
    struct lintel_error *error; /* what there is to say of it; NULL: too little memory to say it */
    uint8_t *own;
    size_t begin, end, capacity; /* begin <= end <= capacity */
    size_t lent;                 /* bytes of space lent and not yet said to be filled */
    /* Other blocks: those that views of this feed point into, and one that is free, so that a frame
     * that is looked at and the tail behind it take turns and nothing is allocated. */
    struct lintelp_block *retired, *spare;
    const uint8_t *piece; /* never NULL */
    size_t at, size;      /* at <= size */
    /* The window: what the short way may look at with nothing to be asked before. */
    const uint8_t *base;
    size_t *edge;
    size_t window;
    size_t drip;     /* not 0: the last feed was put behind what is there, the frame needs more, and
                        one byte less than this may come before the step looks again */
    uint64_t offset; /* of the frame at the front */
    uint64_t need;   /* bytes that it has at least; 0: not judged yet */
    /* The frame at the front is given in pieces: its header lies at begin, and so many bytes of
     * payload behind it are given already. given_header 0: it is not. */
    uint32_t given_header;
    size_t given;
    uint64_t given_left;      /* bytes of the payload that are not given yet */
    uint64_t given_length;    /* bytes of it whole */
    uint64_t skip, skip_left; /* the frame at the front is passed over: its size, what is left */
    uint64_t skipped;
};

/* The decoder is in this error now. Gives the record to fill in, which is the decoder's; NULL where
 * there is no memory for it, and the code has to do. */
struct lintel_error *lintelp_decoder_fail(struct lintel_decoder *d, int status);
/* A frame wants more storage than max_memory: final. Being out of memory is not, and the next call
 * tries again. */
int lintelp_decoder_over_budget(struct lintel_decoder *d, uint64_t wanted);
/* Make room behind what is unfinished for so many bytes that have arrived. LINTEL_OK or
 * LINTEL_E_NOMEM. */
int lintelp_decoder_make_room(struct lintel_decoder *d, size_t size);

/* Copy so many bytes of the piece behind what is unfinished. LINTEL_OK or LINTEL_E_NOMEM. */
static inline int lintelp_decoder_append(struct lintel_decoder *d, size_t size)
{
    if (size > d->capacity - d->end && lintelp_decoder_make_room(d, size) < 0)
        return LINTEL_E_NOMEM;
    memcpy(d->own + d->end, d->piece + d->at, size);
    d->end += size;
    d->at += size;
    return LINTEL_OK;
}

/* How many bytes may come before the step has to look again and storage runs out, and one. */
static inline size_t lintelp_decoder_drip_of(const struct lintel_decoder *d)
{
    size_t have = d->end - d->begin;
    size_t room = d->capacity - d->end;

    if (d->need <= have || d->skip > 0)
        return 0;
    return 1 + (d->need - have - 1 < room ? (size_t)(d->need - have - 1) : room);
}

/* The frame at the front needs more than there is: 0, as next says it. The next bytes may go behind
 * what is there at once, unless a feed has views to end first. */
static inline int lintelp_decoder_wants(struct lintel_decoder *d, uint64_t need)
{
    d->need = need;
    if (!d->live && d->retired == NULL && !d->ended && d->lent == 0)
        d->drip = lintelp_decoder_drip_of(d);
    return 0;
}

/* ---- the short way --------------------------------------------------------------------------- */

static inline uint64_t lintelp_load8(const uint8_t *bytes, int swap)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if defined(__GNUC__)
    return swap ? __builtin_bswap64(word) : word;
#else
    return swap ? lintelp_load((const uint8_t *)&word, 8, !!BIG_IS_SWAPPED ^ 1) : word;
#endif
}

static inline uint32_t lintelp_load4(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Whether a header of lintel's own layout needs no second look, but for its length: magic and
 * version are right, and there is no flag but REPLY and MORE. */
static inline int lintelp_is_plain(const uint8_t *p)
{
    return (lintelp_load8(p, 0) & MEMORY_ORDER(UINT64_C(0xFFFFFFFA00000000))) ==
           MEMORY_ORDER(UINT64_C(0x4C54010000000000));
}

/* The length in it. */
static inline uint64_t lintelp_length(const uint8_t *p)
{
    return lintel_get_u32be(p + 12);
}

/* The sizes in a header by the plan of its layout. Returns 1; 0: it needs a second look. */
static inline int lintelp_decoder_measure(const struct lintel_decoder *d, const uint8_t *bytes,
                                          size_t have, size_t *header, uint64_t *length)
{
    const struct lintelp_plan *plan = &d->layout->plan;
    uint64_t wrong = 0, raw;
    int size;

    if (have < plan->span)
        return 0;
    for (unsigned c = 0; c < plan->checks; c++)
        wrong |= (lintelp_load8(bytes + plan->check[c].offset, 0) ^ plan->check[c].bits) &
                 plan->check[c].mask;
    *header = d->layout->header_min;
    if (plan->varint > 0) {
        size =
            lintelp_varint_get(&raw, bytes + plan->length_at, have - plan->length_at, plan->varint);
        if (size <= 0)
            return 0;
        *header = plan->length_at + (size_t)size;
    } else {
        raw = lintelp_load8(bytes + plan->length_at, plan->swap) >> plan->shift & plan->mask;
    }
    if (wrong != 0 || raw - d->raw_low > d->raw_span)
        return 0;
    *length = raw * plan->factor + (uint64_t)plan->sum;
    return 1;
}

/* The step, by the short way where the header allows it. */
static inline enum lintelp_verdict lintelp_decoder_judge(const struct lintel_decoder *d,
                                                         struct lintelp_judgement *j,
                                                         const uint8_t *bytes, size_t have)
{
    const struct lintel_layout *layout = d->layout;
    size_t header = layout->header_min;
    int quick = 0;

    if (have < layout->header_min && !layout->varints) {
        j->header_size = 0;
        j->need = layout->header_min;
        return LINTELP_MORE;
    }
    if (d->quick == QUICK_LINTEL) {
        j->length = lintelp_length(bytes);
        quick = lintelp_is_plain(bytes) && j->length <= d->raw_span;
    } else if (d->quick == QUICK) {
        quick = lintelp_decoder_measure(d, bytes, have, &header, &j->length);
    }
    if (!quick)
        return lintelp_layout_judge(layout, j, bytes, have, d->limit);
    j->header_size = (uint32_t)header;
    j->trailer_size = layout->trailer_min;
    j->need = j->header_size + j->length + j->trailer_size;
    return have < j->need ? LINTELP_MORE : LINTELP_FRAME;
}

/* ---- what the parts call --------------------------------------------------------------------- */

/* Open the window, which is closed, after a feed or a frame, if the short way may be tried on the
 * frame at the front. One that was begun before this feed does not lie whole in own storage. */
static inline void lintelp_decoder_open(struct lintel_decoder *d)
{
    if (d->quick == SLOW || d->skip > 0)
        return;
    if (d->begin == d->end) {
        d->base = d->piece;
        d->edge = &d->at;
        d->window = d->size;
    } else if (d->live) {
        d->base = d->own;
        d->edge = &d->begin;
        d->window = d->end;
    }
}

/* What the step says is bad: the error; or 2, and the frame is passed over, if the caller chose so.
 */
int lintelp_decoder_bad(struct lintel_decoder *d, const struct lintelp_judgement *j,
                        const uint8_t *bytes, size_t have);
/* Pass over the frame at the front. Returns 1 when it is behind us, else as next. */
int lintelp_decoder_pass_over(struct lintel_decoder *d);
/* The end was announced: have bytes came of a frame that has at least need. bytes is its header, as
 * far as that came, or NULL. */
int lintelp_decoder_finish(struct lintel_decoder *d, const uint8_t *bytes, uint64_t have,
                           uint64_t need);
/* Hand out the frame at bytes, and go on behind it. */
void lintelp_decoder_give(struct lintel_decoder *d, struct lintel_frame *out, const uint8_t *bytes,
                          const struct lintelp_judgement *j);

#endif
