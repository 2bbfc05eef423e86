/*
 * The thin shell around the pure step, lintelp_layout_judge(): it owns the storage and the
 * allocator, and hands out views.
 *
 *     own:    | delivered | unfinished ........ | free ...... |     piece: | delivered | rest |
 *             0           begin                 end           capacity            at      size
 *
 * The frame at the front begins in own storage if anything is unfinished there (begin < end), and
 * then goes on in the piece; else it begins in the piece. The piece is the caller's memory.
 */
#include "lintel/decoder.h"
#include "core/explain.h"
#include "core/internal.h"
#include "core/layout.h"
#include "core/text.h"

#include <string.h>

#define FIRST_CAPACITY ((size_t)16 * 1024)  /* law 2: growth by doubling begins here, at most */
#define BUSY_CAPACITY  ((size_t)256 * 1024) /* what a busy stream of small frames may earn */

/* Which short way there is through headers that need no second look. */
enum quick { SLOW, QUICK, QUICK_LINTEL };

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
    /* A second block, so that a frame that is looked at and the tail behind it take turns. */
    uint8_t *other;
    size_t other_size;
    uint8_t other_live; /* 1: views point into it */
    const uint8_t *piece;
    size_t at, size;          /* at <= size */
    uint64_t offset;          /* of the frame at the front */
    uint64_t need;            /* bytes that it has at least; 0: not judged yet */
    uint64_t skip, skip_left; /* the frame at the front is passed over: its size, what is left */
    uint64_t skipped;
};

/* ---- life ------------------------------------------------------------------------------------ */

/* The words of the length that come to 0 to limit bytes, for the short way. */
static void plan_span(struct lintel_decoder *d)
{
    const struct lintelp_plan *plan = &d->layout->plan;
    const struct lintelp_view *view = &d->layout->views[d->layout->length];
    uint64_t low, high;

    if (!plan->usable || (plan->sum > 0 && (uint64_t)plan->sum > d->limit))
        return;
    low = view->low < 0 ? (0 - (uint64_t)view->low - 1) / plan->factor + 1 : 0;
    high = (d->limit - (uint64_t)plan->sum) / plan->factor;
    if (high > plan->raw_max)
        high = plan->raw_max;
    if (low > high)
        return;
    d->quick = d->layout->lintel ? QUICK_LINTEL : QUICK;
    d->raw_low = low;
    d->raw_span = high - low;
}

static int refuse_limit(struct lintel_error *error, uint64_t asked, uint64_t most)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_RANGE, 0);
    lintelp_text_str(&text, "a frame limit of ");
    lintelp_text_u64(&text, asked);
    lintelp_text_str(&text, " is more than the layout's length can carry, ");
    lintelp_text_u64(&text, most);
    return LINTEL_E_RANGE;
}

int lintel_decoder_new(struct lintel_decoder **out, const struct lintel_decoder_options *options,
                       struct lintel_error *error)
{
    static const struct lintel_decoder_options defaults = LINTEL_DECODER_OPTIONS_INIT;
    const struct lintel_decoder_options *o = options != NULL ? options : &defaults;
    struct lintel_decoder *d;
    const struct lintel_layout *layout;
    uint64_t most;

    if (out == NULL || o->size != sizeof *o)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "decoder: NULL, or options of another size");
    layout = o->layout != NULL ? o->layout : lintel_layout_default();
    most = layout->length_max;
    if (o->max_frame > most)
        return refuse_limit(error, o->max_frame, most);
    d = lintelp_resize(o->allocator, NULL, sizeof *d);
    if (d == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "decoder: out of memory");
    memset(d, 0, sizeof *d);
    d->layout = layout;
    d->allocator = o->allocator;
    d->limit = o->max_frame;
    if (d->limit == 0)
        d->limit = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    d->max_memory = o->max_memory;
    if (d->max_memory == 0)
        d->max_memory = lintel_frame_size_max(layout, d->limit) + BUSY_CAPACITY;
    d->over_limit = o->over_limit == LINTEL_OVER_LIMIT_SKIP;
    plan_span(d);
    *out = d;
    return LINTEL_OK;
}

static void free_other(struct lintel_decoder *d)
{
    if (d->other != NULL)
        (void)lintelp_resize(d->allocator, d->other, 0);
    d->other = NULL;
    d->other_size = 0;
    d->other_live = 0;
}

static void free_error(struct lintel_decoder *d)
{
    if (d->error != NULL)
        (void)lintelp_resize(d->allocator, d->error, 0);
    d->error = NULL;
}

static void free_own(struct lintel_decoder *d)
{
    if (d->own != NULL)
        (void)lintelp_resize(d->allocator, d->own, 0);
    d->own = NULL;
    d->begin = d->end = d->capacity = 0;
}

void lintel_decoder_free(struct lintel_decoder *decoder)
{
    if (decoder == NULL)
        return;
    free_other(decoder);
    free_own(decoder);
    free_error(decoder);
    (void)lintelp_resize(decoder->allocator, decoder, 0);
}

void lintel_decoder_reset(struct lintel_decoder *d)
{
    if (d == NULL)
        return;
    free_error(d);
    d->ended = d->live = d->other_live = d->full = 0;
    d->status = LINTEL_OK;
    d->begin = d->end = d->lent = 0;
    d->piece = NULL;
    d->at = d->size = 0;
    d->offset = d->need = d->skip = d->skip_left = d->skipped = 0;
}

/* ---- storage --------------------------------------------------------------------------------- */

/* Ends the life of all views. */
static void begin_feed(struct lintel_decoder *d)
{
    d->live = d->other_live = 0;
    if (d->begin == d->end)
        d->begin = d->end = 0;
}

/* The decoder is in this error now. Where there is no memory for its text the code has to do. */
static struct lintel_error *fail(struct lintel_decoder *d, int status)
{
    d->status = status;
    free_error(d);
    d->error = lintelp_resize(d->allocator, NULL, sizeof *d->error);
    return d->error;
}

/* The budget is final; being out of memory is not, and the next call tries again. */
static int over_budget(struct lintel_decoder *d, uint64_t wanted)
{
    lintelp_explain_budget(fail(d, LINTEL_E_NOMEM), d->offset, wanted, d->max_memory);
    return LINTEL_E_NOMEM;
}

/* A block of at least that size to move to: the other one where it is free and large enough. */
static uint8_t *take_block(struct lintel_decoder *d, size_t *capacity)
{
    uint8_t *block = d->other;

    if (block == NULL || d->other_live || d->other_size < *capacity)
        return lintelp_resize(d->allocator, NULL, *capacity);
    *capacity = d->other_size;
    d->other = NULL;
    d->other_size = 0;
    return block;
}

/* The block that own storage was moved out of: views may live in it, or it is the other one now. */
static void put_aside(struct lintel_decoder *d, uint8_t *block, size_t size)
{
    if (block == NULL)
        return;
    if (d->other != NULL && !d->other_live && d->other_size < size)
        free_other(d);
    if (d->other == NULL) {
        d->other = block;
        d->other_size = size;
        d->other_live = d->live;
        return;
    }
    (void)lintelp_resize(d->allocator, block, 0);
}

/* Move what is unfinished into storage of that capacity, at its front. */
static int move_to(struct lintel_decoder *d, size_t capacity)
{
    size_t used = d->end - d->begin;
    int resized = d->begin == 0 && !d->live && (d->other == NULL || d->other_size < capacity);
    uint8_t *block =
        resized ? lintelp_resize(d->allocator, d->own, capacity) : take_block(d, &capacity);

    if (block == NULL)
        return LINTEL_E_NOMEM;
    if (!resized) {
        if (used > 0)
            memcpy(block, d->own + d->begin, used);
        put_aside(d, d->own, d->capacity);
        d->live = 0;
    }
    d->own = block;
    d->capacity = capacity;
    d->begin = 0;
    d->end = used;
    return LINTEL_OK;
}

/* Make room for so many bytes that have arrived. Doubling, or a move to the front where half is
 * free there, keeps the work linear. */
static int make_room(struct lintel_decoder *d, size_t size)
{
    size_t used = d->end - d->begin;
    size_t capacity = d->capacity;

    if (size <= d->capacity - d->end)
        return LINTEL_OK;
    if (!d->live && size <= d->capacity - used && d->begin >= used) {
        memmove(d->own, d->own + d->begin, used);
        d->begin = 0;
        d->end = used;
        return LINTEL_OK;
    }
    if (size > d->max_memory || used > d->max_memory - size)
        return over_budget(d, (uint64_t)used + size);
    if (capacity == 0)
        capacity = 64;
    while (capacity - used < size || capacity < used)
        capacity = capacity <= d->max_memory / 2 ? 2 * capacity : (size_t)d->max_memory;
    return move_to(d, capacity);
}

static int append(struct lintel_decoder *d, size_t size)
{
    if (size > d->capacity - d->end) {
        int rc = make_room(d, size);
        if (rc < 0)
            return rc;
    }
    memcpy(d->own + d->end, d->piece + d->at, size);
    d->end += size;
    d->at += size;
    return LINTEL_OK;
}

/* ---- bytes in -------------------------------------------------------------------------------- */

static int may_feed(const struct lintel_decoder *d)
{
    if (d->status < 0)
        return d->status;
    return d->at < d->size || d->ended ? LINTEL_E_USAGE : LINTEL_OK;
}

int lintel_decoder_feed(struct lintel_decoder *decoder, const void *bytes, size_t size)
{
    int rc;

    if (decoder == NULL || (bytes == NULL && size > 0))
        return LINTEL_E_USAGE;
    rc = may_feed(decoder);
    if (rc < 0)
        return rc;
    begin_feed(decoder);
    decoder->lent = 0;
    decoder->piece = bytes;
    decoder->at = 0;
    decoder->size = size;
    return LINTEL_OK;
}

/* More storage for bytes to be received: twice as much, in the budget. */
static int grow_space(struct lintel_decoder *d)
{
    size_t capacity = d->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : 2 * d->capacity;

    if (capacity > d->max_memory)
        capacity = (size_t)d->max_memory;
    if (capacity <= d->capacity)
        return over_budget(d, d->need > d->capacity ? d->need : (uint64_t)d->capacity + 1);
    return move_to(d, capacity);
}

int lintel_decoder_space(struct lintel_decoder *decoder, void **space, size_t *size)
{
    struct lintel_decoder *d = decoder;
    size_t used, wanted;
    int rc;

    if (d == NULL || space == NULL || size == NULL)
        return LINTEL_E_USAGE;
    rc = may_feed(d);
    if (rc < 0)
        return rc;
    begin_feed(d);
    used = d->end - d->begin;
    wanted = d->need > used && d->need - used < SIZE_MAX ? (size_t)(d->need - used) : 1;
    if (d->begin > 0 && d->begin >= used && d->capacity - d->end < wanted) {
        memmove(d->own, d->own + d->begin, used);
        d->begin = 0;
        d->end = used;
    }
    if (d->capacity == d->end ||
        (d->full && d->capacity < BUSY_CAPACITY && d->capacity < d->max_memory))
        rc = grow_space(d);
    d->full = 0;
    if (rc < 0 && (d->capacity == d->end || d->status < 0))
        return rc;
    *space = d->own + d->end;
    *size = d->lent = d->capacity - d->end;
    return LINTEL_OK;
}

int lintel_decoder_filled(struct lintel_decoder *decoder, size_t size)
{
    if (decoder == NULL || size > decoder->lent)
        return LINTEL_E_USAGE;
    decoder->full = size > 0 && size == decoder->lent;
    decoder->lent = 0;
    decoder->end += size;
    return LINTEL_OK;
}

int lintel_decoder_end(struct lintel_decoder *decoder)
{
    if (decoder == NULL)
        return LINTEL_E_USAGE;
    decoder->ended = 1;
    return LINTEL_OK;
}

/* ---- frames out: the short way --------------------------------------------------------------- */

static inline uint64_t load8(const uint8_t *bytes, int swap)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if defined(__GNUC__)
    return swap ? __builtin_bswap64(word) : word;
#else
    if (swap)
        word = lintelp_load((const uint8_t *)&word, 8, 1) == word ? lintelp_load(bytes, 8, 0)
                                                                  : lintelp_load(bytes, 8, 1);
    return word;
#endif
}

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

/* Magic, version, reserved flags and CONTROL in the first eight bytes of lintel's header. */
#define LINTEL_MASK UINT64_C(0xFFFFFFF800000000)
#define LINTEL_BITS UINT64_C(0x4C54010000000000)

/*
 * As many frames as lie whole in a run of bytes and need no second look: constants right, length
 * within the limit, no control frames. Everything else is left to the step. This is the loop for
 * lintel's own layout, whose numbers are all known here.
 */
static inline int scan_lintel(struct lintel_decoder *d, const uint8_t *bytes, size_t size,
                              size_t *at, struct lintel_frame *out, int capacity)
{
    const uint64_t limit = d->raw_span;
    uint64_t offset = d->offset - *at;
    size_t i = *at;
    int n = 0;

    while (n < capacity && size - i >= LINTEL_HEADER_SIZE) {
        const uint8_t *p = bytes + i;
        uint64_t first = load8(p, BIG_IS_SWAPPED);
        uint64_t length = load8(p + 8, BIG_IS_SWAPPED) & 0xFFFFFFFF;
        if ((first & LINTEL_MASK) != LINTEL_BITS || (p[3] & 3) == LINTEL_ERROR || length > limit ||
            length > size - i - LINTEL_HEADER_SIZE)
            break;
        view(&out[n++], p, LINTEL_HEADER_SIZE, length, 0, offset + i);
        i += LINTEL_HEADER_SIZE + (size_t)length;
    }
    *at = i;
    d->offset = offset + i;
    return n;
}

/* The same for any other layout that has a plan. */
static int scan(struct lintel_decoder *d, const uint8_t *bytes, size_t size, size_t *at,
                struct lintel_frame *out, int capacity)
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
        uint64_t raw = load8(p + plan.length_at, plan.swap) >> plan.shift & plan.mask;
        uint64_t length = raw * plan.factor + (uint64_t)plan.sum;
        uint64_t wrong = 0;
        for (unsigned c = 0; c < plan.checks; c++)
            wrong |= (load8(p + plan.check[c].offset, 0) ^ plan.check[c].bits) & plan.check[c].mask;
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

static void give(struct lintel_decoder *d, struct lintel_frame *out, const uint8_t *bytes,
                 const struct lintelp_judgement *j)
{
    view(out, bytes, j->header_size, j->length, j->trailer_size, d->offset);
    d->offset += j->header_size + j->length + j->trailer_size;
    d->need = 0;
}

/* The end was announced: have bytes came of a frame that has at least need. */
static int finish(struct lintel_decoder *d, const uint8_t *bytes, uint64_t have, uint64_t need)
{
    if (have == 0) {
        d->status = LINTEL_E_END;
        return LINTEL_E_END;
    }
    lintelp_explain_truncated(fail(d, LINTEL_E_TRUNCATED), d->layout, d->offset, bytes, have, need);
    return LINTEL_E_TRUNCATED;
}

/* Pass over the frame at the front. Returns 1 when it is behind us, else as next. */
static int pass_over(struct lintel_decoder *d)
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
        return d->ended ? finish(d, NULL, d->skip - d->skip_left, d->skip) : 0;
    d->offset += d->skip;
    d->skip = 0;
    d->need = 0;
    d->skipped++;
    return 1;
}

/* The step, by the short way where the header allows it. */
static enum lintelp_verdict judge(const struct lintel_decoder *d, struct lintelp_judgement *j,
                                  const uint8_t *bytes, size_t have)
{
    const struct lintelp_plan *plan = &d->layout->plan;
    uint64_t wrong = 0, raw;

    if (d->quick == SLOW || have < plan->span)
        return lintelp_layout_judge(d->layout, j, bytes, have, d->limit);
    for (unsigned c = 0; c < plan->checks; c++)
        wrong |=
            (load8(bytes + plan->check[c].offset, 0) ^ plan->check[c].bits) & plan->check[c].mask;
    if (d->quick == QUICK_LINTEL)
        wrong |= bytes[3] > 5 || (bytes[3] & 3) == LINTEL_ERROR;
    raw = load8(bytes + plan->length_at, plan->swap) >> plan->shift & plan->mask;
    if (wrong != 0 || raw - d->raw_low > d->raw_span)
        return lintelp_layout_judge(d->layout, j, bytes, have, d->limit);
    j->header_size = d->layout->header_min;
    j->trailer_size = d->layout->trailer_min;
    j->length = raw * plan->factor + (uint64_t)plan->sum;
    j->need = j->header_size + j->length + j->trailer_size;
    return have < j->need ? LINTELP_MORE : LINTELP_FRAME;
}

/* What the step says is bad: passed over if that is what the caller chose, else the error. */
static int judge_bad(struct lintel_decoder *d, const struct lintelp_judgement *j,
                     const uint8_t *bytes, size_t have)
{
    if (!j->limited || !d->over_limit) {
        lintelp_explain_bad(fail(d, j->status), d->layout, d->offset, j, bytes, have, d->limit);
        return j->status;
    }
    d->skip = d->skip_left = j->header_size + j->length + j->trailer_size;
    return 2;
}

/* The frame at the front lies in the piece. Returns as next, or 2: look again. */
static int next_in_piece(struct lintel_decoder *d, struct lintel_frame *out)
{
    const uint8_t *bytes = d->piece + d->at;
    size_t have = d->size - d->at;
    struct lintelp_judgement j;

    switch (judge(d, &j, bytes, have)) {
    case LINTELP_FRAME:
        give(d, out, bytes, &j);
        d->at += out->header_size + out->length + out->trailer_size;
        return 1;
    case LINTELP_BAD:
        return judge_bad(d, &j, bytes, have);
    case LINTELP_MORE:
        break;
    }
    if (d->ended)
        return finish(d, bytes, have, j.need);
    if (j.need > d->max_memory)
        return over_budget(d, j.need);
    if (append(d, have) < 0)
        return LINTEL_E_NOMEM;
    d->need = j.need;
    return 0;
}

/* The frame at the front begins in own storage. Returns as next, or 2: look again. */
static int next_in_own(struct lintel_decoder *d, struct lintel_frame *out)
{
    struct lintelp_judgement j;
    size_t have = d->end - d->begin;

    while (d->need > have && d->at < d->size) {
        size_t left = d->size - d->at;
        if (append(d, left < d->need - have ? left : (size_t)(d->need - have)) < 0)
            return LINTEL_E_NOMEM;
        have = d->end - d->begin;
    }
    if (d->need > have)
        return d->ended ? finish(d, d->own + d->begin, have, d->need) : 0;
    switch (judge(d, &j, d->own + d->begin, have)) {
    case LINTELP_FRAME:
        give(d, out, d->own + d->begin, &j);
        d->begin += out->header_size + out->length + out->trailer_size;
        d->live = 1;
        return 1;
    case LINTELP_BAD:
        return judge_bad(d, &j, d->own + d->begin, have);
    case LINTELP_MORE:
        break;
    }
    d->need = j.need;
    return j.need > d->max_memory ? over_budget(d, j.need) : 2;
}

static int next(struct lintel_decoder *d, struct lintel_frame *out)
{
    int rc = 2;

    while (rc == 2) {
        if (d->skip > 0) {
            rc = pass_over(d);
            if (rc < 1)
                return rc;
        }
        if (d->begin < d->end)
            rc = next_in_own(d, out);
        else if (d->at < d->size)
            rc = next_in_piece(d, out);
        else
            rc = d->ended ? finish(d, NULL, 0, 0) : 0;
    }
    return rc;
}

/* A few bytes for a frame that needs more: the way of streams that drip. 1 if that was it. */
static inline int drip(struct lintel_decoder *d)
{
    size_t left = d->size - d->at;
    size_t have = d->end - d->begin;

    if (d->need <= have || left >= d->need - have || left > d->capacity - d->end || d->ended)
        return 0;
    if (left == 1)
        d->own[d->end] = d->piece[d->at];
    else if (left > 0)
        memcpy(d->own + d->end, d->piece + d->at, left);
    d->end += left;
    d->at = d->size;
    return 1;
}

int lintel_decoder_next(struct lintel_decoder *decoder, struct lintel_frame *out)
{
    struct lintel_decoder *d = decoder;

    if (d == NULL || out == NULL)
        return LINTEL_E_USAGE;
    if (d->status < 0)
        return d->status;
    if (d->begin == d->end && d->quick == QUICK_LINTEL && d->skip == 0) {
        if (scan_lintel(d, d->piece, d->size, &d->at, out, 1) == 1)
            return 1;
    } else if (d->begin < d->end && d->skip == 0 && drip(d)) {
        return 0;
    }
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
    if (d->quick != SLOW && d->skip == 0) {
        if (d->begin == d->end) {
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

/* ---- asking ---------------------------------------------------------------------------------- */

size_t lintel_decoder_unread(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? 0 : decoder->end - decoder->begin + (decoder->size - decoder->at);
}

size_t lintel_decoder_need(const struct lintel_decoder *decoder)
{
    uint64_t have, need;

    if (decoder == NULL)
        return 1;
    if (decoder->skip > 0)
        return decoder->skip_left < SIZE_MAX ? (size_t)decoder->skip_left : SIZE_MAX;
    have = lintel_decoder_unread(decoder);
    need = decoder->need != 0 ? decoder->need : decoder->layout->header_min;
    if (need <= have)
        return 1;
    return need - have < SIZE_MAX ? (size_t)(need - have) : SIZE_MAX;
}

uint64_t lintel_decoder_offset(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? 0 : decoder->offset;
}

int lintel_decoder_rest(struct lintel_decoder *decoder, struct lintel_part parts[2])
{
    if (decoder == NULL || parts == NULL)
        return LINTEL_E_USAGE;
    parts[0].bytes = decoder->own != NULL ? decoder->own + decoder->begin : NULL;
    parts[0].size = decoder->end - decoder->begin;
    parts[1].bytes = decoder->piece != NULL ? decoder->piece + decoder->at : NULL;
    parts[1].size = decoder->size - decoder->at;
    decoder->live = 1;
    decoder->begin = decoder->end;
    decoder->at = decoder->size;
    decoder->need = 0;
    return LINTEL_OK;
}

uint64_t lintel_decoder_skipped(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? 0 : decoder->skipped;
}

size_t lintel_decoder_memory(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? 0 : decoder->capacity + decoder->other_size;
}

void lintel_decoder_trim(struct lintel_decoder *decoder)
{
    size_t used;

    if (decoder == NULL)
        return;
    begin_feed(decoder);
    free_other(decoder);
    decoder->lent = 0;
    decoder->full = 0;
    used = decoder->end - decoder->begin;
    if (used == 0)
        free_own(decoder);
    else if (used <= decoder->capacity / 2)
        (void)move_to(decoder, used);
}

const struct lintel_layout *lintel_decoder_layout(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? NULL : decoder->layout;
}

void lintel_decoder_error(const struct lintel_decoder *decoder, struct lintel_error *out)
{
    if (out == NULL)
        return;
    if (decoder != NULL && decoder->error != NULL) {
        *out = *decoder->error;
        return;
    }
    memset(out, 0, sizeof *out);
    if (decoder == NULL || decoder->status == LINTEL_OK)
        return;
    (void)lintelp_fail(out, decoder->status, decoder->offset, lintel_strerror(decoder->status));
}
